"""What planning costs, where a quiet machine is not needed to tell: statements, plans, and what a slice reads."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from sqlalchemy import event, make_url, text
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from campaigns import ledger
from campaigns.addresses import newest_words, refused, refused_among
from campaigns.planning import Planned, plan_slice
from outreach import clock, db
from outreach.db import transaction
from outreach.models import Campaign
from outreach.vocabulary import Channel, NoticeClass
from tests.campaigns.test_controls_planning import EMAIL, NIGHT, SMS, campaign_over, planned
from tests.people import a_campaign


def one_slice(campaign_id: int, after: int, size: int) -> Planned:
    """Plan one slice in a transaction of its own."""
    with transaction() as session:
        campaign = session.get_one(Campaign, campaign_id)
        campaign.waves = []
        return plan_slice(session, campaign=campaign, now=clock.now(session), after=after, slice_size=size)


def audience_of(database: str, number: int) -> int:
    """Open a campaign over so many customers, of whom the statistics are known; returns its id."""
    with transaction() as session:
        campaign_id = a_campaign(session, number, clock.now(session)).id
    address = make_url(database).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE) customers, audience_members")
    return campaign_id


def rows_read() -> dict[str, int]:
    """How many rows of each table were read since the database was made, by whatever way."""
    db.forget_engine()  # a backend reports its numbers when it ends
    tables = "'customers', 'audience_members', 'notices', 'messages'"
    counted = f"SELECT relname, seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname IN ({tables})"
    with transaction() as session:
        return {name: int(number) for name, number in session.execute(text(counted))}


def test_the_last_slice_reads_as_little_as_the_first(database: str) -> None:
    """Neither the customers and members of other slices, nor what these have written."""
    campaign_id, size = audience_of(database, 10_000), 1_000
    reads, after, before = [], 0, rows_read()
    while after is not None:
        done = one_slice(campaign_id, after, size)
        now = rows_read()
        if done.notices:
            reads.append({table: now[table] - before[table] for table in now})
        after, before = done.last_customer, now  # type: ignore[assignment]
    assert len(reads) == 10
    for slice_reads in reads:
        # A member is found, then joined; a customer is joined, and looked for at her address.
        assert slice_reads["audience_members"] <= 2 * size
        assert slice_reads["customers"] <= 3 * size
        # Of one in twenty only the postal address is known, for which somebody looks among this campaign's postcards.
        assert slice_reads["notices"] <= size / 20
        assert slice_reads["messages"] <= size / 20


def test_a_slice_takes_three_statements_whatever_its_size(database: str) -> None:
    campaign_id = audience_of(database, 3_000)
    with transaction() as session:
        campaign = session.get_one(Campaign, campaign_id)
        now, statements = clock.now(session), []

        def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
            statements.append(statement)

        event.listen(Engine, "before_cursor_execute", note)
        try:
            done = plan_slice(session, campaign=campaign, now=now)
        finally:
            event.remove(Engine, "before_cursor_execute", note)
    assert done.notices == 3_000
    assert len(statements) == 3  # alone, where the slice ends, and the slice


def test_no_slice_is_planned_by_the_plan_of_an_earlier_one(session: Session) -> None:
    """The server's general plan comes from empty tables: it reads all notices of earlier slices for every member."""
    campaign = campaign_over(session, 300, EMAIL)
    after: int | None = 0
    while after is not None:
        after = plan_slice(session, campaign=campaign, now=NIGHT, after=after, slice_size=15).last_customer
    made = "SELECT sum(custom_plans), sum(generic_plans) FROM pg_prepared_statements WHERE statement LIKE :planning"
    custom, general = session.execute(text(made), {"planning": "%INSERT INTO notices%"}).one()
    assert custom >= 10
    assert general == 0


def test_two_who_plan_at_once_write_each_notice_once(database: str) -> None:
    campaign_id = audience_of(database, 2_000)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: one_slice(campaign_id, 0, 50_000), range(2)))
    assert sorted(planned.notices for planned in done) == [0, 2_000]
    with transaction() as session:
        session.get_one(Campaign, campaign_id).planned_through = 2_000
        account = ledger.verify(session, campaign=session.get_one(Campaign, campaign_id))
    assert account.discrepancies == []


@pytest.mark.parametrize("notice_class", NoticeClass)
@pytest.mark.parametrize("channel", Channel)
def test_consents_read_for_many_say_what_they_say_of_one(
    session: Session, notice_class: NoticeClass, channel: Channel
) -> None:
    campaign_over(session, 200, EMAIL)
    session.execute(
        text("""
        INSERT INTO consents (customer_id, channel, notice_class, allowed, source, acted_at)
        SELECT c.id, (ARRAY['email', 'sms', 'postcard'])[1 + i * c.id % 3],
               (ARRAY[NULL, 'service', 'promotion'])[1 + (i + c.id / 3) % 3], (i + c.id) % 2 = 0, 'test',
               cast(:now AS timestamptz) - make_interval(days => (i * c.id % 4)::int)
        FROM customers c, generate_series(1, 7) AS i WHERE c.id % 5 > 0"""),
        {"now": NIGHT},
    )
    asked = {"notice_class": notice_class.value}
    told_apart = session.execute(
        text(f"""
        WITH words AS ({newest_words("IN (SELECT id FROM customers)", [channel.value])})
        SELECT {refused(f"'{channel.value}'", "c.id")} AS asked_of_one,
               {refused_among("words", channel.value, "c.id")} AS read_for_many, count(*) AS people
        FROM customers c GROUP BY 1, 2"""),
        asked,
    ).all()
    assert all(row.asked_of_one is row.read_for_many for row in told_apart)
    assert {row.asked_of_one for row in told_apart} == {True, False}


def test_of_three_hundred_at_one_address_one_is_told(session: Session) -> None:
    campaign = campaign_over(session, 301, EMAIL, change="UPDATE customers SET email = 'desk@example.com'")
    account = planned(session, campaign)
    assert (account.on_the_way, account.skipped) == (1, {"shared_address": 300})


def test_who_is_told_on_several_channels_is_covered_by_the_first_alone(session: Session) -> None:
    change = """UPDATE customers SET
        email = CASE external_id WHEN 'c-2' THEN 'ann.1@example.com' WHEN 'c-3' THEN NULL ELSE email END,
        phone = CASE WHEN external_id IN ('c-3', 'c-4') THEN '+12025551001' ELSE phone END"""
    campaign = campaign_over(session, 5, EMAIL, SMS | {"at_once": True}, change=change)
    assert planned(session, campaign).skipped == {"shared_address": 2}
    told = session.execute(
        text("SELECT c.external_id, m.channel FROM messages m JOIN customers c ON c.id = m.customer_id ORDER BY 1, 2")
    ).all()
    assert [tuple(row) for row in told] == [
        ("c-1", "email"), ("c-1", "sms"), ("c-4", "email"), ("c-4", "sms"), ("c-5", "email"), ("c-5", "sms"),
    ]  # fmt: skip
