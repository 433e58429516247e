"""The product as it sends: `campaigns.dispatch.dispatch` in a process of its own, with the real adapters over HTTP.

`python -m bench.dispatch_worker CHANNEL [MESSAGES]` waits for a line, sends until nothing is due (with MESSAGES: until
this many were handed over, polling), and prints what it did. With `FULL_LIQUID` in the environment all words are
rendered by python-liquid, as those are that `campaigns.liquid_fast` does not cover.
"""

import json
import os
import resource
import sys
import time

from sqlalchemy import event, select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import configure_mappers

from bench.sending_machine import memory_megabytes
from campaigns import liquid_templates
from campaigns.dispatch import dispatch
from campaigns.envelopes import Sender, sender_for
from outreach.db import transaction
from outreach.logs import configure_logging
from outreach.models import Campaign
from outreach.vocabulary import Channel

FULL_LIQUID = "BENCH_FULL_LIQUID"


def main(channel: Channel, wanted: int) -> None:
    """Send and report."""
    configure_logging()
    if os.environ.get(FULL_LIQUID):
        setattr(liquid_templates, "fast_text", lambda *_, **__: None)  # noqa: B010 - the name is that module's own
    sender = sender_for(channel)
    statements = [0]

    @event.listens_for(Engine, "before_cursor_execute")
    def _count(*_: object) -> None:
        statements[0] += 1

    _warm_up(sender)
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    statements[0] = 0
    started, before = time.perf_counter(), _cpu()
    outcomes: dict[str, int] = {}
    while True:
        done = dispatch(channel=channel, sender=sender, owner=f"bench:{os.getpid()}", budget_seconds=3600)
        for outcome, number in done.outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + number
        if outcomes.get("accepted", 0) >= wanted:
            break
        time.sleep(0.02)
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - started,
                "cpu_seconds": _cpu() - before,
                "megabytes": memory_megabytes(),
                "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                "statements": statements[0],
                "outcomes": outcomes,
            }
        ),
        flush=True,
    )


def _warm_up(sender: Sender) -> None:
    """Connect, read the mappings and the words before the clock runs, as the others do too."""
    configure_mappers()
    with transaction() as session:
        for key, version in session.execute(select(Campaign.template_key, Campaign.template_version).distinct()):
            sender.content(session, key, version)


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main(Channel(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
