"""Several at once: previews that replace each other, sweeps that meet, edits during a rebuild."""

import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import func, select, text

from outreach.db import transaction
from outreach.errors import Conflict, Unavailable
from outreach.models import AudienceMember, Customer, CustomerChange, Problem, Segment
from outreach.permissions import Permission
from outreach.vocabulary import ProblemState
from segments import audiences, rules, sweeps
from segments.editing import cancellable, take_over

NOW = datetime(2026, 3, 20, tzinfo=UTC)
BRAZIL = rules.parse_definition({"field": "customer.country", "op": "equals", "value": "BR"})
PORTUGAL = rules.parse_definition({"field": "customer.country", "op": "equals", "value": "PT"})


def wait_for(condition: str, number: int) -> None:
    """Wait until so many connections to this database are in this state."""
    query = f"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {condition}"
    found = 0
    while found < number:
        with transaction() as session:
            found = session.scalar(text(query)) or 0


def test_a_newer_preview_cancels_the_older_of_the_same_edit_only(database: str) -> None:
    ended: dict[str, BaseException | None] = {}
    started = threading.Barrier(3)

    def long_preview(edit: str) -> None:
        try:
            with transaction() as session, cancellable():
                take_over(session, edit=edit)
                started.wait()
                session.execute(text("SELECT pg_sleep(2)"))
            ended[edit] = None
        except Conflict as error:
            ended[edit] = error

    threads = [threading.Thread(target=long_preview, args=(edit,)) for edit in ("anna:1", "bert:1")]
    with transaction() as session:
        session.execute(select(1))  # one engine for both threads
    for thread in threads:
        thread.start()
    started.wait()
    wait_for("wait_event = 'PgSleep'", 2)
    with transaction() as session:
        assert take_over(session, edit="anna:1") == 1
    for thread in threads:
        thread.join()
    assert isinstance(ended["anna:1"], Conflict)
    assert ended["bert:1"] is None


def test_a_preview_that_takes_too_long_says_so(database: str) -> None:
    def preview() -> None:
        with transaction() as session, cancellable():
            session.execute(text("SET LOCAL statement_timeout = 50"))
            session.execute(text("SELECT pg_sleep(5)"))

    with pytest.raises(Unavailable, match="too long"):
        preview()


def test_an_edit_during_a_rebuild_undoes_the_rebuild(database: str) -> None:
    with transaction() as session:
        session.add_all([Customer(external_id="b", country="BR"), Customer(external_id="p", country="PT")])
        segment = audiences.save(session, key="s", name="s", definition=BRAZIL, author="me").segment_id
    with transaction() as session:
        audiences.refresh(session, segment_id=segment, now=NOW)
    with transaction() as session:
        audiences.save(session, key="s", name="s", definition=PORTUGAL, author="me")

    ended: list[BaseException] = []

    def rebuild() -> None:
        try:
            with transaction() as session:
                audiences.refresh(session, segment_id=segment, now=NOW)
        except Conflict as error:
            ended.append(error)

    builder = threading.Thread(target=rebuild)
    with transaction() as holder:
        # The rebuild has read its version and waits for the ledger when the edit is taken back.
        holder.execute(text("LOCK TABLE audience_changes IN ACCESS EXCLUSIVE MODE"))
        builder.start()
        wait_for("wait_event_type = 'Lock'", 1)
        with transaction() as session:
            audiences.cancel_edit(session, segment_id=segment)
    builder.join()
    assert len(ended) == 1
    with transaction() as session:
        live = session.scalars(
            select(Customer.external_id)
            .join(AudienceMember, AudienceMember.customer_id == Customer.id)
            .where(AudienceMember.left_at.is_(None))
        ).all()
        assert live == ["b"]


def test_two_sweeps_at_once_are_harmless(database: str) -> None:
    with transaction() as session:
        session.add_all(
            [Problem(key="P-1", title="x", state=ProblemState.KNOWN), Customer(external_id="b", country="BR")]
        )
        audiences.save(session, key="s", name="s", definition=BRAZIL, author="me")
    with transaction() as first:
        assert sweeps.sweep(first, now=NOW)
        with transaction() as second:
            assert sweeps.sweep(second, now=NOW) == {}


def test_a_note_that_commits_after_the_sweep_began_is_kept_for_the_next(database: str) -> None:
    with transaction() as session:
        session.add(Customer(external_id="b", country="BR"))
        segment = audiences.save(session, key="s", name="s", definition=BRAZIL, author="me").segment_id
    with transaction() as session:
        sweeps.sweep(session, now=NOW)
    with transaction() as late:
        late.add(Customer(external_id="late", country="BR"))
        late.flush()
        with transaction() as session:
            sweeps.sweep(session, now=NOW)
    with transaction() as session:
        assert session.scalar(select(func.count()).select_from(CustomerChange)) == 1
        sweeps.sweep(session, now=NOW)
        assert len(audiences.page(session, segment_id=segment)) == 2


def test_a_rule_that_fails_in_the_database_does_not_stop_the_others(database: str) -> None:
    with transaction() as session:
        session.add(Customer(external_id="b", country="BR"))
        broken = audiences.save(session, key="a", name="a", definition=BRAZIL, author="me").segment_id
        good = audiences.save(session, key="b", name="b", definition=BRAZIL, author="me").segment_id
        session.execute(
            text('UPDATE segment_versions SET definition = \'{"affected": {"field": "gone"}}\' WHERE segment_id = :id'),
            {"id": broken},
        )
    with transaction() as session:
        sweeps.sweep(session, now=NOW)
    with transaction() as session:
        assert session.get_one(Segment, good).built_version == 1
        assert len(audiences.page(session, segment_id=good)) == 1


def test_candidates_are_listed_and_dismissed(api_server: Any) -> None:
    key = api_server.key(Permission.SEGMENTS_READ, Permission.SEGMENTS_WRITE)
    with transaction() as session:
        session.execute(
            text(
                "INSERT INTO problem_candidates (fingerprint, sentence, proposed_at) VALUES ('f', 'Five of six', now())"
            )
        )
    (found,) = api_server.ask("GET", "/api/problem-candidates", authorization=key).json()
    assert found["sentence"] == "Five of six"
    path = f"/api/problem-candidates/{found['id']}/settle"
    assert api_server.ask("POST", path, {}, authorization=key).json()["settled_at"]
    assert api_server.ask("GET", "/api/problem-candidates", authorization=key).json() == []
    assert api_server.ask("POST", path, {}, authorization=key).status == 409
