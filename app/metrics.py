"""The figures that operators watch, in Prometheus' text format; counted from the database, so that any process tells.

Labels hold our own words only: no addresses, no names. Needs the permission `campaigns.read`, for a scraper as an API
key: `authorization: {credentials: …}` in its configuration.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse
from redis.exceptions import RedisError
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from campaigns.stalls import STUCK
from outreach import clock
from outreach.doors import SessionDep, requires
from outreach.errors import OutreachError
from outreach.permissions import Permission
from outreach.queue import shared_redis

router = APIRouter(tags=["metrics"], dependencies=[Depends(requires(Permission.CAMPAIGNS_READ))])

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

# Name, kind, help, and SQL whose last column is the value and whose others are the labels.
_METRICS: tuple[tuple[str, str, str, str], ...] = (
    ("outreach_messages_total", "gauge", "Messages by channel, class and what became of them.",
     """SELECT m.channel, c.notice_class AS class, m.send_state AS state, count(*) FROM messages m
        JOIN campaigns c ON c.id = m.campaign_id GROUP BY 1, 2, 3"""),
    ("outreach_notices_total", "gauge", "Notices by class and state.",
     """SELECT c.notice_class AS class, n.state, count(*) FROM notices n
        JOIN campaigns c ON c.id = n.campaign_id GROUP BY 1, 2"""),
    ("outreach_unknown_messages", "gauge", "Messages whose outcome is unknown.",
     """SELECT count(*) FROM attempts a JOIN messages m ON m.attempt_id = a.id AND m.id = ANY(a.message_ids)
        WHERE a.state IN ('sending', 'unknown') AND m.send_state = 'unknown'"""),
    ("outreach_queue_oldest_due_seconds", "gauge", "How long the oldest due chunk has waited.",
     """SELECT k.channel, extract(epoch FROM cast(:now AS timestamptz) - min(k.due_at)) FROM chunks k
        JOIN campaigns c ON c.id = k.campaign_id AND c.state = 'running'
        WHERE k.state = 'ready' AND k.due_at <= :now AND (k.closes_at IS NULL OR k.closes_at > :now) GROUP BY 1"""),
    ("outreach_provider_circuit", "gauge", "1: the provider rests after failures; its chunks wait.",
     """SELECT provider, CASE WHEN retry_at > clock_timestamp() THEN 'open' ELSE 'half_open' END AS state, 1
        FROM provider_circuits"""),
    ("outreach_claim_lease_expired_total", "counter", "Chunks whose worker went away.",
     "SELECT coalesce(sum(total), 0) FROM sending_counts WHERE name = 'claim_lease_expired'"),
    ("outreach_fence_rejected_total", "counter", "Receipts that came after their message had another owner.",
     "SELECT coalesce(sum(total), 0) FROM sending_counts WHERE name = 'fence_rejected'"),
    ("outreach_chunks_held", "gauge", "Chunks that wait for their wave.",
     "SELECT count(*) FROM chunks WHERE state = 'held'"),
    ("outreach_campaigns", "gauge", "Campaigns by state.", "SELECT state, count(*) FROM campaigns GROUP BY 1"),
    ("outreach_stuck_campaigns", "gauge", "Running campaigns whose due messages nobody takes.",
     "SELECT count(*) FROM campaigns WHERE state = 'running' AND state_reason = :stuck"),
    ("outreach_sending_stops", "gauge", "Kill switches that are on.",
     "SELECT count(*) FROM sending_stops WHERE lifted_at IS NULL"),
    ("outreach_suppressed_total", "gauge", "Barred addresses by reason.",
     "SELECT reason, count(*) FROM suppressions WHERE lifted_at IS NULL GROUP BY 1"),
    ("outreach_bounce_ratio", "gauge", "Bounced of all that was handed over in 24 hours.",
     """SELECT channel, avg((delivery IN ('bounced', 'returned'))::int) FROM recent GROUP BY 1"""),
    ("outreach_complaint_ratio", "gauge", "Complaints of all that was handed over in 24 hours.",
     """SELECT channel, avg((complained_at IS NOT NULL)::int) FROM recent GROUP BY 1"""),
    ("outreach_webhook_received_total", "gauge", "Inbound events by source and what became of them.",
     "SELECT source, state AS result, count(*) FROM inbound_events GROUP BY 1, 2"),
    ("outreach_webhook_lag_seconds", "gauge", "Age of the oldest inbound event that is not applied.",
     """SELECT coalesce(extract(epoch FROM clock_timestamp() - min(received_at)), 0) FROM inbound_events
        WHERE state = 'new'"""),
    ("outreach_periodic_last_success_timestamp", "gauge", "When each periodic job last ended well, in Unix seconds.",
     "SELECT job, extract(epoch FROM succeeded_at) FROM periodic_runs ORDER BY job"),
    ("outreach_worker_rss_bytes", "gauge", "Memory of the process that did each periodic job last.",
     "SELECT job, memory_bytes FROM periodic_runs ORDER BY job"),
    ("pg_oldest_xmin_seconds", "gauge", "Age of the oldest transaction that keeps dead rows from being cleared away.",
     """SELECT coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) FROM pg_stat_activity
        WHERE backend_xmin IS NOT NULL AND pid <> pg_backend_pid() AND datname = current_database()"""),
    ("outreach_webhook_dead", "gauge", "Inbound events that could not be read.",
     "SELECT count(*) FROM inbound_events WHERE state = 'dead'"),
)  # fmt: skip

_RECENT = """WITH recent AS (
    SELECT m.channel, coalesce(m.delivery, '') AS delivery, m.complained_at
    FROM chunks k JOIN messages m ON m.chunk_id = k.id
    WHERE k.finished_at > cast(:now AS timestamptz) - interval '1 day' AND m.send_state = 'accepted') """

# Name, kind, help, and Redis' own name of the figure.
_REDIS = (
    ("outreach_redis_memory_bytes", "gauge", "Memory that Redis holds.", "used_memory"),
    ("outreach_redis_evicted_keys_total", "counter", "Wake-ups that Redis threw away: set noeviction.", "evicted_keys"),
)

# From the commit before a provider call to its receipt, of the newest calls: their number says how many were looked at.
_CALLS = text("""
SELECT a.provider, a.state AS outcome,
       width_bucket(greatest(extract(epoch FROM a.finished_at - a.started_at), 0)::float8,
                    cast(:buckets AS float8[])) AS bucket,
       count(*) AS number, sum(greatest(extract(epoch FROM a.finished_at - a.started_at), 0)) AS seconds
FROM attempts a
WHERE a.id > (SELECT max(id) FROM attempts) - :most AND a.finished_at IS NOT NULL
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
""")
NEWEST_CALLS = 20_000
CALL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20)

# Due to accepted, of the messages of the last hour (GOV.UK Notify measures the same stretch).
BUCKETS = (1, 5, 15, 60, 300, 1800, 21600)
_LATENCY = text("""
SELECT k.channel, width_bucket(greatest(extract(epoch FROM m.sent_at - k.due_at), 0)::float8,
                               cast(:buckets AS float8[])) AS bucket,
       count(*) AS number, sum(greatest(extract(epoch FROM m.sent_at - k.due_at), 0)) AS seconds
FROM chunks k JOIN messages m ON m.chunk_id = k.id
WHERE k.finished_at > cast(:now AS timestamptz) - interval '1 hour'
  AND m.send_state = 'accepted' AND m.sent_at IS NOT NULL
GROUP BY 1, 2 ORDER BY 1, 2
""")

# From the moment at which a person acted to the ban that every gate keeps to.
OPT_OUT_BUCKETS = (1, 5, 15, 60, 300, 3600, 86400)
_OPT_OUTS = text("""
SELECT channel, width_bucket(greatest(extract(epoch FROM in_force_at - created_at), 0)::float8,
                             cast(:buckets AS float8[])) AS bucket,
       count(*) AS number, sum(greatest(extract(epoch FROM in_force_at - created_at), 0)) AS seconds
FROM (SELECT * FROM suppressions ORDER BY id DESC LIMIT 1000) newest
WHERE in_force_at IS NOT NULL AND reason IN ('stop', 'unsubscribed', 'complaint', 'opted_out_at_provider')
GROUP BY 1, 2 ORDER BY 1, 2
""")


@router.get("/metrics", response_class=PlainTextResponse, include_in_schema=False)
def metrics(session: SessionDep) -> PlainTextResponse:
    """Tell the figures in Prometheus' text format."""
    return PlainTextResponse("\n".join([*_lines(session), ""]), media_type=CONTENT_TYPE)


def _lines(session: Session) -> Iterator[str]:
    parameters = {"now": clock.now(session), "stuck": STUCK}
    for name, kind, explained, query in _METRICS:
        yield from (f"# HELP {name} {explained}", f"# TYPE {name} {kind}")
        statement = text(_RECENT + query if "FROM recent" in query else query)
        used = {key: value for key, value in parameters.items() if f":{key}" in statement.text}
        result = session.execute(statement, used)
        *labels, _ = result.keys()
        for *values, number in result:
            yield f"{name}{_labels(dict(zip(labels, values, strict=True)))} {float(number):.15g}"
    yield from _latency(session, parameters)
    yield from _redis()


def _redis() -> Iterator[str]:
    """Tell what Redis says of itself; nothing while it is away, which a scraper sees as well."""
    try:
        found: dict[str, Any] = shared_redis().info()  # type: ignore[assignment]
    except (RedisError, OSError, OutreachError):
        return
    for name, kind, explained, key in _REDIS:
        yield from (f"# HELP {name} {explained}", f"# TYPE {name} {kind}", f"{name} {int(found[key])}")


def _latency(session: Session, parameters: Mapping[str, object]) -> Iterator[str]:
    rows = session.execute(_LATENCY, {"now": parameters["now"], "buckets": [float(b) for b in BUCKETS]}).all()
    yield from _histogram(
        "outreach_send_latency_seconds", "From due to accepted, messages of the last hour.", BUCKETS,
        [({"channel": row.channel}, row) for row in rows],
    )  # fmt: skip
    rows = session.execute(_CALLS, {"most": NEWEST_CALLS, "buckets": [float(b) for b in CALL_BUCKETS]}).all()
    yield from _histogram(
        "outreach_provider_request_seconds", f"Provider calls, the newest {NEWEST_CALLS}.", CALL_BUCKETS,
        [({"provider": row.provider, "outcome": row.outcome}, row) for row in rows],
    )  # fmt: skip
    rows = session.execute(_OPT_OUTS, {"buckets": [float(b) for b in OPT_OUT_BUCKETS]}).all()
    yield from _histogram(
        "outreach_optout_to_effect_seconds", "From a person's no to the ban, the newest 1000 bans.", OPT_OUT_BUCKETS,
        [({"channel": row.channel}, row) for row in rows],
    )  # fmt: skip


def _histogram(
    name: str, explained: str, buckets: Sequence[float], rows: Sequence[tuple[dict[str, str], Row[Any]]]
) -> Iterator[str]:
    yield from (f"# HELP {name} {explained}", f"# TYPE {name} histogram")
    by_labels: dict[tuple[tuple[str, str], ...], dict[int, tuple[int, float]]] = {}
    for labels, row in rows:
        by_labels.setdefault(tuple(labels.items()), {})[row.bucket] = (row.number, float(row.seconds))
    for key, found in by_labels.items():
        labels, total = dict(key), 0
        for place, upper in enumerate([*map(str, buckets), "+Inf"]):
            total += found.get(place, (0, 0.0))[0]
            yield f"{name}_bucket{_labels({**labels, 'le': upper})} {total}"
        yield f"{name}_sum{_labels(labels)} {sum(seconds for _, seconds in found.values()):g}"
        yield f"{name}_count{_labels(labels)} {total}"


def _labels(values: Mapping[str, object]) -> str:
    if not values:
        return ""
    escaped = {
        name: str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for name, value in values.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"
