import re
import time
from pathlib import Path
from typing import Any

from sqlalchemy import text

from app.worker import create_worker
from campaigns.planning import plan_slice
from campaigns.sending_counts import count
from outreach import clock, periodic
from outreach.db import transaction
from outreach.permissions import Permission
from tests.people import a_campaign

LINE = re.compile(r'^[a-z_]+(\{[a-z_]+="[^"]*"(,[a-z_]+="[^"]*")*\})? [-+0-9.einfNa]+$')


def test_metrics_need_a_key_and_speak_the_text_format(api_server: Any) -> None:
    with transaction() as session:
        now = clock.now(session)
        plan_slice(session, campaign=a_campaign(session, 30, now), now=now)
    assert api_server.ask("GET", "/metrics").status == 401
    answer = api_server.ask("GET", "/metrics", authorization=api_server.key(Permission.CAMPAIGNS_READ))
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = answer.data.decode().splitlines()
    assert [line for line in lines if not line.startswith("#") and not LINE.match(line)] == []
    assert 'outreach_messages_total{channel="email",class="service",state="queued"} 27' in lines
    assert "outreach_sending_stops 0" in lines


# docs/operations.md lists them; dashboards and alarms are built on these names.
NAMES = (
    "outreach_messages_total", "outreach_send_latency_seconds", "outreach_provider_request_seconds",
    "outreach_unknown_messages", "outreach_queue_oldest_due_seconds", "outreach_claim_lease_expired_total",
    "outreach_fence_rejected_total", "outreach_webhook_received_total", "outreach_webhook_lag_seconds",
    "outreach_webhook_dead", "outreach_optout_to_effect_seconds", "outreach_suppressed_total",
    "outreach_bounce_ratio", "outreach_complaint_ratio", "outreach_periodic_last_success_timestamp",
    "pg_oldest_xmin_seconds", "outreach_redis_memory_bytes", "outreach_redis_evicted_keys_total",
    "outreach_worker_rss_bytes",
)  # fmt: skip


def test_every_name_that_is_promised_is_told_and_explained(api_server: Any) -> None:
    answer = api_server.ask("GET", "/metrics", authorization=api_server.key(Permission.CAMPAIGNS_READ)).data.decode()
    told = set(re.findall(r"^# TYPE (\S+)", answer, re.M))
    assert set(NAMES) - told == set()
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    assert [name for name in told if f"`{name}" not in page] == []


def test_a_periodic_job_says_when_it_last_ended_well_and_an_opt_out_how_long_it_took(api_server: Any) -> None:
    application = create_worker()
    before = time.time()
    try:
        application.tasks["campaigns.sweep"].apply()
        application.tasks["campaigns.sweep"].apply()  # written down every ten seconds only
    finally:
        periodic._written.clear()
    with transaction() as session:
        session.execute(
            text("""INSERT INTO suppressions (channel, address, reason, source, created_at)
                    VALUES ('sms', '+12025550100', 'stop', 'twilio', clock_timestamp() - interval '3 seconds')""")
        )
    lines = api_server.ask("GET", "/metrics", authorization=api_server.key(Permission.CAMPAIGNS_READ)).data.decode()
    found = dict(re.findall(r'^(outreach_\w+)\{job="campaigns.sweep"\} (\S+)', lines, re.M))
    assert before - 1 <= float(found["outreach_periodic_last_success_timestamp"]) <= time.time() + 1
    assert float(found["outreach_worker_rss_bytes"]) > 10_000_000
    assert 'outreach_optout_to_effect_seconds_bucket{channel="sms",le="1"} 0' in lines
    assert 'outreach_optout_to_effect_seconds_bucket{channel="sms",le="5"} 1' in lines


def test_stops_plans_and_costs_over_the_api(api_server: Any) -> None:
    with transaction() as session:
        key = a_campaign(session, 30, clock.now(session)).key
    author = api_server.key(Permission.CAMPAIGNS_READ, Permission.CAMPAIGNS_WRITE)
    approver = api_server.key(Permission.CAMPAIGNS_READ, Permission.CAMPAIGNS_APPROVE)
    plan = api_server.ask("POST", f"/api/campaigns/{key}/plan", {"budget_cents": 500}, authorization=author).json()
    assert plan["people"] == 30
    assert plan["best"]["expected_cost_cents"] <= 500
    assert api_server.ask("GET", f"/api/campaigns/{key}/costs", authorization=author).json() == {}
    stopped = api_server.ask("POST", "/api/sending-stops", {"channel": "sms", "reason": "!"}, authorization=author)
    assert (stopped.status, stopped.json()[0]["channel"]) == (201, "sms")
    lift = "/api/sending-stops/lift"
    assert api_server.ask("POST", lift, {"channel": "sms"}, authorization=author).status == 403
    assert api_server.ask("POST", lift, {}, authorization=approver).status == 409
    assert api_server.ask("POST", lift, {"channel": "sms"}, authorization=approver).json() == []
    assert api_server.ask("POST", f"/api/campaigns/{key}/edit", {"version": 9}, authorization=approver).status == 422


def test_a_resting_provider_shows_in_metrics_and_readiness(api_server: Any) -> None:
    with transaction() as session:
        session.execute(
            text("""INSERT INTO provider_circuits (provider, channel, opened_at, retry_at)
                    VALUES ('twilio', 'sms', clock_timestamp(), clock_timestamp() + interval '1 minute')""")
        )
        count(session, "fence_rejected", 2)
        count(session, "fence_rejected", 3)
        session.execute(
            text("""INSERT INTO attempts (chunk_id, fence, provider, message_ids, state, leased_until, started_at,
                                          finished_at)
                    SELECT 1, 1, 'twilio', '{}', 'accepted', now(), now(), now() + interval '70 milliseconds'
                    FROM generate_series(1, 3)""")
        )
    lines = api_server.ask("GET", "/metrics", authorization=api_server.key(Permission.CAMPAIGNS_READ)).data.decode()
    assert 'outreach_provider_circuit{provider="twilio",state="open"} 1' in lines
    assert "outreach_fence_rejected_total 5" in lines
    assert "outreach_claim_lease_expired_total 0" in lines
    assert 'outreach_provider_request_seconds_bucket{provider="twilio",outcome="accepted",le="0.05"} 0' in lines
    assert 'outreach_provider_request_seconds_bucket{provider="twilio",outcome="accepted",le="0.1"} 3' in lines
    ready = api_server.ask("GET", "/ready")
    assert (ready.status, ready.json()["status"], ready.json()["resting"]) == (200, "degraded", ["sms"])
