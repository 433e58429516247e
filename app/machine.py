"""Everything on one machine: embedded engines where no servers are set, the processes, and the sandbox if asked."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from app.checked_settings import check_settings
from app.supervisor import Child, Supervisor, answers, choose_port
from campaigns.playbooks import install_defaults
from outreach import embedded
from outreach.db import forget_engine, transaction
from outreach.schema import migrate
from outreach.security import check_secret_key, make_secret_key
from outreach.settings import Settings, get_settings

# Which of the sandbox's secrets is which of our settings.
_SANDBOX_SECRETS = {
    "sendgrid_key": "SENDGRID_API_KEY",
    "inbound_token": "SENDGRID_INBOUND_TOKEN",
    "twilio_sid": "TWILIO_ACCOUNT_SID",
    "twilio_token": "TWILIO_AUTH_TOKEN",
    "lob_key": "LOB_API_KEY",
    "lob_webhook_secret": "LOB_WEBHOOK_SECRET",
    "desk_secret": "DESK_WEBHOOK_SECRET",
    "zendesk_secret": "ZENDESK_WEBHOOK_SECRET",
    "zendesk_token": "ZENDESK_API_TOKEN",
}


@dataclass(frozen=True)
class Machine:
    """A running installation: its address, its processes and, if there is one, the sandbox's address."""

    url: str
    supervisor: Supervisor
    sandbox_url: str | None
    sandbox_home: Path


@contextmanager
def running(
    *,
    sandbox: bool = False,
    sandbox_options: tuple[str, ...] = (),
    environment: dict[str, str] | None = None,
    report: Callable[[str], None],
    echo: TextIO | None = None,
) -> Iterator[Machine]:
    """Run the whole of Outreach while the block lasts; `environment` is added for the API, worker and beat.

    Raises `InvalidInput` for settings that cannot be read, and `Conflict` naming the holder when another one runs on
    OUTREACH_HOME.
    """
    check_settings(url_comes_later=True)
    settings = get_settings()
    home = settings.home.expanduser().resolve()
    with embedded.hold(home):
        if not settings.secret_key:
            make_secret_key(home)
        check_secret_key()
        try:
            embedded.remember(home, _engines(settings, home, report))
            report("bringing the database up to date")
            migrate()
            with transaction() as session:
                install_defaults(session)
            forget_engine()
            machine = _compose(settings, home, sandbox, sandbox_options, dict(environment or {}), report, echo)
            with machine.supervisor:
                yield machine
        finally:
            forget_engine()
            embedded.stop(home)
            embedded.remember(home, {})


def _engines(settings: Settings, home: Path, report: Callable[[str], None]) -> dict[str, str]:
    urls = {}
    if not settings.database_url:
        report("starting PostgreSQL")
        urls["database_url"] = embedded.start_postgres(home)
    if not settings.redis_url:
        report("starting Redis")
        urls["redis_url"] = embedded.start_redis(home)
    return urls


def _compose(
    settings: Settings,
    home: Path,
    sandbox: bool,
    sandbox_options: tuple[str, ...],
    environment: dict[str, str],
    report: Callable[[str], None],
    echo: TextIO | None,
) -> Machine:
    port = choose_port(settings.api_host, settings.api_port, report)
    host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(settings.api_host, settings.api_host)  # noqa: S104
    url = f"http://{host}:{port}"
    environment |= {"OUTREACH_HOME": str(home), "OUTREACH_API_PORT": str(port)}
    if not settings.public_url or "public_url" not in settings.model_fields_set:
        environment["OUTREACH_PUBLIC_URL"] = url
    public_url = environment.get("OUTREACH_PUBLIC_URL", settings.public_url)
    children, sandbox_url, sandbox_home = [], None, home / "sandbox"
    if sandbox:
        sandbox_port = choose_port("127.0.0.1", port + 1, report)
        sandbox_url = f"http://127.0.0.1:{sandbox_port}"
        options = ("--port", str(sandbox_port), "--home", str(sandbox_home), "--webhooks-to", url)
        argv = _python("sandbox", *options, "--public-url", public_url, *sandbox_options)
        children.append(Child("sandbox", argv, ready=_introduce(sandbox_url, sandbox_home, environment)))
    ready = f"{url}/ready"
    children += [
        Child("api", _python("app.cli", "api"), environment, ready=lambda: answers(ready)),
        Child("worker", _python("app.cli", "worker"), environment, restarts=None),
        Child("beat", _python("app.cli", "beat"), environment),
    ]
    return Machine(url, Supervisor(home, children, report=report, echo=echo), sandbox_url, sandbox_home)


def _introduce(url: str, home: Path, environment: dict[str, str]) -> Callable[[], bool]:
    def ready() -> bool:
        # It makes its secrets at its first start; the processes after it find them in their environment.
        if not answers(f"{url}/_sandbox/keys"):
            return False
        environment.update(sandbox_environment(url, home))
        return True

    return ready


def sandbox_environment(url: str, home: Path) -> dict[str, str]:
    """Return the settings that point every provider and the desk to a sandbox that has started on `home`."""
    kept: dict[str, str] = json.loads((home / "secrets.json").read_text())
    found = {f"OUTREACH_{name}": kept[secret] for secret, name in _SANDBOX_SECRETS.items()}
    return found | {
        "OUTREACH_SENDGRID_URL": url,
        "OUTREACH_TWILIO_URL": url,
        "OUTREACH_LOB_URL": url,
        "OUTREACH_ZENDESK_URL": url,
        "OUTREACH_ZENDESK_EMAIL": "agent@example.com",
        "OUTREACH_SENDGRID_WEBHOOK_PUBLIC_KEY": (home / "sendgrid_public_key").read_text().strip(),
        # A fictional number (555-01xx is reserved) and address.
        "OUTREACH_SMS_FROM": "+12025550100",
        "OUTREACH_POSTCARD_FROM": "Example Goods|1 Example Street|Springfield|IL|62701|US",
    }


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]
