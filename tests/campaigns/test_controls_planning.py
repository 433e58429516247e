"""What planning decides: hours, caps, households, waves, holdout; the account adds up in every case."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns import fallbacks, ledger, waves
from campaigns.lifecycle import open_campaign
from campaigns.planning import plan_slice
from campaigns.playbooks import install_defaults
from campaigns.send_slots import move_closed
from outreach.errors import InvalidInput
from outreach.models import Campaign
from outreach.settings import get_settings
from outreach.vocabulary import CampaignKind, NoticeClass
from tests.people import a_problem, an_audience

NIGHT = datetime(2026, 7, 1, 5, tzinfo=UTC)  # midnight in Springfield, Illinois
EMAIL, SMS, POSTCARD = ({"channel": channel} for channel in ("email", "sms", "postcard"))


def campaign_over(
    session: Session, number: int, *ladder: dict[str, Any], notice_class: NoticeClass = NoticeClass.SERVICE,
    now: datetime = NIGHT, change: str = "", **options: Any,
) -> Campaign:  # fmt: skip
    """Open a running campaign over new customers, after `change` (SQL) has been done to them."""
    install_defaults(session)
    problem = a_problem(session, now)
    segment_id = an_audience(session, problem, number, now)
    if change:
        session.execute(text(change))
    return open_campaign(
        session, name="Notice", kind=CampaignKind.KNOWN, notice_class=notice_class, template_key="problem-known",
        ladder=list(ladder), segment_id=segment_id, problem_id=problem.id, author="test", approved=True, now=now,
        **options,
    )  # fmt: skip


def planned(session: Session, campaign: Campaign, now: datetime = NIGHT) -> ledger.Account:
    """Plan everything and return the account, which must add up."""
    waves.draw_bounds(session, campaign=campaign)
    plan_slice(session, campaign=campaign, now=now)
    campaign.planned_through = 1
    session.flush()
    account = ledger.verify(session, campaign=campaign)
    assert account.discrepancies == []
    return account


def set_to(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    """Change settings for this test."""
    for name, value in settings.items():
        monkeypatch.setenv(f"OUTREACH_{name.upper()}", value)
    get_settings.cache_clear()


def chunks(session: Session, campaign: Campaign) -> list[Any]:
    """Return the campaign's chunks in order."""
    return list(session.execute(text("SELECT * FROM chunks WHERE campaign_id = :id ORDER BY id"), {"id": campaign.id}))


def test_sms_wait_for_the_morning_of_each_zone_and_email_goes_now(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to(monkeypatch, sms_hours="8-21")
    change = """UPDATE customers SET email = CASE WHEN id % 2 = 0 THEN email END,
                time_zone = (ARRAY['America/New_York', 'Asia/Tokyo', NULL, 'Mars/Base'])[id % 4 + 1]"""
    campaign = campaign_over(session, 40, EMAIL, SMS, change=change)
    planned(session, campaign)
    due = {(chunk.channel, chunk.zones): chunk.due_at for chunk in chunks(session, campaign)}
    assert {at for (channel, _), at in due.items() if channel == "email"} == {NIGHT}
    sms = {zones: at for (channel, zones), at in due.items() if channel == "sms"}
    # Tokyo has 14 o'clock; an invalid zone is unknown, and the address says Illinois.
    assert sms["Asia/Tokyo"] == NIGHT
    assert sms["America/Chicago"] == datetime(2026, 7, 1, 13, tzinfo=UTC)


def test_a_chunk_whose_hours_have_passed_finds_its_next_morning(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to(monkeypatch, sms_hours="8-21")
    campaign = campaign_over(session, 10, SMS)
    planned(session, campaign)
    (before,) = chunks(session, campaign)
    assert move_closed(session, now=before.due_at) == 0
    assert move_closed(session, now=before.closes_at) == 1
    (after,) = chunks(session, campaign)
    assert after.due_at == before.due_at + timedelta(days=1)
    assert after.closes_at == before.closes_at + timedelta(days=1)


def test_safety_is_sent_at_any_hour(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    set_to(monkeypatch, sms_hours="8-21")
    campaign = campaign_over(session, 10, SMS, notice_class=NoticeClass.SAFETY)
    planned(session, campaign)
    assert {(chunk.due_at, chunk.zones) for chunk in chunks(session, campaign)} == {(NIGHT, None)}


def test_an_sms_that_would_come_after_the_expiry_is_skipped(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    set_to(monkeypatch, sms_hours="8-21")
    campaign = campaign_over(session, 10, SMS, not_after=NIGHT + timedelta(hours=2))
    assert planned(session, campaign).skipped == {"expired": 10}


def test_several_at_once_are_planned_together_for_safety(session: Session) -> None:
    ladder = (EMAIL, {"channel": "sms", "at_once": True}, {"channel": "postcard", "after_hours": 72})
    campaign = campaign_over(session, 20, *ladder, notice_class=NoticeClass.SAFETY)
    account = planned(session, campaign)
    assert account.on_the_way == 20
    # Of 20 people 10 and 20 have no email, 20 no phone either: she gets a postcard.
    assert {(chunk.channel, chunk.size) for chunk in chunks(session, campaign)} == {
        ("email", 18), ("sms", 19), ("postcard", 1),
    }  # fmt: skip


def hear(session: Session, campaign: Campaign, customer_sql: str, times: int, ago: str) -> None:
    """Let customers have heard from us: messages of other campaigns, accepted some time ago."""
    for number in range(times):
        session.execute(
            text(f"""
            WITH who AS (SELECT id FROM customers WHERE {customer_sql}),
            told AS (INSERT INTO notices (campaign_id, customer_id, occurrence, grade, state)
                     SELECT :id, id, 100 + :number, 'likely', 'delivered' FROM who RETURNING id, customer_id)
            INSERT INTO messages (notice_id, campaign_id, customer_id, channel, chunk_id, address, send_state, sent_at)
            SELECT id, :id, customer_id, 'email', 0, 'x', 'accepted', cast(:now AS timestamptz) - interval '{ago}'
            FROM told"""),
            {"id": campaign.id, "number": number, "now": NIGHT},
        )


@pytest.mark.parametrize(
    ("notice_class", "times", "ago", "capped"),
    [
        (NoticeClass.SUCCESS, 3, "5 hours", 5),
        (NoticeClass.SUCCESS, 2, "5 hours", 0),
        (NoticeClass.SUCCESS, 3, "30 hours", 0),
        (NoticeClass.SUCCESS, 7, "6 days", 5),
        (NoticeClass.SURVEY, 7, "8 days", 0),
        (NoticeClass.SERVICE, 9, "1 hour", 0),
        (NoticeClass.SAFETY, 9, "1 hour", 0),
    ],
)
def test_caps_stop_courtesies_and_never_service_or_safety(
    session: Session, notice_class: NoticeClass, times: int, ago: str, capped: int
) -> None:
    campaign = campaign_over(session, 9, EMAIL, notice_class=notice_class)
    earlier = open_campaign(
        session, name="Earlier", kind=CampaignKind.TIPS, notice_class=NoticeClass.SERVICE,
        template_key="problem-known", ladder=[EMAIL], segment_id=campaign.segment_id or 0, author="test", now=NIGHT,
    )  # fmt: skip
    hear(session, earlier, "external_id IN ('c-1', 'c-2', 'c-3', 'c-4', 'c-5')", times, ago)
    account = planned(session, campaign)
    assert account.skipped.get("capped", 0) == capped
    assert account.on_the_way == 9 - capped


def test_a_survey_has_a_throttle_of_its_own(session: Session) -> None:
    campaign = campaign_over(session, 5, EMAIL, notice_class=NoticeClass.SURVEY)
    earlier = open_campaign(
        session, name="Earlier", kind=CampaignKind.SURVEY, notice_class=NoticeClass.SURVEY,
        template_key="problem-known", ladder=[EMAIL], segment_id=campaign.segment_id or 0, author="test", now=NIGHT,
    )  # fmt: skip
    hear(session, earlier, "external_id = 'c-1'", 1, "29 days")
    hear(session, earlier, "external_id = 'c-2'", 1, "31 days")
    assert planned(session, campaign).skipped == {"capped": 1}


def test_two_at_one_address_get_one_message_and_the_second_notice_names_the_first(session: Session) -> None:
    change = "UPDATE customers SET email = 'house@example.com' WHERE external_id IN ('c-1', 'c-2', 'c-3')"
    campaign = campaign_over(session, 9, EMAIL, SMS, change=change)
    account = planned(session, campaign)
    assert (account.on_the_way, account.skipped) == (7, {"shared_address": 2})
    named = session.scalars(
        text("""SELECT c.external_id FROM notices n JOIN notices first ON first.id = n.shared_with
                JOIN customers c ON c.id = first.customer_id WHERE n.reason = 'shared_address'""")
    ).all()
    assert named == ["c-1", "c-1"]


def test_safety_and_surveys_never_share(session: Session) -> None:
    for notice_class in (NoticeClass.SAFETY, NoticeClass.SURVEY):
        session.execute(text("TRUNCATE customers CASCADE"))
        session.execute(text("TRUNCATE orders, order_items, audience_members, notices, messages"))
        change = "UPDATE customers SET email = 'house@example.com'"
        campaign = campaign_over(session, 3, EMAIL, notice_class=notice_class, change=change)
        assert planned(session, campaign).on_the_way == 3


def test_a_housemate_who_joins_later_is_covered_by_the_message_that_went(session: Session) -> None:
    change = "UPDATE customers SET email = 'house@example.com' WHERE external_id IN ('c-1', 'c-2')"
    campaign = campaign_over(session, 4, EMAIL, change=change)
    session.execute(text("UPDATE audience_members SET left_at = now() WHERE customer_id = "
                         "(SELECT id FROM customers WHERE external_id = 'c-2')"))  # fmt: skip
    planned(session, campaign)
    session.execute(text("UPDATE audience_members SET left_at = NULL"))
    assert planned(session, campaign).skipped == {"shared_address": 1}


def test_when_the_shared_address_fails_the_second_goes_her_own_way(session: Session) -> None:
    change = "UPDATE customers SET email = 'house@example.com' WHERE external_id IN ('c-1', 'c-2')"
    campaign = campaign_over(session, 4, EMAIL, SMS, change=change)
    planned(session, campaign)
    session.execute(text("UPDATE messages SET send_state = 'accepted', sent_at = :now, delivery_rank = 62, "
                         "delivery = 'bounced' WHERE address = 'house@example.com'"), {"now": NIGHT})  # fmt: skip
    session.execute(text("UPDATE chunks SET state = 'done', check_at = :now"), {"now": NIGHT})
    fallbacks.fall_back(session, now=NIGHT)
    told = session.scalars(
        text("SELECT c.external_id FROM messages m JOIN customers c ON c.id = m.customer_id "
             "WHERE m.channel = 'sms' ORDER BY 1")
    ).all()  # fmt: skip
    assert told == ["c-1", "c-2"]


def test_waves_are_drawn_once_by_the_seed_and_the_canary_is_exact(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to(monkeypatch, waves_from="50", first_wave="10")
    campaign = campaign_over(session, 180, EMAIL, POSTCARD)
    planned(session, campaign)
    sizes: dict[int, int] = dict(session.execute(text("SELECT wave, count(*) FROM notices GROUP BY 1")).all())
    assert sizes == {0: 10, 1: 100, 2: 70}
    assert {(c.wave, c.state) for c in chunks(session, campaign)} == {(0, "ready"), (1, "held"), (2, "held")}
    order = session.scalars(text("SELECT customer_id FROM notices WHERE wave = 0 ORDER BY 1")).all()
    assert order != sorted(session.scalars(text("SELECT id FROM customers")).all())[:10]
    session.execute(text("DELETE FROM messages"))
    session.execute(text("DELETE FROM chunks"))
    session.execute(text("DELETE FROM notices"))
    planned(session, campaign)
    assert session.scalars(text("SELECT customer_id FROM notices WHERE wave = 0 ORDER BY 1")).all() == order


def test_small_campaigns_safety_and_waves_from_zero_go_at_once(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to(monkeypatch, waves_from="500")
    campaign = campaign_over(session, 60, EMAIL)
    planned(session, campaign)
    assert campaign.waves == []
    set_to(monkeypatch, waves_from="10")
    session.execute(text("TRUNCATE customers, orders, order_items, audience_members, notices, messages CASCADE"))
    safety = campaign_over(session, 60, EMAIL, notice_class=NoticeClass.SAFETY)
    planned(session, safety)
    assert safety.waves == []


def tell_wave(session: Session, campaign: Campaign, wave: int, *, final: bool, now: datetime) -> None:
    """Let the messages of a wave be accepted, and delivered where `final`."""
    asked = {"id": campaign.id, "wave": wave, "now": now, "final": final}
    session.execute(text("""UPDATE messages m SET send_state = 'accepted', sent_at = :now, attempt_id = 1,
        delivery_rank = CASE WHEN :final THEN 50 ELSE 0 END, delivery = CASE WHEN :final THEN 'delivered' END
        FROM chunks k WHERE k.id = m.chunk_id AND k.campaign_id = :id AND k.wave = :wave"""), asked)  # fmt: skip
    session.execute(text("UPDATE chunks SET state = 'done' WHERE campaign_id = :id AND wave = :wave"), asked)


def test_the_next_wave_waits_for_news_of_the_last_one(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    set_to(monkeypatch, waves_from="50", first_wave="10", wave_minutes="60")
    campaign = campaign_over(session, 180, EMAIL, POSTCARD)
    planned(session, campaign)
    assert waves.release_due(session, now=NIGHT) == 0  # nothing of the canary has gone yet
    tell_wave(session, campaign, 0, final=False, now=NIGHT)
    assert waves.release_due(session, now=NIGHT + timedelta(minutes=59)) == 0
    assert waves.release_due(session, now=NIGHT + timedelta(minutes=60)) == 100
    assert campaign.wave == 1
    tell_wave(session, campaign, 1, final=True, now=NIGHT)
    assert waves.release_due(session, now=NIGHT) == 70
    actions = session.scalars(text("SELECT detail->>'wave' FROM audit_log WHERE action = 'campaign.wave_released'"))
    assert actions.all() == ["1", "2"]


def test_waves_keep_to_the_replies_that_the_team_can_take(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    set_to(monkeypatch, waves_from="50", first_wave="10", replies_per_hour="1")
    campaign = campaign_over(session, 180, EMAIL)
    planned(session, campaign)
    tell_wave(session, campaign, 0, final=True, now=NIGHT)
    reply = """INSERT INTO responses (channel, sender, text, intent, campaign_id, received_at)
               VALUES ('email', 'x', 'x', 'question', :id, :now)"""
    session.execute(text(reply), {"id": campaign.id, "now": NIGHT})
    assert waves.release_due(session, now=NIGHT + timedelta(minutes=59)) == 0
    assert waves.release_due(session, now=NIGHT + timedelta(minutes=61)) > 0


def test_a_share_is_held_out_of_courtesies_and_the_account_says_so(session: Session) -> None:
    campaign = campaign_over(session, 400, EMAIL, POSTCARD, notice_class=NoticeClass.SUCCESS, holdout_share=0.25)
    account = planned(session, campaign)
    assert 70 < account.held_out < 130
    assert account.held_out + account.on_the_way == 400
    with pytest.raises(InvalidInput, match="Nobody is held out"):
        campaign_over(session, 0, EMAIL, holdout_share=0.1)
