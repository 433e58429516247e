"""Several senders: shares, the same one for the same person, and who may take over for whom."""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest

from campaigns.providers.base import LookUp, Outcome, Receipt, Search, SmsEnvelope
from campaigns.providers.lanes import NOT_CALLED
from campaigns.providers.weighted import WeightedSender, WeightedSenders, parse_senders
from outreach.errors import InvalidInput
from outreach.vocabulary import Channel, SuppressionReason
from tests.campaigns.providers.cases import message_id, sms

SOON = 5.0


class Sender:
    """Answers every message the same, and keeps what it was handed."""

    name, channel, messages_per_call, window = "fake", Channel.SMS, 1, 10

    def __init__(self, outcome: Outcome = Outcome.ACCEPTED, **answer: object) -> None:
        self.outcome, self.answer, self.sent = outcome, answer, list[UUID]()
        self.search = Search.ABSENT

    def send(self, envelopes: Sequence[SmsEnvelope], *, deadline: float) -> list[Receipt]:
        self.sent += [envelope.message_id for envelope in envelopes]
        return [Receipt(e.message_id, self.outcome, **self.answer) for e in envelopes]  # type: ignore[arg-type]

    def look_up(self, message_id: UUID, to: str, since: datetime, body: str | None = None) -> LookUp:
        return LookUp(self.search)

    def check(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


def two(first: Sender, second: Sender, *, account: int = 0) -> WeightedSenders:
    """Two senders, 70 to 30."""
    return WeightedSenders([WeightedSender("+1555", first, 70), WeightedSender("+1666", second, 30, account)])


def send(made: WeightedSenders, number: int) -> list[Receipt]:
    """Send to so many people."""
    return made.send([sms(n) for n in range(number)], deadline=time.monotonic() + SOON)


def test_shares_follow_the_weights_and_a_person_keeps_her_number() -> None:
    made = two(Sender(), Sender())
    firsts = Counter(made.order_for(f"+1202{n:07d}")[0].label for n in range(10_000))
    assert firsts["+1555"] == pytest.approx(7000, abs=200)
    again = two(Sender(), Sender())
    assert all(
        made.order_for(f"+1{n}")[0].label == again.order_for(f"+1{n}")[0].label for n in range(500)
    )  # fmt: skip


def test_a_new_sender_takes_its_share_and_leaves_the_others_where_they_are() -> None:
    before = two(Sender(), Sender())
    after = WeightedSenders([*before._senders, WeightedSender("+1777", Sender(), 25)])
    moved = Counter(
        (before.order_for(f"+1{n}")[0].label, after.order_for(f"+1{n}")[0].label) for n in range(5_000)
    )  # fmt: skip
    assert {pair for pair in moved if pair[0] != pair[1]} == {("+1555", "+1777"), ("+1666", "+1777")}
    assert moved["+1555", "+1777"] + moved["+1666", "+1777"] == pytest.approx(1000, abs=120)


def test_what_a_sender_provably_did_not_take_goes_through_the_next() -> None:
    first, second = Sender(Outcome.REFUSED, status_code=403, detail="21606: not ours"), Sender()
    made = two(first, second)
    receipts = send(made, 40)
    assert [r.message_id for r in receipts] == [message_id(n) for n in range(40)]
    assert {r.outcome for r in receipts} == {Outcome.ACCEPTED}
    assert sorted(second.sent, key=str) == [message_id(n) for n in range(40)]
    # A moment later the failed one is asked last.
    first.sent.clear()
    send(made, 40)
    assert first.sent == []


@pytest.mark.parametrize(
    ("outcome", "answer"),
    [
        (Outcome.UNKNOWN, {"detail": "no answer in time"}),
        (Outcome.REJECTED, {"status_code": 400, "detail": "21610", "bars": SuppressionReason.OPTED_OUT_AT_PROVIDER}),
        (Outcome.REFUSED, {"status_code": 429, "detail": "20429: slower"}),
        (Outcome.REFUSED, {"detail": f"{NOT_CALLED}the deadline passed before the call"}),
    ],
)
def test_what_is_unclear_refused_for_good_or_limited_goes_nowhere_else(
    outcome: Outcome, answer: dict[str, object]
) -> None:
    first, second = Sender(outcome, **answer), Sender(outcome, **answer)
    receipts = send(two(first, second), 40)
    assert {r.outcome for r in receipts} == {outcome}
    assert len(first.sent) + len(second.sent) == 40
    assert not set(first.sent) & set(second.sent)


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.REJECTED])
def test_beside_what_was_refused_what_is_unclear_or_refused_for_good_stays_where_it_was(outcome: Outcome) -> None:
    class Mixed(Sender):
        def send(self, envelopes: Sequence[SmsEnvelope], *, deadline: float) -> list[Receipt]:
            self.sent += [envelope.message_id for envelope in envelopes]
            refused = Receipt(envelopes[0].message_id, Outcome.REFUSED, status_code=403, detail="21606: not ours")
            return [refused, *(Receipt(e.message_id, outcome) for e in envelopes[1:])]

    first, second = Mixed(), Sender()
    made = WeightedSenders([WeightedSender("+1555", first, 1), WeightedSender("+1666", second, 1, account=1)])
    receipts = send(made, 10)
    assert Counter(r.outcome for r in receipts) == {outcome: 9, Outcome.ACCEPTED: 1}
    assert second.sent == first.sent[:1]


def test_where_nobody_answers_no_other_number_of_the_account_is_asked() -> None:
    nobody = {"detail": "no connection (TimeoutError)"}
    first, second, other = Sender(Outcome.REFUSED, **nobody), Sender(Outcome.REFUSED, **nobody), Sender()
    numbers = [WeightedSender("+1555", first, 70), WeightedSender("+1666", second, 30)]
    assert {r.outcome for r in send(WeightedSenders(numbers), 40)} == {Outcome.REFUSED}
    assert first.sent
    assert second.sent
    assert len(first.sent) + len(second.sent) == 40
    receipts = send(WeightedSenders([*numbers, WeightedSender("+1777", other, 1, account=1)]), 40)
    assert {r.outcome for r in receipts} == {Outcome.ACCEPTED}
    assert len(other.sent) == 40
    assert len(first.sent) + len(second.sent) == 80  # each was asked once more, by its own number


def test_a_second_account_takes_only_what_the_first_did_not() -> None:
    first, second = Sender(), Sender()
    send(two(first, second, account=1), 30)
    assert (len(first.sent), len(second.sent)) == (30, 0)
    first.outcome, first.answer = Outcome.REFUSED, {"detail": "no connection (NewConnectionError)"}
    receipts = send(two(first, second, account=1), 30)
    assert {r.outcome for r in receipts} == {Outcome.ACCEPTED}
    assert len(second.sent) == 30


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (Search.ABSENT, Search.ABSENT, Search.ABSENT),
        (Search.ABSENT, Search.FOUND, Search.FOUND),
        (Search.FOUND, Search.UNABLE, Search.FOUND),
        (Search.ABSENT, Search.UNABLE, Search.UNABLE),
    ],
)
def test_absent_is_what_no_account_has(first: Search, second: Search, verdict: Search) -> None:
    one, other = Sender(), Sender()
    one.search, other.search = first, second
    found = two(one, other, account=1).look_up(message_id(1), "+1202", datetime.now(UTC))
    assert found.search is verdict


def test_senders_are_read_with_their_weights() -> None:
    assert parse_senders("+1555=70, MG1 =30", where="X") == [("+1555", 70.0), ("MG1", 30.0)]
    assert parse_senders("+1555", where="X") == [("+1555", 1.0)]
    assert parse_senders("", where="X") == []
    for bad in ("+1555=many", "=3", "+1555=0", "+1555=-1", "+1555,+1555", "+1555=nan", "+1555=inf"):
        with pytest.raises(InvalidInput, match="OUTREACH_SMS_FROM"):
            parse_senders(bad, where="OUTREACH_SMS_FROM")
