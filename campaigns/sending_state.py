"""Where sending stands as a whole: what is due on each channel, what the providers last answered, what is stuck."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.stalls import STUCK
from outreach.vocabulary import Channel

LATEST_CHUNKS = 50


@dataclass(frozen=True, slots=True)
class Lane:
    """One channel: messages that are due, being sent, or wait for their time; since when the oldest due one waits."""

    channel: Channel
    due: int
    sending: int
    later: int
    oldest_due: datetime | None


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of the newest chunks to one provider; `seconds` is their mean length, `complaint` the last failure."""

    provider: str
    calls: int
    failed: int
    unknown: int
    seconds: float | None
    latest: datetime | None
    complaint: str | None


@dataclass(frozen=True, slots=True)
class Stuck:
    """A running campaign whose due messages nobody takes."""

    key: str
    name: str


_LANES = text("""
SELECT k.channel,
       coalesce(sum(k.size) FILTER (WHERE k.state = 'ready' AND k.due_at <= :now
                                    AND (k.closes_at IS NULL OR k.closes_at > :now)), 0) AS due,
       coalesce(sum(k.size) FILTER (WHERE k.state = 'claimed'), 0) AS sending,
       coalesce(sum(k.size) FILTER (WHERE k.state = 'held' OR k.state = 'ready'
                                    AND (k.due_at > :now OR k.closes_at <= :now)), 0) AS later,
       min(k.due_at) FILTER (WHERE k.state = 'ready' AND k.due_at <= :now
                             AND (k.closes_at IS NULL OR k.closes_at > :now)) AS oldest_due
FROM chunks k JOIN campaigns c ON c.id = k.campaign_id AND c.state = 'running'
WHERE k.state <> 'done' GROUP BY k.channel
""")

_CALLS = text("""
WITH latest AS MATERIALIZED (SELECT id FROM chunks WHERE state = 'done' ORDER BY id DESC LIMIT :chunks)
SELECT a.provider, count(*) AS calls, count(*) FILTER (WHERE a.state IN ('refused', 'rejected')) AS failed,
       count(*) FILTER (WHERE a.state IN ('sending', 'unknown')) AS unknown,
       extract(epoch FROM avg(a.finished_at - a.started_at)) AS seconds, max(a.started_at) AS latest,
       (array_agg(coalesce(a.detail, 'HTTP ' || a.status_code) ORDER BY a.id DESC)
            FILTER (WHERE a.state IN ('refused', 'rejected', 'unknown')
                    AND coalesce(a.detail, a.status_code::text) IS NOT NULL))[1] AS complaint
FROM latest JOIN attempts a ON a.chunk_id = latest.id GROUP BY a.provider ORDER BY a.provider
""")

_STUCK = text("SELECT key, name FROM campaigns WHERE state = 'running' AND state_reason = :stuck ORDER BY id LIMIT 20")


def lanes(session: Session, *, now: datetime) -> list[Lane]:
    """Return every channel, also those with nothing to do."""
    found = {row.channel: Lane(Channel(row.channel), *row[1:]) for row in session.execute(_LANES, {"now": now})}
    return [found.get(channel.value) or Lane(channel, 0, 0, 0, None) for channel in Channel]


def calls(session: Session) -> list[Calls]:
    """Return how the providers answered, from the newest chunks that are done."""
    return [Calls(*row) for row in session.execute(_CALLS, {"chunks": LATEST_CHUNKS})]


def stuck(session: Session) -> list[Stuck]:
    """Return the campaigns that stand still although messages are due."""
    return [Stuck(*row) for row in session.execute(_STUCK, {"stuck": STUCK})]
