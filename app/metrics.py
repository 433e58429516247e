"""The figures that operators watch, in Prometheus' text format; counted from the database, so that any process tells.

Labels hold our own words only: no addresses, no names. Needs the permission `campaigns.read`, for a scraper as an API
key: `authorization: {credentials: …}` in its configuration.
"""

from collections.abc import Iterator, Mapping

from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns.stalls import STUCK
from outreach import clock
from outreach.doors import SessionDep, requires
from outreach.permissions import Permission

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
    ("outreach_webhook_dead", "gauge", "Inbound events that could not be read.",
     "SELECT count(*) FROM inbound_events WHERE state = 'dead'"),
)  # fmt: skip

_RECENT = """WITH recent AS (
    SELECT m.channel, coalesce(m.delivery, '') AS delivery, m.complained_at
    FROM chunks k JOIN messages m ON m.chunk_id = k.id
    WHERE k.finished_at > cast(:now AS timestamptz) - interval '1 day' AND m.send_state = 'accepted') """

# Due to accepted, of the messages of the last hour (GOV.UK Notify measures the same stretch).
BUCKETS = (1, 5, 15, 60, 300, 1800, 21600)
_LATENCY = text("""
SELECT k.channel, width_bucket(greatest(extract(epoch FROM m.sent_at - k.due_at), 0)::float8,
                               cast(:buckets AS float8[])) AS bucket,
       count(*) AS messages, sum(greatest(extract(epoch FROM m.sent_at - k.due_at), 0)) AS seconds
FROM chunks k JOIN messages m ON m.chunk_id = k.id
WHERE k.finished_at > cast(:now AS timestamptz) - interval '1 hour'
  AND m.send_state = 'accepted' AND m.sent_at IS NOT NULL
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
            yield f"{name}{_labels(dict(zip(labels, values, strict=True)))} {float(number):g}"
    yield from _latency(session, parameters)


def _latency(session: Session, parameters: Mapping[str, object]) -> Iterator[str]:
    name = "outreach_send_latency_seconds"
    yield from (f"# HELP {name} From due to accepted, messages of the last hour.", f"# TYPE {name} histogram")
    by_channel: dict[str, dict[int, tuple[int, float]]] = {}
    for row in session.execute(_LATENCY, {"now": parameters["now"], "buckets": [float(b) for b in BUCKETS]}):
        by_channel.setdefault(row.channel, {})[row.bucket] = (row.messages, float(row.seconds))
    for channel, found in by_channel.items():
        total = 0
        for place, upper in enumerate([*map(str, BUCKETS), "+Inf"]):
            total += found.get(place, (0, 0.0))[0]
            yield f"{name}_bucket{_labels({'channel': channel, 'le': upper})} {total}"
        yield f"{name}_sum{_labels({'channel': channel})} {sum(seconds for _, seconds in found.values()):g}"
        yield f"{name}_count{_labels({'channel': channel})} {total}"


def _labels(values: Mapping[str, object]) -> str:
    if not values:
        return ""
    escaped = {
        name: str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for name, value in values.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"
