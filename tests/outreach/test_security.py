import os
import re
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outreach import security
from outreach.errors import InvalidInput, NotAuthenticated, Unavailable
from outreach.settings import get_settings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OLD, NEW = "the old key: kept until links end 0123", "the new key: signs from now on 456789"


def use_keys(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is None:
        monkeypatch.delenv("OUTREACH_SECRET_KEY")
    else:
        monkeypatch.setenv("OUTREACH_SECRET_KEY", value)
    get_settings.cache_clear()


def test_a_password_is_kept_as_argon2id_and_matches_only_itself(strong_passwords: None) -> None:
    kept = security.hash_password("correct horse battery")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")  # the second choice of RFC 9106, section 4
    assert security.password_matches(kept, "correct horse battery")
    assert not security.password_matches(kept, "correct horse batterY")
    assert not security.password_is_outdated(kept)


@pytest.mark.parametrize("password", ["", "short", "x" * 257])
def test_a_password_of_bad_length_is_refused(password: str) -> None:
    with pytest.raises(InvalidInput, match="12 to 256"):
        security.hash_password(password)


def test_no_password_opens_an_account_that_does_not_exist(strong_passwords: None) -> None:
    assert not security.password_matches(None, "the password of nobody")
    assert not security.password_matches("not a hash", "the password of nobody")


def test_an_api_key_is_stored_as_its_prefix_and_hash_only() -> None:
    new = security.new_api_key()
    assert re.fullmatch(rf"outreach_{new.prefix}_[\w-]{{43}}", new.key)
    assert new.hash == security.token_hash(new.key)
    assert new.key.split("_", 2)[2] not in new.hash


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60))
def test_a_link_gives_back_its_subject(subject: str) -> None:
    token = security.sign_link("unsubscribe", subject, expires_at=NOW + timedelta(days=365))
    assert re.fullmatch(r"[\w-]+\w", token)
    assert security.read_link(token, "unsubscribe", NOW) == subject


def test_a_link_for_a_message_is_short_enough_for_an_sms() -> None:
    subject = str(uuid4())
    token = security.sign_link("page", subject, expires_at=NOW)
    assert len(token) <= 60
    assert security.read_link(token, "page", NOW - timedelta(seconds=1)) == subject


@pytest.mark.parametrize("length", [32, 64, 65, 200])
def test_links_made_one_after_the_other_are_those_made_alone_whatever_the_key(
    monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    use_keys(monkeypatch, ("0123456789abcdef" * 13)[:length])
    signer, ends = security.LinkSigner("page"), int(NOW.timestamp())
    for subject in (uuid4(), uuid4()):
        assert signer(subject, ends) == security.sign_link("page", subject, expires_at=NOW)


@given(st.uuids(), st.integers(1, 2**32 - 1))
def test_links_made_one_after_the_other_are_those_made_alone(subject: UUID, ends: int) -> None:
    signer = security.LinkSigner("page")
    for _ in range(2):
        alone = security.sign_link("page", subject, expires_at=datetime.fromtimestamp(ends, UTC))
        assert signer(subject, ends) == alone


def test_an_expired_link_says_until_when_it_was_valid() -> None:
    token = security.sign_link("page", "7", expires_at=NOW)
    with pytest.raises(NotAuthenticated, match="valid until 01 March 2026, 12:00 UTC"):
        security.read_link(token, "page", NOW)


def test_a_link_without_an_end_stays_valid() -> None:
    token = security.sign_link("unsubscribe", "7", expires_at=None)
    assert security.read_link(token, "unsubscribe", NOW + timedelta(days=20_000)) == "7"


def test_a_link_of_another_purpose_is_refused() -> None:
    token = security.sign_link("page", "7", expires_at=None)
    with pytest.raises(NotAuthenticated, match="open it again from our message"):
        security.read_link(token, "unsubscribe", NOW)


def test_a_link_with_any_character_changed_or_lost_is_refused() -> None:
    token = security.sign_link("page", str(uuid4()), expires_at=NOW + timedelta(days=1))
    spoiled = {token[:i] for i in range(len(token))} | {token + "a", token + "=", "ü" + token, "\0", "a" * 700}
    for i, letter in enumerate(token):
        spoiled |= {token[:i] + other + token[i + 1 :] for other in "aB0-_" if other != letter}
    for bad in spoiled:
        with pytest.raises(NotAuthenticated):
            security.read_link(bad, "page", NOW)


def test_links_survive_a_rotation_of_the_key_and_end_with_the_old_key(monkeypatch: pytest.MonkeyPatch) -> None:
    use_keys(monkeypatch, OLD)
    token = security.sign_link("page", "7", expires_at=None)
    use_keys(monkeypatch, f"{NEW}, {OLD}")
    assert security.read_link(token, "page", NOW) == "7"
    assert security.sign_link("page", "7", expires_at=None) != token
    use_keys(monkeypatch, NEW)
    with pytest.raises(NotAuthenticated):
        security.read_link(token, "page", NOW)


def test_a_csrf_token_belongs_to_one_session() -> None:
    token = security.csrf_token("one session")
    assert security.is_csrf_token("one session", token)
    assert not security.is_csrf_token("another session", token)
    assert not security.is_csrf_token("one session", "")


@pytest.mark.parametrize("weak", ["short", "changeme" * 5, f"{NEW},short", f"{NEW},", "x" * 64])
def test_a_weak_secret_key_is_refused(monkeypatch: pytest.MonkeyPatch, weak: str) -> None:
    use_keys(monkeypatch, weak)
    with pytest.raises(Unavailable, match="OUTREACH_SECRET_KEY is too weak"):
        security.check_secret_key()


@pytest.mark.parametrize("nothing", [None, ""])
def test_without_a_secret_key_nothing_is_signed(monkeypatch: pytest.MonkeyPatch, nothing: str | None) -> None:
    use_keys(monkeypatch, nothing)
    with pytest.raises(Unavailable, match="set OUTREACH_SECRET_KEY"):
        security.sign_link("page", "7", expires_at=None)


def test_a_made_key_is_private_and_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_keys(monkeypatch, None)
    home = Path(os.environ["OUTREACH_HOME"])
    security.make_secret_key(home)
    assert stat.S_IMODE((home / "secret_key").stat().st_mode) == 0o600
    token = security.sign_link("page", "7", expires_at=None)
    security.make_secret_key(home)
    assert security.read_link(token, "page", NOW) == "7"
