import re
from typing import Any

from sqlalchemy import text

from campaigns.planning import plan_slice
from campaigns.sending_counts import count
from outreach import clock
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
