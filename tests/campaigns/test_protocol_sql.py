"""The SQL does to messages what the pure protocol says: the same random steps through both, the same states after."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns import receipts, reconcile
from campaigns.lifecycle import cancel, find
from campaigns.planning import plan_slice
from campaigns.protocol import STEP_OF_VERDICT, Delivery, Effect, Fact, Sending, Step, Verdict, advance, fold
from campaigns.providers.base import Outcome, Receipt
from outreach import clock
from outreach.vocabulary import EventKind, SendState
from tests.people import a_campaign
from webhooks.deliveries import EventSet, apply_events
from webhooks.providers.base import ParsedEvent

START = datetime(2027, 3, 1, tzinfo=UTC)
RECEIPTS = {
    Outcome.ACCEPTED: Step.RECEIPT_ACCEPTED,
    Outcome.REFUSED: Step.RECEIPT_REFUSED,
    Outcome.REJECTED: Step.RECEIPT_REJECTED,
    Outcome.UNKNOWN: Step.RECEIPT_UNKNOWN,
}
# What the gate itself decides is told by tests of dispatch; here it is only written down.
GATE = {
    Step.GATE_PASSED: "sending",
    Step.GATE_SUPPRESSED: "suppressed",
    Step.GATE_EXPIRED: "expired",
    Step.UNRENDERABLE: "rejected",
}


def some_messages(session: Session, number: int) -> list[UUID]:
    """Plan a campaign and return the ids of its first messages."""
    now = clock.now(session)
    campaign = a_campaign(session, number * 2, now)
    plan_slice(session, campaign=campaign, now=now, after=0)
    ids = text("SELECT id FROM messages WHERE channel = 'email' ORDER BY id LIMIT :n")
    return list(session.scalars(ids, {"n": number}))


def an_event(message_id: UUID, key: str, fact: Fact) -> ParsedEvent:
    """Return an event as an adapter hands it over."""
    return ParsedEvent(
        message_id=message_id, provider_id=None, key=key, kind=fact.kind, at=fact.at, detail=fact.detail, bars=None,
        address=None, machine=fact.machine, raw={},
    )  # fmt: skip


def stored(session: Session, message_id: UUID) -> Any:
    """Return the row."""
    return session.execute(text("SELECT * FROM messages WHERE id = :id"), {"id": message_id}).one()


@pytest.mark.parametrize("seed", range(8))
def test_events_fold_in_the_database_as_in_the_protocol(session: Session, seed: int) -> None:
    dice = random.Random(seed)
    for message_id in some_messages(session, 10):
        facts = {
            f"{message_id}-{number}": Fact(
                dice.choice(list(EventKind)), START + timedelta(minutes=dice.randrange(4)),
                dice.choice([None, "mailbox full", "no such user", "550"]), dice.random() < 0.3,
            )
            for number in range(dice.randrange(1, 9))
        }  # fmt: skip
        come = [*facts, *dice.choices(list(facts), k=3)]
        dice.shuffle(come)
        while come:
            batch = [come.pop() for _ in range(dice.randrange(1, len(come) + 1))]
            apply_events(session, [EventSet("sendgrid", [an_event(message_id, key, facts[key]) for key in batch])])
        row, want = stored(session, message_id), fold(facts.values())
        names = [name for name in Delivery._fields if name not in {"rank", "kind", "detail_place", "detail"}]
        assert (row.delivery_rank, row.delivery, row.delivery_detail) == (want.rank, want.kind, want.detail)
        assert [getattr(row, name) for name in names] == [getattr(want, name) for name in names]


class Both:
    """One message in the table and in the protocol; each step is done to both."""

    def __init__(self, session: Session, message_id: UUID) -> None:
        self.session, self.id = session, message_id
        self.sending, self.older, self.number = Sending(), [0], 0

    def attempt(self, dice: random.Random) -> int:
        """The newest attempt or an older one."""
        return self.sending.attempt if dice.random() < 0.6 else dice.choice(self.older)

    def take(self, step: Step, attempt: int) -> tuple[Effect, ...]:
        """Advance the protocol."""
        self.sending, effects = advance(self.sending, step, attempt)
        return effects

    def gate(self, step: Step) -> None:
        """Do what the gate does to a queued message."""
        if self.sending.state is not SendState.QUEUED:
            return
        attempt = self.sending.attempt
        if step is Step.GATE_PASSED:
            attempt = self.session.execute(
                text("""INSERT INTO attempts (chunk_id, fence, provider, message_ids, leased_until)
                        SELECT chunk_id, 1, 'sendgrid', ARRAY[id], clock_timestamp() - interval '1 second'
                        FROM messages WHERE id = :id RETURNING id"""),
                {"id": self.id},
            ).scalar_one()
            self.older.append(attempt)
        self.session.execute(
            text("UPDATE messages SET send_state = :state, attempt_id = :attempt WHERE id = :id"),
            {"state": GATE[step], "attempt": attempt or None, "id": self.id},
        )
        self.take(step, attempt)

    def receipt(self, outcome: Outcome, attempt: int) -> None:
        """Write a receipt."""
        if attempt:
            receipt = Receipt(self.id, outcome, "provider id" if outcome is Outcome.ACCEPTED else None)
            receipts.record(self.session, receipts=[receipt], attempts=[attempt], claim_tries=0)
            self.take(RECEIPTS[outcome], attempt)

    def sweep(self) -> None:
        """Let the lease run out."""
        reconcile.sweep_leases(self.session)
        self.take(Step.LEASE_RAN_OUT, self.sending.attempt)

    def settle(self, verdict: Verdict, attempt: int) -> None:
        """Write what a look-up of `attempt` led to."""
        reconcile.apply_verdict(self.session, verdict, [(self.id, attempt, None)], clock.now(self.session))
        if verdict is not Verdict.STILL_UNKNOWN:
            self.take(STEP_OF_VERDICT[verdict], attempt)

    def event(self) -> None:
        """A provider reports."""
        self.number += 1
        fact = Fact(EventKind.QUEUED, START)
        apply_events(self.session, [EventSet("sendgrid", [an_event(self.id, f"{self.id}{self.number}", fact)])])
        self.take(Step.EVIDENCE, 0)


@pytest.mark.parametrize("seed", range(8))
def test_steps_do_in_the_database_what_they_do_in_the_protocol(session: Session, seed: int) -> None:
    dice = random.Random(seed)
    for message_id in some_messages(session, 6):
        both = Both(session, message_id)
        for _ in range(20):
            move = dice.randrange(10)
            if move < 3:
                both.gate(dice.choices(list(GATE), [12, 1, 1, 1])[0])
            elif move < 6:
                both.receipt(dice.choice(list(Outcome)), both.attempt(dice))
            elif move == 6:
                both.sweep()
            elif move < 9:
                both.settle(dice.choice(list(Verdict)), both.attempt(dice))
            elif dice.random() < 0.3:
                both.event()
            row = stored(session, message_id)
            assert (row.send_state, row.late_evidence) == (both.sending.state, both.sending.late_evidence)
            assert (row.attempt_id or 0) == both.sending.attempt


@pytest.mark.parametrize("outcome", Outcome)
def test_a_receipt_of_an_older_attempt_changes_nothing(session: Session, outcome: Outcome) -> None:
    both = Both(session, some_messages(session, 1)[0])
    both.gate(Step.GATE_PASSED)
    both.sweep()
    both.settle(Verdict.ABSENT, both.sending.attempt)
    both.gate(Step.GATE_PASSED)
    both.receipt(outcome, both.older[1])
    assert stored(session, both.id).send_state == both.sending.state == SendState.SENDING


@pytest.mark.parametrize("outcome", Outcome)
def test_of_answers_that_come_after_a_message_was_queued_again_the_acceptance_counts(
    session: Session, outcome: Outcome
) -> None:
    both = Both(session, some_messages(session, 1)[0])
    both.gate(Step.GATE_PASSED)
    both.sweep()
    both.settle(Verdict.ABSENT, both.sending.attempt)
    both.receipt(outcome, both.sending.attempt)
    expected = SendState.ACCEPTED if outcome is Outcome.ACCEPTED else SendState.QUEUED
    assert stored(session, both.id).send_state == both.sending.state == expected


def test_the_lease_of_an_older_attempt_says_nothing_of_a_newer_one(session: Session) -> None:
    both = Both(session, some_messages(session, 1)[0])
    both.gate(Step.GATE_PASSED)
    # An operator, or a repair by hand, put it back into the queue without closing the attempt.
    session.execute(text("UPDATE messages SET send_state = 'queued' WHERE id = :id"), {"id": both.id})
    both.sending = both.sending._replace(state=SendState.QUEUED)
    both.gate(Step.GATE_PASSED)
    session.execute(
        text("UPDATE attempts SET leased_until = clock_timestamp() + interval '1 minute' WHERE id = :id"),
        {"id": both.sending.attempt},
    )
    reconcile.sweep_leases(session)
    both.take(Step.LEASE_RAN_OUT, both.older[1])
    assert stored(session, both.id).send_state == both.sending.state == SendState.SENDING


@pytest.mark.parametrize("verdict", STEP_OF_VERDICT)
def test_a_look_up_of_an_older_attempt_changes_nothing(session: Session, verdict: Verdict) -> None:
    both = Both(session, some_messages(session, 1)[0])
    both.gate(Step.GATE_PASSED)
    both.sweep()
    both.settle(Verdict.ABSENT, both.sending.attempt)
    both.gate(Step.GATE_PASSED)
    both.sweep()
    both.settle(verdict, both.older[1])
    assert stored(session, both.id).send_state == both.sending.state == SendState.UNKNOWN


def test_an_ended_campaign_cancels_what_comes_back_to_its_queue(session: Session) -> None:
    both = Both(session, some_messages(session, 1)[0])
    both.gate(Step.GATE_PASSED)
    cancel(session, campaign=find(session, "C-1"), actor="test", now=clock.now(session))
    both.receipt(Outcome.REFUSED, both.sending.attempt)
    reconcile.sweep_leases(session)
    both.take(Step.CAMPAIGN_ENDED, 0)
    assert stored(session, both.id).send_state == both.sending.state == SendState.CANCELLED
    states = session.execute(text("SELECT state, reason FROM notices WHERE id = (SELECT notice_id FROM messages"
                                  " WHERE id = :id)"), {"id": both.id}).one()  # fmt: skip
    assert tuple(states) == ("skipped", "cancelled")
