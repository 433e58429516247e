"""The protocol by itself: its table, a hundred thousand schedules of it, and what happens without each guard."""

from datetime import UTC, datetime, timedelta
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.protocol import (
    OF_ONE_ATTEMPT,
    TRANSITIONS,
    Delivery,
    Doubt,
    Effect,
    Fact,
    Sending,
    Step,
    Verdict,
    advance,
    fold,
    judge_doubt,
    merge,
)
from campaigns.providers.base import Search
from outreach.vocabulary import FINAL_SEND_STATES, EventKind, NoticeClass, SendState
from tests.campaigns.simulation import Rules, reached, violations

START = datetime(2027, 3, 1, tzinfo=UTC)
FACTS = st.lists(
    st.builds(
        Fact,
        kind=st.sampled_from(EventKind),
        at=st.integers(0, 5).map(lambda minutes: START + timedelta(minutes=minutes)),
        detail=st.none() | st.sampled_from(["mailbox full", "no such user", "550"]),
        machine=st.booleans(),
    ),
    max_size=8,
)


@given(facts=FACTS, data=st.data())
def test_any_order_and_repetition_of_events_gives_one_answer(facts: list[Fact], data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(facts), max_size=5)) if facts else []
    shuffled = data.draw(st.permutations(facts + again))
    assert fold(shuffled) == fold(facts)


@given(one=FACTS, other=FACTS)
def test_events_may_be_cut_into_batches_anywhere(one: list[Fact], other: list[Fact]) -> None:
    assert merge(fold(one), fold(other)) == fold(one + other) == merge(fold(other), fold(one))
    assert merge(fold(one), fold(one)) == fold(one)
    assert merge(fold(one), Delivery()) == fold(one)


def test_a_bounce_after_the_delivery_wins_and_an_opening_never_lowers() -> None:
    bounced, delivered = Fact(EventKind.BOUNCED, START, "no such user"), Fact(EventKind.DELIVERED, START)
    opened = Fact(EventKind.OPENED, START + timedelta(hours=1))
    state = fold([delivered, bounced, opened])
    assert (state.kind, state.detail, state.opened_at) == (EventKind.BOUNCED, "no such user", opened.at)
    assert fold([Fact(EventKind.OPENED, START, machine=True)]) == Delivery()


def test_a_hundred_thousand_schedules_a_minute_lose_and_double_nothing() -> None:
    number = 20_000
    began = process_time()
    assert violations(0, number) == []
    assert number / (process_time() - began) * 60 > 100_000


@pytest.mark.parametrize(
    "guard", ["fence", "commit_before_call", "deadline", "grace", "expired_is_unknown", "ambiguous_is_unknown"]
)
def test_without_any_one_guard_schedules_go_wrong(guard: str) -> None:
    assert violations(0, 4_000, Rules(**{guard: False}))


def test_the_schedules_use_the_table() -> None:
    unused = {row for row in TRANSITIONS if row not in reached(4_000)}
    # What an honest search leaves no room for: evidence that comes after we were sure of the contrary.
    allowed = {row for row in TRANSITIONS if row[1] is Step.EVIDENCE and row[0] in FINAL_SEND_STATES}
    allowed |= {(SendState.QUEUED, Step.EVIDENCE), (SendState.QUEUED, Step.RECEIPT_ACCEPTED)}
    assert unused <= allowed


@pytest.mark.parametrize("state", SendState)
@pytest.mark.parametrize("step", Step)
def test_no_step_leaves_an_end_and_none_about_an_older_attempt_counts(state: SendState, step: Step) -> None:
    before = Sending(state, 5)
    after, effects = advance(before, step, 5 if step is not Step.GATE_PASSED else 6)
    if state in FINAL_SEND_STATES:
        assert after.state is state
    if Effect.CALL in effects:
        assert (state, after) == (SendState.QUEUED, Sending(SendState.SENDING, 6))
    if step in OF_ONE_ATTEMPT:
        assert advance(before, step, 4) == (before, (Effect.FENCED,))


def test_evidence_stops_a_message_that_waits_to_be_sent_again() -> None:
    waiting, _ = advance(Sending(SendState.UNKNOWN, 1), Step.SEND_AGAIN, 1)
    assert advance(waiting, Step.EVIDENCE)[0].state is SendState.ACCEPTED
    assert advance(waiting, Step.RECEIPT_ACCEPTED, 1)[0].state is SendState.ACCEPTED


def test_evidence_for_what_we_had_ended_is_kept_and_told() -> None:
    after, effects = advance(Sending(SendState.DEAD, 1), Step.EVIDENCE)
    assert after == Sending(SendState.DEAD, 1, late_evidence=True)
    assert effects == (Effect.ALERT,)


DAY = timedelta(hours=24)


@pytest.mark.parametrize(
    ("doubt", "verdict"),
    [
        (Doubt(Search.FOUND, DAY, NoticeClass.SURVEY), Verdict.FOUND),
        (Doubt(Search.ABSENT, timedelta(0), NoticeClass.SERVICE), Verdict.ABSENT),
        (Doubt(Search.ABSENT, DAY, NoticeClass.SERVICE, campaign_goes_on=False), Verdict.CANCELLED),
        (Doubt(Search.UNABLE, DAY - timedelta(seconds=1), NoticeClass.SAFETY), Verdict.STILL_UNKNOWN),
        (Doubt(Search.UNABLE, DAY, NoticeClass.SAFETY), Verdict.BETTER_TWICE),
        (Doubt(Search.UNABLE, DAY, NoticeClass.SAFETY, never_blind=True), Verdict.STILL_UNKNOWN),
        (Doubt(Search.UNABLE, DAY, NoticeClass.SAFETY, campaign_goes_on=False), Verdict.GIVEN_UP),
        (Doubt(Search.UNABLE, DAY, NoticeClass.SERVICE), Verdict.STILL_UNKNOWN),
        (Doubt(Search.UNABLE, DAY * 3, NoticeClass.PROMOTION, never_blind=True), Verdict.GIVEN_UP),
    ],
)
def test_what_becomes_of_a_message_in_doubt(doubt: Doubt, verdict: Verdict) -> None:
    assert judge_doubt(doubt) is verdict
