"""Each guard of claim and gate by itself; elsewhere one often stands behind the other and hides its absence."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns import stops
from campaigns.dispatch import _Chunk, _finish, release
from campaigns.envelopes import Sender
from campaigns.gate import gate
from campaigns.planning import plan_slice
from campaigns.preparing import Claim, Prepared, claim_next
from outreach import clock
from outreach.db import transaction
from outreach.settings import get_settings
from outreach.vocabulary import Channel
from tests.campaigns.test_controls_sending import RecordingProvider
from tests.people import a_campaign

PEOPLE = 9


@pytest.fixture
def planned(session: Session) -> Session:
    """A campaign by email whose one chunk is due."""
    campaign = a_campaign(session, PEOPLE, clock.now(session))
    campaign.ladder, campaign.waves = [{"channel": "email"}], []
    session.flush()
    plan_slice(session, campaign=campaign, now=clock.now(session))
    return session


def claimed(session: Session, owner: str = "test") -> Claim | None:
    """Claim the chunk for a minute."""
    return claim_next(session, channel=Channel.EMAIL, provider="recording", owner=owner, lease_seconds=60)


def surely(claim: Claim | None) -> Claim:
    """Return a claim that must be there."""
    assert claim is not None
    return claim


def through(session: Session, claim: Claim, ids: Sequence[UUID] = ()) -> set[UUID] | None:
    """Return who passes the gate; none when the chunk is not ours."""
    sender = Sender(Channel.EMAIL, RecordingProvider(), get_settings())
    ids = ids or everybody(session)
    gated = gate(session, claim=claim, sender=sender, message_ids=ids, prices=[1])
    if not gated.ours:
        return None
    return {message_id for message_id, attempt in zip(ids, gated.attempts, strict=True) if attempt is not None}


def everybody(session: Session) -> list[UUID]:
    """Return all messages."""
    return list(session.scalars(text("SELECT id FROM messages ORDER BY id")))


def chunk(session: Session) -> tuple[str, int]:
    """Return state and fence of the chunk."""
    row = session.execute(text("SELECT state, fence FROM chunks")).one()
    return str(row.state), int(row.fence)


def test_everybody_passes_once(planned: Session) -> None:
    claim = surely(claimed(planned))
    assert through(planned, claim) == set(everybody(planned))
    assert through(planned, claim) == set()


def test_each_message_that_passes_is_told_its_own_attempt_and_those_that_left_or_wait_none(planned: Session) -> None:
    planned.execute(text("UPDATE campaigns SET notice_class = 'promotion'"))
    claim = surely(claimed(planned))
    ids = everybody(planned)
    barred, waits = ids[1], ids[4]
    planned.execute(
        text("""INSERT INTO suppressions (channel, address, reason, source, created_at)
                SELECT 'email', address, 'manual', 'test', now() FROM messages WHERE id = :id"""),
        {"id": barred},
    )
    planned.execute(text("UPDATE messages SET send_state = 'cancelled' WHERE id = :id"), {"id": waits})
    provider = RecordingProvider()
    provider.messages_per_call = 3  # of seven: the places of the calls are not those of the messages
    gated = gate(
        planned, claim=claim, sender=Sender(Channel.EMAIL, provider, get_settings()), message_ids=ids, prices=[1]
    )
    assert gated.left == 1
    told = dict(zip(ids, gated.attempts, strict=True))
    kept = {row.id: row.attempt_id for row in planned.execute(text("SELECT id, attempt_id FROM messages"))}
    assert told == kept
    assert [message_id for message_id, attempt in told.items() if attempt is None] == [barred, waits]
    calls = {row.id: row.message_ids for row in planned.execute(text("SELECT id, message_ids FROM attempts"))}
    assert sorted(len(message_ids) for message_ids in calls.values()) == [1, 3, 3]
    assert all(message_id in calls[attempt] for message_id, attempt in told.items() if attempt is not None)


def test_a_worker_that_lost_its_chunk_neither_sends_nor_closes_nor_gives_back_what_another_one_holds(
    planned: Session,
) -> None:
    old = surely(claimed(planned, "old"))
    planned.execute(text("UPDATE chunks SET state = 'ready', owner = NULL, leased_until = NULL"))
    new = surely(claimed(planned, "new"))
    assert (old.fence, new.fence) == (1, 2)
    assert through(planned, old) is None
    release(planned, old)
    assert chunk(planned) == ("claimed", 2)
    planned.execute(text("UPDATE messages SET send_state = 'accepted'"))
    _finish(planned, _Chunk(Prepared(old, [], [], False), 10))
    assert chunk(planned) == ("claimed", 2)
    _finish(planned, _Chunk(Prepared(new, [], [], False), 10))
    assert chunk(planned) == ("done", 2)


def test_a_chunk_of_which_somebody_waits_is_not_closed(planned: Session) -> None:
    claim = surely(claimed(planned))
    planned.execute(
        text("UPDATE messages SET send_state = 'accepted' WHERE id <> :last"), {"last": everybody(planned)[-1]}
    )
    _finish(planned, _Chunk(Prepared(claim, [], [], False), 10))
    assert chunk(planned) == ("claimed", 1)


@pytest.mark.parametrize("state", ["accepted", "sending", "unknown", "dead", "cancelled"])
def test_who_is_no_longer_queued_does_not_pass(planned: Session, state: str) -> None:
    claim = surely(claimed(planned))
    first, *others = everybody(planned)
    planned.execute(text("UPDATE messages SET send_state = :state WHERE id = :id"), {"state": state, "id": first})
    assert through(planned, claim, [first, *others]) == set(others)
    assert planned.scalar(text("SELECT send_state FROM messages WHERE id = :id"), {"id": first}) == state


def test_who_was_moved_to_another_chunk_does_not_pass(planned: Session) -> None:
    claim = surely(claimed(planned))
    moved = planned.scalar(
        text("""INSERT INTO chunks (campaign_id, channel, template_version, due_at, size)
                SELECT campaign_id, channel, template_version + 1, due_at, 1 FROM chunks RETURNING id""")
    )
    first, *others = everybody(planned)
    planned.execute(text("UPDATE messages SET chunk_id = :moved WHERE id = :id"), {"moved": moved, "id": first})
    assert through(planned, claim, [first, *others]) == set(others)


CLOSINGS = {
    "its hours are over": "UPDATE chunks SET closes_at = clock_timestamp() - interval '1 second', zones = 'UTC'",
    "the campaign is paused": "UPDATE campaigns SET state = 'paused'",
    "the campaign is cancelled": "UPDATE campaigns SET state = 'cancelled'",
    "everything is stopped": "stop",
    "its provider rests": """INSERT INTO provider_circuits (provider, channel, opened_at, retry_at) VALUES
        ('recording', 'email', clock_timestamp(), clock_timestamp() + interval '1 minute')""",
}


def close(session: Session, why: str) -> None:
    """Let happen what closes claim and gate."""
    if CLOSINGS[why] == "stop":
        stops.stop(session, actor="test", now=clock.now(session))
    else:
        session.execute(text(CLOSINGS[why]))


@pytest.mark.parametrize("why", CLOSINGS)
def test_a_chunk_is_not_claimed_when(planned: Session, why: str) -> None:
    close(planned, why)
    assert claimed(planned) is None
    assert chunk(planned) == ("ready", 0)


@pytest.mark.parametrize("why", CLOSINGS)
def test_a_claimed_chunk_does_not_pass_the_gate_when(planned: Session, why: str) -> None:
    claim = surely(claimed(planned))
    close(planned, why)
    assert through(planned, claim) is None
    assert set(planned.scalars(text("SELECT send_state FROM messages"))) == {"queued"}


_WHO = "(SELECT customer_id FROM messages WHERE id = :id)"
LEAVINGS = {
    "suppressed": """INSERT INTO suppressions (channel, address, reason, source, created_at)
        SELECT channel, address, 'stop', 'test', clock_timestamp() FROM messages WHERE id = :id""",
    "erased": f"UPDATE customers SET erased_at = clock_timestamp() WHERE id = {_WHO}",
    "no_consent": f"""INSERT INTO consents (customer_id, channel, allowed, acted_at, source)
        VALUES ({_WHO}, 'email', false, clock_timestamp(), 'test')""",
    "cleared": f"UPDATE audience_members SET grade = 'cleared' WHERE customer_id = {_WHO}",
    "left": f"UPDATE audience_members SET left_at = clock_timestamp() WHERE customer_id = {_WHO}",
    "answered": f"""WITH later AS (UPDATE messages SET step = 1 WHERE id = :id)
        INSERT INTO responses (customer_id, problem_id, channel, sender, text, intent, received_at)
        SELECT {_WHO}, problem_id, 'email', 'ann@example.com', 'solved', 'solved', clock_timestamp() FROM campaigns""",
}
REASONS = {"erased": "suppressed", "left": "cleared"}


@pytest.mark.parametrize("why", LEAVINGS)
def test_one_person_leaves_at_the_gate_with_the_reason(planned: Session, why: str) -> None:
    claim = surely(claimed(planned))
    first, *others = everybody(planned)
    planned.execute(text(LEAVINGS[why]), {"id": first})
    assert through(planned, claim, [first, *others]) == set(others)
    reason = planned.scalar(text("SELECT reason FROM messages WHERE id = :id"), {"id": first})
    assert reason == REASONS.get(why, why)


# What looks much like a reason to leave, and is none.
NO_REASONS = {
    "barred on another channel": LEAVINGS["suppressed"].replace("SELECT channel,", "SELECT 'sms',"),
    "a ban that was lifted": """INSERT INTO suppressions (channel, address, reason, source, created_at, lifted_at)
        SELECT channel, address, 'stop', 'test', now(), now() FROM messages WHERE id = :id""",
    "cleared in another segment": f"""INSERT INTO audience_members
        SELECT (m).* FROM (SELECT jsonb_populate_record(a, '{{"segment_id": 987654, "grade": "cleared"}}') AS m
                           FROM audience_members a WHERE a.customer_id = {_WHO}) other""",
    "a no to another channel": LEAVINGS["no_consent"].replace("'email'", "'sms'"),
}


@pytest.mark.parametrize("why", NO_REASONS)
def test_what_concerns_another_place_keeps_nobody_from_passing(planned: Session, why: str) -> None:
    claim = surely(claimed(planned))
    ids = everybody(planned)
    done: Any = planned.execute(text(NO_REASONS[why]), {"id": ids[0]})
    assert done.rowcount == 1
    assert through(planned, claim, ids) == set(ids)


def test_who_is_called_back_while_the_gate_looks_is_not_sent_to(database: str) -> None:
    with transaction() as session:
        campaign = a_campaign(session, PEOPLE, clock.now(session))
        campaign.ladder, campaign.waves = [{"channel": "email"}], []
        session.flush()
        plan_slice(session, campaign=campaign, now=clock.now(session))
    with transaction() as session:
        claim, ids = surely(claimed(session)), everybody(session)

    def look() -> set[UUID] | None:
        with transaction() as session:
            return through(session, claim, ids)

    with ThreadPoolExecutor(1) as another:
        with transaction() as session:
            session.execute(text("UPDATE messages SET send_state = 'cancelled' WHERE id = :id"), {"id": ids[3]})
            looking = another.submit(look)
            with pytest.raises(TimeoutError):
                looking.result(0.5)  # it waits to see what becomes of her
        assert looking.result(10) == {*ids} - {ids[3]}
    with transaction() as session:
        assert ids[3] not in session.execute(text("SELECT message_ids FROM attempts")).scalar_one()
