from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from outreach import clock, operators, security
from outreach.db import transaction
from outreach.errors import Conflict, InvalidInput, NotPermitted
from outreach.models import ApiKey, AuditEntry, Operator, OperatorSession
from outreach.permissions import Actor, Permission, permissions_of, person_at_the_terminal
from outreach.vocabulary import Role

TERMINAL = person_at_the_terminal("test")
PASSWORD = "four unrelated words"


def hire(session: Session, role: Role = Role.ADMIN, email: str = "anna@example.com") -> Operator:
    return operators.create_operator(
        session, email=email, name="Anna", role=role, password=PASSWORD, actor=TERMINAL, now=clock.now(session)
    )


def knock(session: Session, password: str = PASSWORD, email: str = "anna@example.com") -> Operator | None:
    return operators.authenticate(session, email=email, password=password, now=clock.now(session))


def sign_in(server: Any, role: Role = Role.AUTHOR) -> tuple[dict[str, str], str]:
    """Return the headers that a browser signed in with `role` sends along, and its CSRF token."""
    with transaction() as session:
        hire(session, role)
    answer = server.ask("POST", "/api/session", {"email": "anna@example.com", "password": PASSWORD})
    assert answer.status == 200
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    return {"cookie": cookie}, answer.json()["csrf_token"]


def test_each_role_may_do_all_that_the_roles_before_it_may() -> None:
    ladder = [permissions_of(role) for role in Role]
    assert all(lower < higher for lower, higher in pairwise(ladder))
    assert ladder[-1] == frozenset(Permission)
    assert Permission.CAMPAIGNS_APPROVE not in permissions_of(Role.AUTHOR)
    assert not any(each.endswith((".write", ".manage", ".approve")) for each in permissions_of(Role.VIEWER))


def test_the_right_password_opens_and_nothing_else_does(session: Session, strong_passwords: None) -> None:
    operator = hire(session)
    assert knock(session) is operator
    assert knock(session, email=" Anna@Example.COM ") is operator
    assert knock(session, "four unrelated word") is None
    assert knock(session, email="bert@example.com") is None


def test_an_account_waits_after_too_many_wrong_passwords_and_longer_each_time(session: Session) -> None:
    operator = hire(session)
    for _ in range(operators.FREE_TRIES):
        knock(session, "wrong")
    assert knock(session) is operator
    for _ in range(operators.FREE_TRIES + 1):
        knock(session, "wrong")
    assert knock(session) is None
    assert operator.failed_logins == operators.FREE_TRIES + 1
    session.execute(update(Operator).values(failed_logins=2000, locked_until=None))
    session.expire_all()
    knock(session, "wrong")
    wait = session.scalar(select(Operator.locked_until - func.now()))
    assert wait == operators.LONGEST_WAIT


def test_a_session_ends_when_idle_at_its_age_and_on_sign_out(session: Session) -> None:
    operator = hire(session)
    now = clock.now(session)

    def opened(**changes: Any) -> Actor | None:
        token = operators.open_session(session, operator=operator, now=now).token
        digest = security.token_hash(token)
        if changes:
            session.execute(update(OperatorSession).where(OperatorSession.token_hash == digest).values(**changes))
        return operators.actor_of_session(session, token)

    found = opened()
    assert found is not None
    assert (found.name, found.role) == ("anna@example.com", Role.ADMIN)
    assert opened(seen_at=func.now() - timedelta(minutes=29)) is not None
    assert opened(seen_at=func.now() - timedelta(minutes=31)) is None
    assert opened(expires_at=func.now()) is None
    assert opened(revoked_at=func.now()) is None
    assert operators.actor_of_session(session, "made up") is None


def test_signing_in_again_ends_the_session_that_the_browser_brought(session: Session) -> None:
    operator, now = hire(session), clock.now(session)
    first = operators.open_session(session, operator=operator, now=now)
    second = operators.open_session(session, operator=operator, now=now, replaces=first.token)
    assert operators.actor_of_session(session, first.token) is None
    assert operators.actor_of_session(session, second.token) is not None


def test_another_role_or_the_sack_ends_all_sessions(session: Session) -> None:
    hire(session, email="boss@example.com")
    operator, now = hire(session, Role.AUTHOR), clock.now(session)
    first = operators.open_session(session, operator=operator, now=now)
    operators.change_role(session, operator=operator, role=Role.APPROVER, actor=TERMINAL, now=now)
    assert operators.actor_of_session(session, first.token) is None
    second = operators.open_session(session, operator=operator, now=now)
    operators.disable_operator(session, operator=operator, actor=TERMINAL, now=now)
    assert operators.actor_of_session(session, second.token) is None
    assert knock(session) is None


def test_the_last_admin_stays(session: Session) -> None:
    operator, now = hire(session), clock.now(session)
    with pytest.raises(Conflict, match="last admin"):
        operators.change_role(session, operator=operator, role=Role.VIEWER, actor=TERMINAL, now=now)
    with pytest.raises(Conflict, match="last admin"):
        operators.disable_operator(session, operator=operator, actor=TERMINAL, now=now)


def test_nobody_gives_more_than_they_have(session: Session) -> None:
    clerk = Actor("key:clerk", None, frozenset({Permission.OPERATORS_MANAGE, Permission.PROBLEMS_READ}))
    now = clock.now(session)
    with pytest.raises(NotPermitted, match=r"customers\.read"):
        operators.create_operator(
            session, email="c@example.com", name="C", role=Role.VIEWER, password=PASSWORD, actor=clerk, now=now
        )
    with pytest.raises(NotPermitted, match=r"audit\.read"):
        operators.create_api_key(session, name="x", permissions=[Permission.AUDIT_READ], actor=clerk, now=now)
    with pytest.raises(NotPermitted):
        operators.disable_operator(session, operator=hire(session), actor=clerk, now=now)


@pytest.mark.parametrize("email", ["", "anna", "a@b@c", "anna@", "an na@example.com", "anna@example.com\nBcc: x"])
def test_an_operator_needs_a_real_address(session: Session, email: str) -> None:
    with pytest.raises(InvalidInput, match="not an email address"):
        hire(session, email=email)


def test_an_api_key_works_until_it_expires_or_is_revoked(session: Session) -> None:
    now = clock.now(session)
    scope = [Permission.PROBLEMS_READ]
    row, key = operators.create_api_key(session, name="desk", permissions=scope, actor=TERMINAL, now=now)
    actor = operators.actor_of_api_key(session, key)
    assert actor == Actor("key:desk", None, frozenset(scope))
    assert operators.actor_of_api_key(session, key[:-1]) is None
    session.execute(update(ApiKey).values(expires_at=func.now()))
    assert operators.actor_of_api_key(session, key) is None
    session.execute(update(ApiKey).values(expires_at=None))
    assert operators.actor_of_api_key(session, key) is not None
    operators.revoke_api_key(session, prefix=row.prefix, actor=TERMINAL, now=now)
    assert operators.actor_of_api_key(session, key) is None


def test_every_change_to_accounts_is_in_the_audit_log_and_no_secret_is(session: Session) -> None:
    hire(session, email="boss@example.com")
    operator, now = hire(session), clock.now(session)
    row, key = operators.create_api_key(
        session, name="desk", permissions=[Permission.PROBLEMS_READ], actor=TERMINAL, now=now
    )
    operators.revoke_api_key(session, prefix=row.prefix, actor=TERMINAL, now=now)
    opened = operators.open_session(session, operator=operator, now=now)
    operators.change_role(session, operator=operator, role=Role.VIEWER, actor=TERMINAL, now=now)
    operators.disable_operator(session, operator=operator, actor=TERMINAL, now=now)
    entries = list(session.scalars(select(AuditEntry).order_by(AuditEntry.id)))
    assert [entry.action for entry in entries[1:]] == [
        "operator.create",
        "api_key.create",
        "api_key.revoke",
        "session.open",
        "operator.change_role",
        "operator.disable",
    ]
    told = " ".join(f"{entry.subject} {entry.detail}" for entry in entries)
    assert not any(secret in told for secret in (key, opened.token, PASSWORD))


def test_the_session_cookie_is_hidden_from_scripts_and_other_sites(api_server: Any) -> None:
    with transaction() as session:
        hire(session)
    answer = api_server.ask("POST", "/api/session", {"email": "anna@example.com", "password": PASSWORD})
    cookie = answer.headers["Set-Cookie"].lower()
    assert cookie.startswith("outreach_session=")
    assert all(flag in cookie for flag in ("httponly", "samesite=lax", "path=/", "max-age=43200"))
    assert "secure" not in cookie  # the test's public address is plain http


def test_a_wrong_password_counts_although_the_request_fails(api_server: Any) -> None:
    with transaction() as session:
        hire(session)
    told = set()
    for email in ("anna@example.com", "nobody@example.com"):
        answer = api_server.ask("POST", "/api/session", {"email": email, "password": "wrong"})
        assert answer.status == 401
        told.add(answer.data)
    assert len(told) == 1  # nothing tells whether an account exists
    with transaction() as session:
        assert session.scalar(select(Operator.failed_logins)) == 1


def test_a_cookie_alone_changes_nothing(api_server: Any) -> None:
    browser, csrf = sign_in(api_server)

    def report(**headers: str) -> int:
        status: int = api_server.ask("POST", "/api/problems", {"title": "A"}, **browser, **headers).status
        return status

    assert report() == 403
    assert report(sec_fetch_site="same-origin") == 403
    assert report(x_csrf_token=csrf) == 403
    assert report(x_csrf_token=csrf, sec_fetch_site="cross-site") == 403
    assert report(x_csrf_token=csrf, sec_fetch_site="same-site") == 403
    assert report(x_csrf_token=csrf, origin="https://evil.example") == 403
    assert report(x_csrf_token=csrf, origin="null") == 403
    assert report(x_csrf_token="x" + csrf[1:], sec_fetch_site="same-origin") == 403
    assert report(x_csrf_token=csrf, origin=api_server.url) == 201
    assert report(x_csrf_token=csrf, sec_fetch_site="same-origin") == 201


def test_another_site_cannot_sign_a_browser_in(api_server: Any) -> None:
    with transaction() as session:
        hire(session)
    body = {"email": "anna@example.com", "password": PASSWORD}
    assert api_server.ask("POST", "/api/session", body, origin="https://evil.example").status == 403
    plain = b'{"email": "anna@example.com", "password": "four unrelated words"}'
    assert api_server.ask("POST", "/api/session", body=plain, content_type="text/plain").status == 422


def test_signing_out_ends_the_session_on_the_server(api_server: Any) -> None:
    browser, csrf = sign_in(api_server)
    me = api_server.ask("GET", "/api/session", **browser).json()
    assert (me["name"], me["role"], me["csrf_token"]) == ("anna@example.com", "author", csrf)
    out = api_server.ask("DELETE", "/api/session", **browser, x_csrf_token=csrf, sec_fetch_site="same-origin")
    assert out.status == 204
    assert api_server.ask("GET", "/api/session", **browser).status == 401


def test_an_api_key_needs_no_csrf_token_and_does_only_what_it_is_for(api_server: Any) -> None:
    key = api_server.key(Permission.PROBLEMS_READ)
    assert api_server.ask("GET", "/api/problems", authorization=key).status == 200
    refused = api_server.ask("POST", "/api/problems", {"title": "A"}, authorization=key)
    assert refused.status == 403
    assert "problems.write" in refused.json()["detail"]


def test_a_bad_key_is_refused_even_beside_a_good_cookie(api_server: Any) -> None:
    browser, _ = sign_in(api_server)
    for bad in ("Bearer outreach_0123456789_x", "Basic YTpi", "Bearer", "Bearer \xff"):
        assert api_server.ask("GET", "/api/problems", **browser, authorization=bad).status == 401
