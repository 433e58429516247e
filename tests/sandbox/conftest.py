"""One sandbox for all tests of this folder, forgotten between them; a second one where a test stops it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sandbox.receiver import Receiver
from tests.sandbox.running import Sandbox


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Sandbox]:
    sandbox = Sandbox(
        tmp_path_factory.mktemp("sandbox"), receiver, "--pace-seconds", "0.02", "--lob-window-seconds", "0.3"
    )
    yield sandbox
    sandbox.stop()


@pytest.fixture
def sandbox(running: Sandbox) -> Sandbox:
    running.reset()
    return running


@pytest.fixture
def own_home(tmp_path: Path) -> Path:
    return tmp_path / "home"
