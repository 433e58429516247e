"""The bans of people who were erased: no address is left, and whoever has it again is barred."""

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns import prospects, suppressions
from outreach import barred_addresses, clock, timeline
from outreach.db import transaction
from outreach.errors import Conflict
from outreach.imports import run_import
from outreach.settings import get_settings
from outreach.vocabulary import Channel, NoticeClass
from webhooks import answering, personal_data, suppressing

EMAIL, PHONE, POSTAL = "ann@example.com", "+12025550147", "1 example street|springfield|62701|us"
HEAD = "customer_id,name,email,phone,address_line1,city,postal_code,country\n"
ANN = f"Ann Lee,{EMAIL},{PHONE},1 Example Street,Springfield,62701,US\n"


@pytest.fixture
def folder(database: str, tmp_path: Path) -> Path:
    """An installation with Ann, who is barred on every channel."""
    bring(tmp_path, f"c-1,{ANN}c-2,Bob,bob@example.com,,,,,\n")
    with transaction() as session:
        for channel, address in (("email", EMAIL), ("sms", PHONE), ("postcard", POSTAL)):
            session.execute(
                text("INSERT INTO suppressions (channel, address, reason, source) VALUES (:c, :a, 'stop', 'reply')"),
                {"c": channel, "a": address},
            )
    return tmp_path


def bring(folder: Path, rows: str) -> None:
    path = folder / "customers.csv"
    path.write_text(HEAD + rows)
    run_import(path, kind="customers", rejects=folder / "rejects.csv")


def erase(reference: str = "c-1") -> int:
    with transaction() as session:
        customer, now = timeline.find_customer(session, reference), clock.now(session)
        done = personal_data.erase(session, customer=customer, confirmation=reference, by="anna", now=now)
        return done.get("suppressions", 0)


def standing() -> set[str]:
    with transaction() as session:
        return set(session.scalars(text("SELECT address FROM suppressions WHERE lifted_at IS NULL")))


def why_not(session: Session, reference: str) -> set[str | None]:
    customer = timeline.find_customer(session, reference)
    found = prospects.prospects(session, customer, now=clock.now(session))
    return {each.why_not for each in found[NoticeClass.SERVICE]}


def test_no_address_is_left_and_whoever_has_it_again_is_barred(folder: Path) -> None:
    assert erase() == 3
    assert {address[:5] for address in standing()} == {"mark:"}
    bring(folder, f"c-9,{ANN}")
    assert standing() == {EMAIL, PHONE, POSTAL}
    with transaction() as session:
        assert why_not(session, "c-9") == {"suppressed"}
    assert erase("c-9") == 3
    assert {address[:5] for address in standing()} == {"mark:"}


def test_somebody_who_takes_the_address_over_later_is_barred(folder: Path) -> None:
    erase()
    bring(folder, f"c-2,Bob,{EMAIL},,,,,\n")
    assert EMAIL in standing()
    assert PHONE not in standing()


def test_a_ban_that_stands_for_others_too_keeps_its_address_until_they_are_erased(folder: Path) -> None:
    bring(folder, "c-3,Cid Lee,,,1 Example Street,Springfield,62701,US\n")
    assert erase() == 2
    assert POSTAL in standing()
    assert erase("c-3") == 1
    assert POSTAL not in standing()


def test_a_mark_is_found_by_whoever_knows_the_address(folder: Path) -> None:
    erase()
    with transaction() as session:
        (row,), _ = suppressions.listed(session, address="ANN@example.com")
        assert (row.channel, row.forgotten) == (Channel.EMAIL, True)
        assert answering.is_barred(session, Channel.SMS, PHONE)
        assert not answering.is_barred(session, Channel.EMAIL, "bob@example.com")
        now = clock.now(session)
        with pytest.raises(Conflict, match="barred already"):
            suppressions.bar(session, channel=Channel.EMAIL, address=EMAIL, why="asked", actor="ann", now=now)
        suppressing.lift(session, channel=Channel.SMS, address=PHONE, by="reply", now=now)
        assert not answering.is_barred(session, Channel.SMS, PHONE)


def test_a_stop_after_the_erasure_and_the_mark_become_one(folder: Path) -> None:
    erase()
    with transaction() as session:
        session.execute(
            text("INSERT INTO suppressions (channel, address, reason, source) VALUES ('sms', :a, 'stop', 'reply')"),
            {"a": PHONE},
        )
    bring(folder, f"c-9,{ANN}")
    assert len(standing()) == 4
    assert erase("c-9") == 3
    assert len(standing()) == 3
    assert {address[:5] for address in standing()} == {"mark:"}


def test_a_mark_outlives_the_key_it_was_made_under(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    erase()
    old = get_settings().secret_key
    assert old is not None
    before = barred_addresses.marks(Channel.EMAIL, EMAIL)
    monkeypatch.setenv("OUTREACH_SECRET_KEY", f"a newer key that nobody uses either,{old.get_secret_value()}")
    get_settings.cache_clear()
    assert barred_addresses.marks(Channel.EMAIL, EMAIL)[1:] == before
    bring(folder, f"c-9,{ANN}")
    assert standing() == {EMAIL, PHONE, POSTAL}
