"""The engines that come with the Python environment, in places that people really have."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from redis import Redis

from outreach import embedded
from outreach.errors import Conflict


@pytest.fixture
def home() -> Iterator[Path]:
    parent = Path(tempfile.mkdtemp(prefix="outreach-test-"))
    parent.chmod(0o711)
    yield parent / "a home with 'quotes' and spaces"
    embedded.destroy(parent / "a home with 'quotes' and spaces")
    shutil.rmtree(parent, ignore_errors=True)


def test_engines_start_again_with_their_data_wherever_the_home_is(home: Path) -> None:
    home.mkdir()
    for round_number in (1, 2):
        database = embedded.start_postgres(home, durable=False).replace("+psycopg", "")
        with psycopg.connect(database) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
            connection.execute("INSERT INTO kept VALUES (1)")
            assert connection.execute("SELECT count(*) FROM kept").fetchone() == (round_number,)
        with Redis.from_url(embedded.start_redis(home)) as redis:
            assert redis.incr("kept") == round_number
            redis.config_set("appendfsync", "always")
            redis.set("flushed", 1)
        # The second round starts over engines that still run, as after a kill -9 of their owner.
        if round_number == 2:
            embedded.stop(home)


def test_a_second_holder_is_told_who_has_the_data(home: Path) -> None:
    with embedded.hold(home), pytest.raises(Conflict, match=r"process [0-9]+"), embedded.hold(home):
        pass
