"""One real PostgreSQL and one real Redis for the whole run; a clean database for each test that wants one.

`session` runs inside a transaction that is rolled back. `database` is a database of its own (a clone of
the migrated template) for tests that commit, start processes or break things.
"""

import atexit
import gc
import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
import urllib3
from argon2 import PasswordHasher
from fastapi import FastAPI
from sqlalchemy import URL, Engine, make_url
from sqlalchemy.orm import Session

from bench.serving import listening
from outreach import clock, db, embedded, operators, queue, security
from outreach.db import make_engine
from outreach.permissions import Permission, person_at_the_terminal
from outreach.schema import migrate
from outreach.settings import get_settings
from tests.raw_files import copy_of_some_products
from tests.serving import Stage, application_at_hand

# At every developer's the examples are new each time; what has to pass before a change goes in is the same each time.
# Slowness says something of the machine only.
hypothesis.settings.register_profile("here", suppress_health_check=[hypothesis.HealthCheck.too_slow], deadline=None)
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("here"), derandomize=True)
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")
else:
    hypothesis.settings.load_profile("here")

SHARED_DATA = Path(__file__).parent.parent.parent / "shared" / "data"
MEMORY = Path("/dev/shm")
ROOM = 3 * 2**30  # the engines of one process of the tests have never taken a tenth of it
STRONG_PASSWORDS = security._hasher
QUICK_PASSWORDS = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
_numbers = itertools.count(1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[Any]:
    """Collect without looking for garbage: modules and tests stay until the end, and there are thousands."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(20_000)  # each query leaves hundreds of objects, so that 700 are reached again and again
        gc.enable()
        atexit.register(gc.unfreeze)  # DuckDB complains of what is not cleared away in the end


def _place_of_engines() -> Path | None:
    """Return where the engines keep their data: in memory where there is room, else where temporary files go.

    Each database of a test is seven hundred files, which a disk takes four times as long to make and to delete.
    """
    try:
        found = os.statvfs(MEMORY)
    except OSError:
        return None
    fits = found.f_bavail * found.f_frsize >= ROOM and not found.f_flag & os.ST_NOEXEC
    return MEMORY if fits and os.access(MEMORY, os.W_OK) else None


@pytest.fixture(scope="session")
def engines() -> Iterator[dict[str, str]]:
    """The URLs of the run's own PostgreSQL and Redis."""
    home = Path(tempfile.mkdtemp(prefix="outreach-test-", dir=_place_of_engines()))
    home.chmod(0o711)
    try:
        urls = {
            "database_url": embedded.start_postgres(home, durable=False),
            "redis_url": embedded.start_redis(home),
            "home": str(home),
        }
        _hash_once(make_url(urls["database_url"]))
        yield urls
    finally:
        embedded.destroy(home)
        shutil.rmtree(home, ignore_errors=True)


def _hash_once(url: URL) -> None:
    """Make logging in cheap: by default each client hashes the password 4,096 times for each connection."""
    _as_administrator(url, f"SET scram_iterations = 1; ALTER ROLE {url.username} PASSWORD '{url.password}'")


def _as_administrator(url: URL, statement: str) -> None:
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement.encode())


@pytest.fixture(scope="session")
def template_database(engines: dict[str, str]) -> str:
    """The name of a migrated, empty database that nobody is connected to."""
    url = make_url(engines["database_url"])
    _as_administrator(url, "CREATE DATABASE outreach_template")
    engine = make_engine(url.set(database="outreach_template").render_as_string(hide_password=False))
    migrate(engine)
    engine.dispose()
    return "outreach_template"


@pytest.fixture(autouse=True)
def _settings_of_the_test(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith("OUTREACH_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OUTREACH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OUTREACH_SECRET_KEY", "a test key that nobody else uses")
    # Tests that are about something else do not depend on the hour and send to everybody at once.
    monkeypatch.setenv("OUTREACH_SMS_HOURS", "")
    monkeypatch.setenv("OUTREACH_WAVES_FROM", "0")
    monkeypatch.setenv("OUTREACH_AUTO_PAUSE", "false")
    # Argon2id as well, which costs a thousandth; `strong_passwords` is for the tests of passwords themselves.
    monkeypatch.setattr(security, "_hasher", QUICK_PASSWORDS)
    _forget()
    yield
    _forget()


@pytest.fixture
def strong_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep passwords as they are kept in production."""
    monkeypatch.setattr(security, "_hasher", STRONG_PASSWORDS)


def _forget() -> None:
    security._password_of_nobody.cache_clear()
    db.forget_engine()
    queue.celery_app.cache_clear()
    get_settings.cache_clear()


@pytest.fixture
def database(engines: dict[str, str], template_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a database of the test's own; the settings point to it and to a Redis of the test's own number."""
    url = make_url(engines["database_url"])
    name = f"test_{os.getpid()}_{next(_numbers)}"
    # Copying the files takes half the time of writing every page to the log.
    _as_administrator(url, f"CREATE DATABASE {name} TEMPLATE {template_database} STRATEGY FILE_COPY")
    own = url.set(database=name).render_as_string(hide_password=False)
    monkeypatch.setenv("OUTREACH_DATABASE_URL", own)
    monkeypatch.setenv("OUTREACH_REDIS_URL", engines["redis_url"])
    _forget()
    yield own
    _forget()
    _as_administrator(url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def rollback_engine(engines: dict[str, str], template_database: str) -> Iterator[Engine]:
    """An engine on a database in which every test's work is rolled back."""
    url = make_url(engines["database_url"])
    _as_administrator(url, f"CREATE DATABASE outreach_rollback TEMPLATE {template_database}")
    engine = make_engine(url.set(database="outreach_rollback").render_as_string(hide_password=False))
    yield engine
    engine.dispose()


@pytest.fixture
def session(rollback_engine: Engine) -> Iterator[Session]:
    """A session whose work is rolled back after the test."""
    with rollback_engine.connect() as connection, connection.begin() as transaction:
        with Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint") as session:
            yield session
        transaction.rollback()


@dataclass(frozen=True)
class ApiServer:
    """The real API on a port of its own; `ask` sends one request and returns the answer whatever its status."""

    url: str
    pool: urllib3.PoolManager

    def ask(
        self, method: str, path: str, json: Any = None, *, body: bytes | None = None, **headers: str
    ) -> urllib3.BaseHTTPResponse:
        """Send one request; header names are given with underscores, like `content_type`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.pool.request(
            method, self.url + path, body=body, json=json, headers=named, redirect=False, retries=False
        )

    def key(self, *permissions: Permission) -> str:
        """Return a new API key, as the value of an Authorization header."""
        with db.transaction() as session:
            maker = person_at_the_terminal("test")
            _, key = operators.create_api_key(
                session, name="test", permissions=permissions, actor=maker, now=clock.now(session)
            )
        return f"Bearer {key}"


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    """The run's HTTP server."""
    stage = Stage()
    with listening(stage) as stage.url:
        yield stage


@pytest.fixture
def application() -> FastAPI:
    """The API as it runs in production."""
    return application_at_hand()


@pytest.fixture
def api_server(database: str, stage: Stage, application: FastAPI) -> Iterator[ApiServer]:
    """The API on the test's own database."""
    with stage.showing(application) as url, urllib3.PoolManager(timeout=20) as pool:
        yield ApiServer(url, pool)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data; tests that need it are skipped where it is absent."""
    if not SHARED_DATA.exists():
        pytest.skip("the real data of ../shared/data are not here")
    return SHARED_DATA


@pytest.fixture(scope="session")
def some_of_uci(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one in ten products of the real UCI file; all of them with WHOLE_FILES=1 in the environment."""
    whole = shared_data / "uci_online_retail" / "online_retail_2010_12_to_2011_12.csv.gz"
    if not whole.exists():
        pytest.skip("the real data of ../shared/data/uci_online_retail are not here")
    if os.environ.get("WHOLE_FILES"):
        return whole.parent
    folder = tmp_path_factory.mktemp("some_of_uci")
    copy_of_some_products(whole, folder / whole.name, one_in=10, always="22423")
    return folder
