"""The inbox on a real database: what is kept, what is applied together, and what is left over of a body."""

import asyncio
import itertools
import random
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from campaigns.unrecorded import is_unrecorded, new_unrecorded_id
from outreach import clock
from outreach.db import transaction
from outreach.errors import Conflict, NotFound
from outreach.models import InboundEvent, Message, Notice, Suppression
from outreach.vocabulary import EventKind, InboundState, NoticeState, SuppressionReason
from tests.webhooks.notices import body_of, sendgrid_event, sent_messages
from webhooks import inbox, intake

COLUMNS = (
    "delivery", "delivery_rank", "delivery_detail", "delivered_at", "failed_at", "opened_at", "clicked_at",
    "complained_at", "unsubscribed_at", "send_state", "late_evidence",
)  # fmt: skip


def keep(events: list[Any], source: str = "sendgrid") -> None:
    body = body_of(events) if isinstance(events, list) else events
    intake.store([intake.Knock(source, None, {"content-type": "application/json"}, "", body)])


def keep_inside(session: Session, body: bytes, source: str = "sendgrid", key: str = "") -> InboundEvent:
    event = InboundEvent(source=source, key=key or uuid4().hex, headers={}, body=body)
    session.add(event)
    session.flush()
    return event


def fold_of(session: Session, message_id: UUID) -> tuple[Any, ...]:
    session.expire_all()
    message = session.get_one(Message, message_id)
    return tuple(getattr(message, column) for column in COLUMNS)


STORY: list[tuple[str, int, dict[str, Any]]] = [
    ("processed", 10, {}),
    ("deferred", 12, {"response": "busy"}),
    ("delivered", 20, {"response": "250 OK"}),
    ("open", 30, {"sg_machine_open": True}),
    ("open", 45, {}),
    ("click", 50, {"url": "https://example.com/a"}),
    ("bounce", 60, {"type": "bounce", "status": "5.1.1", "reason": "no such user"}),
    ("bounce", 61, {"type": "bounce", "status": "5.1.1", "reason": "again"}),
]


def test_any_order_duplication_and_cut_of_the_events_gives_the_same_fold(session: Session) -> None:
    """F11: every order of six events, and the whole story shuffled, doubled 46 times and cut into bodies anywhere."""
    dice = random.Random(11)
    orders = [list(order) for order in itertools.permutations(STORY[2:7], 5)][::3]
    orders += [dice.sample(STORY, len(STORY)) for _ in range(12)] + [STORY * 46, STORY[::-1] * 46]
    short: set[tuple[Any, ...]] = set()
    whole: set[tuple[Any, ...]] = set()
    for order, message_id in zip(orders, sent_messages(session, len(orders)), strict=True):
        events = [sendgrid_event(message_id, word, 1_780_000_000 + at, **more) for word, at, more in order]
        while events:
            cut = dice.randint(1, len(events))
            keep_inside(session, body_of(events[:cut]))
            events = events[cut:]
            if dice.random() < 0.3:
                inbox.apply_due(session)
        inbox.apply_due(session)
        (short if len(order) == 5 else whole).add(fold_of(session, message_id))
    assert len(short) == 1
    assert len(whole) == 1
    kind, rank, detail, delivered_at, failed_at, opened_at, *_ = whole.pop()
    assert (kind, rank, detail) == (EventKind.BOUNCED, 62, "bounce bounce 5.1.1: no such user")
    assert (delivered_at.timestamp(), failed_at.timestamp()) == (1_780_000_020, 1_780_000_060)
    assert opened_at.timestamp() == 1_780_000_045  # the machine's opening is no opening
    stored = session.execute(text("SELECT message_id, count(*) AS n FROM delivery_events GROUP BY 1")).all()
    assert {row.n for row in stored} == {5, len(STORY)}


def test_three_bad_elements_of_a_thousand_are_dead_with_a_reason_and_the_others_applied(session: Session) -> None:
    """F13."""
    ids = sent_messages(session, 997)
    events: list[Any] = [sendgrid_event(message_id) for message_id in ids]
    events[100:100] = ["a word"]
    events[500:500] = [{"timestamp": 1}]
    events[800:800] = [[1, 2]]
    body = keep_inside(session, body_of(events))
    inbox.apply_due(session)
    session.expire_all()
    assert body.state is InboundState.APPLIED
    assert session.scalar(select(func.count()).where(Message.delivery_rank == 50)) == 997
    assert session.scalar(select(func.count()).where(Notice.state == NoticeState.DELIVERED)) == 997
    dead = session.scalars(select(InboundEvent).where(InboundEvent.parent_id == body.id)).all()
    assert sorted(event.error or "" for event in dead) == [
        "[100]: not an object", "[500].event: missing or not a word", "[800]: not an object",
    ]  # fmt: skip
    assert {event.state for event in dead} == {InboundState.DEAD}
    assert {event.body for event in dead} == {b'["a word"]', b'[{"timestamp":1}]', b"[[1,2]]"}


def test_known_messages_of_a_body_are_applied_now_and_only_the_others_wait(session: Session) -> None:
    (known,) = sent_messages(session, 1)
    later = uuid4()
    body = keep_inside(session, body_of([sendgrid_event(known), sendgrid_event(later), sendgrid_event(None)]))
    inbox.apply_due(session)
    session.expire_all()
    assert session.get_one(Message, known).delivery_rank == 50
    assert body.state is InboundState.APPLIED
    parts = {e.state: e for e in session.scalars(select(InboundEvent).where(InboundEvent.parent_id == body.id))}
    assert set(parts) == {InboundState.WAITING, InboundState.ORPHAN}
    assert str(later).encode() in parts[InboundState.WAITING].body
    assert "no message of ours" in (parts[InboundState.ORPHAN].error or "")
    # The receipt of the call is written at last: the waiting part finds its message.
    (arrived,) = sent_messages(session, 1)
    session.execute(text("UPDATE messages SET id = :later WHERE id = :arrived"), {"later": later, "arrived": arrived})
    session.execute(text("UPDATE inbound_events SET next_try_at = now() - interval '1 second'"))
    inbox.apply_due(session)
    session.expire_all()
    assert session.get_one(Message, later).delivery_rank == 50
    assert parts[InboundState.WAITING].state is InboundState.APPLIED


def test_what_never_finds_its_message_becomes_an_orphan_and_can_be_replayed(session: Session) -> None:
    event = keep_inside(session, body_of([sendgrid_event(uuid4())]))
    inbox.apply_due(session)
    session.refresh(event)
    assert event.state is InboundState.WAITING
    event.received_at = clock.wall() - inbox.PATIENCE - timedelta(seconds=1)
    event.next_try_at = event.received_at
    session.flush()
    inbox.apply_due(session)
    session.refresh(event)
    assert (event.state, event.error) == (InboundState.ORPHAN, "1 events name messages that are not known here")
    inbox.replay(session, event_id=event.id)
    assert InboundState(event.state.value) is InboundState.NEW
    with pytest.raises(Conflict, match="only dead and orphaned"):
        inbox.replay(session, event_id=event.id)
    with pytest.raises(NotFound):
        inbox.replay(session, event_id=999_999)


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"7", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_a_body_that_is_no_list_of_events_is_dead_with_a_reason(session: Session, body: bytes) -> None:
    """Bad inputs 41."""
    (message_id,) = sent_messages(session, 1)
    bad, good = keep_inside(session, body), keep_inside(session, body_of([sendgrid_event(message_id)]))
    empty = keep_inside(session, b"[]")
    inbox.apply_due(session)
    session.expire_all()
    assert (bad.state, good.state, empty.state) == (InboundState.DEAD, InboundState.APPLIED, InboundState.APPLIED)
    assert bad.error


def test_strange_values_in_events_stop_nobody(session: Session) -> None:
    """Bad inputs 42 to 45 and 50, in one body with good events."""
    ids = sent_messages(session, 9)
    strange: list[Any] = [
        sendgrid_event(ids[0], "beamed up"),
        sendgrid_event(ids[1], reason="\x00<script>alert(1)</script>\ud800".encode("utf-8", "replace").decode()),
        sendgrid_event(ids[2], at="1780000000"),
        sendgrid_event(ids[3], at=-5),
        sendgrid_event(ids[4], at=1_780_000_000_000),
        sendgrid_event(ids[5], at=9_999_999_999),
        sendgrid_event(ids[6], id="7", machine="x", key={"a": [1]}, provider=None, n="colliding"),
        sendgrid_event(ids[7], at={"a": 1}),
        {**sendgrid_event(ids[8]), "message_id": ["no", "id"]},
    ]
    keep_inside(session, body_of(strange))
    inbox.apply_due(session)
    session.expire_all()
    kinds = {message.id: message for message in session.scalars(select(Message))}
    assert kinds[ids[0]].delivery is None
    assert [kinds[i].delivery_rank for i in ids[1:8]] == [50] * 7
    assert kinds[ids[8]].delivery_rank == 0
    now = clock.now(session)
    assert all((kinds[i].delivered_at or now) <= now for i in ids)
    assert "\0" not in (kinds[ids[1]].delivery_detail or "")


def test_one_body_that_the_database_refuses_does_not_cost_the_batch(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = sent_messages(session, 2)
    # A check that only this message breaks stands for whatever the database may refuse one day.
    session.execute(text(f"ALTER TABLE delivery_events ADD CONSTRAINT never CHECK (message_id <> '{bad}')"))
    refused = keep_inside(session, body_of([sendgrid_event(bad)]))
    fine = keep_inside(session, body_of([sendgrid_event(good)]))
    for _ in range(inbox.MOST_TRIES):
        session.execute(text("UPDATE inbound_events SET next_try_at = now() WHERE state = 'new'"))
        inbox.apply_due(session)
    session.expire_all()
    assert (refused.state, refused.tries, fine.state) == (InboundState.DEAD, inbox.MOST_TRIES, InboundState.APPLIED)
    assert "never" in (refused.error or "")


def test_events_are_kept_once_and_by_their_key(database: str) -> None:
    def new(source: str, key: str | None = None, query: str = "", body: bytes = b"{}") -> int:
        return intake.store([intake.Knock(source, key, {}, query, body)])

    assert new("lob") == 1
    assert new("lob") == 0
    assert new("lob", query="a=1") == 1
    assert new("desk-generic", "evt-1") == 1
    assert new("desk-generic", "evt-1", body=b"other bytes") == 0
    assert new("desk-generic", "k" * 5000) == 1
    knocks = [intake.Knock("lob", f"evt-{number // 2}", {}, "", b"{}") for number in range(20)]
    assert intake.store(knocks) == 10
    with transaction() as session:
        assert inbox.counts(session) == {"new": 14}


def test_evidence_settles_a_message_whose_call_was_in_doubt(session: Session) -> None:
    ids = sent_messages(session, 3)
    for message_id, state in zip(ids, ("queued", "unknown", "rejected"), strict=True):
        session.execute(text("UPDATE messages SET send_state = :s WHERE id = :i"), {"s": state, "i": message_id})
    keep_inside(session, body_of([sendgrid_event(message_id, "processed") for message_id in ids]))
    inbox.apply_due(session)
    session.expire_all()
    found = [session.get_one(Message, message_id) for message_id in ids]
    assert [(m.send_state, m.late_evidence) for m in found] == [
        ("accepted", False), ("accepted", False), ("rejected", True),
    ]  # fmt: skip


def test_a_bounce_after_delivery_puts_the_notice_back(session: Session) -> None:
    (message_id,) = sent_messages(session, 1)
    keep_inside(session, body_of([sendgrid_event(message_id)]))
    inbox.apply_due(session)
    notice = session.scalars(select(Notice)).one()
    session.refresh(notice)
    assert notice.state is NoticeState.DELIVERED
    keep_inside(session, body_of([sendgrid_event(message_id, "bounce", 1_780_000_100, type="blocked")]))
    inbox.apply_due(session)
    session.refresh(notice)
    assert NoticeState(notice.state.value) is NoticeState.OWED
    assert session.scalar(text("SELECT check_at IS NOT NULL FROM chunks"))


@pytest.mark.parametrize(
    ("event", "more", "reason"),
    [
        ("bounce", {"type": "bounce", "status": "5.1.1"}, SuppressionReason.HARD_BOUNCE),
        ("spamreport", {}, SuppressionReason.COMPLAINT),
        ("unsubscribe", {}, SuppressionReason.UNSUBSCRIBED),
        ("dropped", {"reason": "Unsubscribed Address"}, SuppressionReason.OPTED_OUT_AT_PROVIDER),
        ("bounce", {"type": "blocked"}, None),
        ("deferred", {}, None),
    ],
)
def test_what_the_provider_reports_bars_the_address_of_the_message(
    session: Session, event: str, more: dict[str, Any], reason: SuppressionReason | None
) -> None:
    (message_id,) = sent_messages(session, 1)
    keep_inside(session, body_of([sendgrid_event(message_id, event, email="somebody.else@example.com", **more)]))
    inbox.apply_due(session)
    found = [(row.address, row.reason) for row in session.scalars(select(Suppression))]
    assert found == ([("ann.1@example.com", reason)] if reason else [])


def test_what_comes_at_the_same_time_shares_a_commit_and_one_that_cannot_be_stored_stops_none(database: str) -> None:
    async def all_at_once() -> list[BaseException | None]:
        sources: list[Any] = ["lob", None, "lob", "sendgrid"]  # an event without a source is refused by the table
        knocks = [intake.Knock(source, f"evt-{place}", {}, "", b"{}") for place, source in enumerate(sources)]
        return await asyncio.gather(*map(intake.keep, knocks), return_exceptions=True)

    ended = asyncio.run(all_at_once())
    assert [error is None for error in ended] == [True, False, True, True], ended
    with transaction() as session:
        assert inbox.counts(session) == {"new": 3}


def test_who_knocks_the_moment_a_store_ends_does_not_wait_for_the_next_one(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def one_after_the_other() -> None:
        for place in range(20):
            await intake.keep(intake.Knock("lob", f"evt-{place}", {}, "", b"{}"))

    async def in_time() -> None:
        await asyncio.wait_for(one_after_the_other(), 20)

    monkeypatch.setattr(intake, "STORING", 1)
    asyncio.run(in_time())
    with transaction() as session:
        assert inbox.counts(session) == {"new": 20}


def test_a_body_comes_back_as_it_came_whatever_it_begins_with(session: Session) -> None:
    """Also one that begins like a compressed one, and one that was stored before bodies were compressed."""
    bodies = (b"", b"{}" * 5_000, b"\x28\xb5\x2f\xfd and then nothing that could be read")
    kept = [keep_inside(session, body) for body in bodies]
    session.execute(
        text("INSERT INTO inbound_events (source, key, body) VALUES ('sendgrid', 'before', :body)"), {"body": b"[1]"}
    )
    session.expire_all()
    assert tuple(session.get_one(InboundEvent, event.id).body for event in kept) == bodies
    assert session.scalars(select(InboundEvent.body).where(InboundEvent.key == "before")).one() == b"[1]"
    stored = session.execute(text("SELECT octet_length(body) FROM inbound_events WHERE id = :id"), {"id": kept[1].id})
    assert stored.scalar_one() < 200


def test_what_became_of_a_test_send_is_nobodys_business(database: str) -> None:
    with transaction() as session:
        (message_id,) = sent_messages(session, 1)
    assert not is_unrecorded(message_id)
    keep(
        [
            sendgrid_event(new_unrecorded_id(), email="me@example.com"),
            sendgrid_event(message_id, email="ann.1@example.com"),
        ]
    )
    with transaction() as session:
        inbox.apply_due(session)
        events = session.scalars(select(InboundEvent)).all()
        assert [event.state for event in events] == [InboundState.APPLIED]
        assert session.get_one(Message, message_id).delivery is EventKind.DELIVERED
