"""The compose file and the image without a container engine: read, and run by hand with real processes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from outreach.settings import Settings

CHECKOUT = Path(__file__).parent.parent.parent
TEXT = (CHECKOUT / "docker-compose.yml").read_text()
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(TEXT)["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("outreach")}
REQUIRED = {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "OUTREACH_SECRET_KEY", "OUTREACH_PUBLIC_URL"}
DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()
ENTRYPOINT: list[str] = json.loads(re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.MULTILINE)[-1])


def example_settings() -> dict[str, str]:
    """Return the names of `.env.example`, those in comments included, with their values."""
    lines = (CHECKOUT / ".env.example").read_text().splitlines()
    return dict(found.groups() for line in lines if (found := re.fullmatch(r"#?([A-Z_]+)=(.*)", line)))  # type: ignore[misc]


def test_services_are_those_that_operations_describes() -> None:
    assert set(SERVICES) == {"migrate", "api", "worker", "worker-urgent", "beat", "postgres", "redis", "mail"}
    assert set(OURS) == {"migrate", "api", "worker", "worker-urgent", "beat"}
    assert [name for name, service in SERVICES.items() if service.get("profiles")] == ["mail"]


def test_required_variables_have_no_default_and_say_what_to_set() -> None:
    for name in REQUIRED:
        uses = re.findall(r"\$\{" + name + r"([^}]*)\}", TEXT)
        assert uses, name
        assert all(use.startswith(":?set ") for use in uses), name


def test_no_secret_is_written_down() -> None:
    secrets = [
        name for name, value in example_settings().items() if re.search("PASSWORD|SECRET|KEY|TOKEN", name) and value
    ]
    assert secrets == []
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|KEY|TOKEN", name):
                assert value.startswith("${"), name
            assert not re.search(r"://[^$]*:[^$@]+@", value), name


def test_example_of_settings_names_what_compose_requires_and_only_settings_that_exist() -> None:
    names = set(example_settings())
    assert names >= REQUIRED
    ours = {name.removeprefix("OUTREACH_").lower() for name in names if name.startswith("OUTREACH_")}
    assert ours <= set(Settings.model_fields)
    given = {name.removeprefix("OUTREACH_").lower() for name in OURS["api"]["environment"]}
    assert given <= set(Settings.model_fields)


def test_every_lasting_service_has_a_health_check() -> None:
    assert [name for name, service in SERVICES.items() if "healthcheck" not in service] == ["migrate"]


def test_processes_wait_for_healthy_engines_and_the_migration() -> None:
    for name in ("api", "worker", "beat"):
        conditions = {other: how["condition"] for other, how in OURS[name]["depends_on"].items()}
        assert conditions == {
            "postgres": "service_healthy",
            "redis": "service_healthy",
            "migrate": "service_completed_successfully",
        }
    assert OURS["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"


def test_engines_keep_every_wake_up_and_the_truth() -> None:
    command = " ".join(SERVICES["redis"]["command"])
    assert "maxmemory-policy noeviction" in command
    assert "appendonly yes" in command
    assert SERVICES["postgres"]["image"] == "postgres:17"
    assert SERVICES["postgres"]["volumes"]
    assert SERVICES["redis"]["volumes"]


def test_no_port_is_open_to_other_machines() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_image_runs_unprivileged_from_hashed_packages() -> None:
    assert "--require-hashes" in DOCKERFILE
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users[-1:] == ["outreach"]
    for service in OURS.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


def test_image_holds_every_package_and_the_build_context_lets_it_through() -> None:
    packages = {path.parent.name for path in CHECKOUT.glob("*/__init__.py")} - {"tests", "bench"}
    copied = {Path(source).name for source in re.findall(r"^COPY (\w\S*) ", DOCKERFILE, re.MULTILINE)}
    assert packages <= copied
    context = (CHECKOUT / ".dockerignore").read_text().split()
    assert {f"!{name}" for name in copied} <= set(context)


@pytest.mark.parametrize("name", sorted(set(OURS) - {"migrate"}))
def test_health_check_is_a_module_that_knows_the_name(name: str) -> None:
    check = OURS[name]["healthcheck"]["test"]
    assert check[:4] == ["CMD", "python", "-m", "app.liveness"]
    # Nothing runs: the answer is "not healthy" (1), never "no such check" (2) or a traceback.
    done = subprocess.run(
        [sys.executable, *check[2:]],
        env={
            **os.environ,
            "PYTHONPATH": str(CHECKOUT),
            "OUTREACH_API_PORT": "1",
            "OUTREACH_REDIS_URL": "redis://127.0.0.1:1/0",
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
