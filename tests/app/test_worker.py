import re
import subprocess
import sys
from pathlib import Path

from app.worker import TASKS, create_worker
from outreach.queue import QUEUES

ROOT = Path(__file__).parents[2]


def names_in(pattern: str) -> set[str]:
    """Return what a pattern finds in the sources of all floors."""
    floors = ("outreach", "segments", "campaigns", "webhooks", "app")
    sources = [path.read_text() for floor in floors for path in (ROOT / floor).rglob("*.py")]
    return {name for source in sources for name in re.findall(pattern, source)}


def test_every_task_that_is_woken_or_scheduled_is_known_to_the_worker(database: str) -> None:
    application = create_worker()
    scheduled = {entry["task"] for entry in application.conf.beat_schedule.values()}
    woken = names_in(r"wake\(\s*\w+,\s*\"([a-z_.]+)\"")
    assert {"segments.sweep", "campaigns.sweep", "webhooks.apply_inbox"} <= scheduled
    assert "campaigns.sweep" in woken
    assert scheduled | woken <= set(application.tasks)


def test_every_module_of_tasks_is_part_of_the_worker() -> None:
    found = {f"{path.parent.name}.tasks" for path in ROOT.glob("*/tasks.py")}
    assert found == {module.__name__ for module in TASKS}


def test_every_task_goes_to_a_queue_that_a_worker_listens_to(database: str) -> None:
    application = create_worker()
    ours = [name for name in application.tasks if not name.startswith("celery.")]
    queues = {str(application.amqp.router.route({}, name)["queue"].name) for name in ours}
    assert queues <= set(QUEUES)


def test_a_worker_refuses_a_queue_that_does_not_exist(database: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "worker", "--queues", "email,letters"],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "there is no queue letters" in done.stderr
