"""Every route of the application, walked: who may come in, and what a cookie alone can do."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import RouteContext, iter_route_contexts
from fastapi.staticfiles import StaticFiles
from sqlalchemy import func, select, text
from starlette.routing import Mount

from outreach import clock, operators, problem_verbs, security
from outreach.db import transaction
from outreach.doors import SAFE_METHODS, Public, Requirement
from outreach.models import ApiKey, AuditEntry, Base, Customer, Operator
from outreach.permissions import Actor, Permission, permissions_of, person_at_the_terminal
from outreach.vocabulary import Role

TERMINAL = person_at_the_terminal("test")
# What a path parameter is filled with where the seeded rows have nothing better.
VALUES = {"key": "P-1", "external_id": "C-1", "email": "anna@example.com"}


def walk(application: FastAPI) -> Iterator[tuple[str, RouteContext]]:
    """Yield each route once per method."""
    for context in iter_route_contexts(application.routes):
        if isinstance(context.route, Mount):
            # Files of ours that everybody may see; anything else that is mounted would escape this walk.
            assert isinstance(context.route.app, StaticFiles), f"{context.path} is mounted"
            continue
        for method in sorted(context.methods or {"GET"}):
            yield method, context


def doors_of(dependant: Dependant) -> list[Requirement | Public]:
    """Return the doors in a route's tree of dependencies."""
    own = [dependant.call] if isinstance(dependant.call, Requirement | Public) else []
    return [*own, *(door for below in dependant.dependencies for door in doors_of(below))]


def door_of(context: RouteContext) -> Requirement | Public:
    """Return the one door of a route."""
    found = set(doors_of(context.dependant))
    assert len(found) == 1, f"{context.path} declares {len(found)} doors, not one permission or one public reason"
    return found.pop()


def path_of(context: RouteContext) -> str:
    """Return a route's path with every parameter filled in."""
    return re.sub(r"\{(\w+)(:\w+)?\}", lambda found: VALUES.get(found[1], "1"), context.path or "")


def seed() -> str:
    """Make one of each thing, and an operator; return the password."""
    password = "four unrelated words"
    with transaction() as session:
        now = clock.now(session)
        problem_verbs.report(session, actor=TERMINAL, now=now, title="A line is missing")
        session.add(Customer(external_id="C-1", name="Carla", email="carla@example.com"))
        operators.create_operator(
            session, email="anna@example.com", name="A", role=Role.ADMIN, password=password, actor=TERMINAL, now=now
        )
    return password


def test_every_route_declares_one_permission_or_one_public_reason(application: FastAPI) -> None:
    routes = list(walk(application))
    assert len(routes) > 25
    for _, context in routes:
        door = door_of(context)
        if isinstance(door, Public):
            assert len(door.reason) > 15, f"{context.path} does not say why it needs no login"


def test_what_changes_something_needs_more_than_a_permission_to_read(application: FastAPI) -> None:
    # Questions whose rule is too long for an address are asked by POST; they change nothing.
    questions = ("/sentence", "/preview", "/explain", "/discover", "/plan")
    for method, context in walk(application):
        door = door_of(context)
        if isinstance(door, Requirement) and door.permission.endswith(".read") and method not in SAFE_METHODS:
            assert path_of(context).endswith(questions), f"{method} {context.path} needs only {door.permission}"


def test_nobody_comes_in_without_a_login(api_server: Any, application: FastAPI) -> None:
    seed()
    for method, context in walk(application):
        if isinstance(door_of(context), Requirement):
            answer = api_server.ask(method, path_of(context), None if method in SAFE_METHODS else {})
            assert (answer.status, answer.json()["error"]) == (401, "not_authenticated"), f"{method} {context.path}"
            assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("role", Role)
def test_each_role_opens_the_doors_of_its_permissions_and_no_others(
    api_server: Any, application: FastAPI, role: Role
) -> None:
    seed()
    key = api_server.key(*permissions_of(role))
    tried = {True: 0, False: 0}
    for method, context in walk(application):
        door = door_of(context)
        if not isinstance(door, Requirement) or (method, context.path) == ("DELETE", "/api/session"):
            continue
        # An unknown field, so that a door which opens leads to a refused body instead of a change.
        body = None if method in SAFE_METHODS else {"no such field": 1}
        answer = api_server.ask(method, path_of(context), body, authorization=key)
        allowed = door.permission in permissions_of(role)
        tried[allowed] += 1
        assert answer.status < 500, f"{method} {context.path}: {answer.data!r}"
        refused = answer.status == 403 and door.permission in answer.json()["detail"]
        assert refused is not allowed, f"{role} {method} {context.path}: {answer.status} {answer.data!r}"
    assert tried[True]
    assert tried[False] or role is Role.ADMIN


def test_no_unsafe_route_is_opened_by_a_cookie_alone(api_server: Any, application: FastAPI) -> None:
    password = seed()
    answer = api_server.ask("POST", "/api/session", {"email": "anna@example.com", "password": password})
    browser = {"cookie": answer.headers["Set-Cookie"].partition(";")[0]}
    csrf = answer.json()["csrf_token"]
    guarded = 0
    for method, context in walk(application):
        if method in SAFE_METHODS or not isinstance(door_of(context), Requirement):
            continue
        path = path_of(context)
        for partly in ({}, {"x_csrf_token": csrf}, {"sec_fetch_site": "same-origin"}):
            assert api_server.ask(method, path, {}, **browser, **partly).status == 403, f"{method} {path} {partly}"
        guarded += 1
    assert guarded > 10


def snapshot() -> dict[str, int]:
    """Return a checksum of every table."""
    with transaction() as session:
        query = "SELECT coalesce(sum(hashtext(t::text)::bigint), 0) FROM {} t"
        return {table: session.execute(text(query.format(table))).scalar_one() for table in Base.metadata.tables}


def entries_of(actor: Actor) -> int:
    """Return how many audit entries name an actor."""
    with transaction() as session:
        return session.scalar(select(func.count()).where(AuditEntry.actor == actor.name)) or 0


def test_get_routes_change_nothing(api_server: Any, application: FastAPI) -> None:
    seed()
    key = api_server.key(*Permission)
    api_server.ask("GET", "/api/session", authorization=key)  # from now on the time of last use is fresh
    before = snapshot()
    for method, context in walk(application):
        if method in SAFE_METHODS:
            answer = api_server.ask(method, path_of(context), authorization=key)
            assert answer.status < 500 or context.path == "/ready", f"{context.path}: {answer.data!r}"
    assert snapshot() == before


def test_every_route_that_writes_leaves_an_audit_entry(api_server: Any) -> None:
    """The routes of the ground, each with a body that it accepts; the entry names who did it."""
    seed()
    key = api_server.key(*Permission)
    with transaction() as session:
        actor = operators.actor_of_api_key(session, key.removeprefix("Bearer "))
        prefix = session.scalars(select(ApiKey.prefix)).one()
    assert isinstance(actor, Actor)
    calls: list[tuple[str, str, Any]] = [
        ("POST", "/api/problems", {"title": "Another"}),
        ("POST", "/api/problems/P-1/known", {"text": "It is the line"}),
        ("POST", "/api/problems/P-1/update", {"text": "Soon"}),
        ("POST", "/api/problems/P-1/monitor", {}),
        ("POST", "/api/problems/P-1/resolve", {"fix": "New line"}),
        ("POST", "/api/problems/P-1/reopen", {}),
        ("POST", "/api/problems/P-1/close", {}),
        ("POST", "/api/operators", {"email": "b@example.com", "name": "B", "role": "author", "password": "x" * 12}),
        ("PUT", "/api/operators/b@example.com/role", {"role": "viewer"}),
        ("POST", "/api/operators/b@example.com/disable", None),
        ("POST", "/api/api-keys", {"name": "desk", "permissions": ["problems.write"]}),
        ("DELETE", f"/api/api-keys/{prefix}", None),
    ]
    for method, path, body in calls:
        before = entries_of(actor)
        answer = api_server.ask(method, path, body, authorization=key)
        assert answer.status in {200, 201}, f"{method} {path}: {answer.data!r}"
        assert entries_of(actor) == before + 1, f"{method} {path}"


def test_a_key_that_would_have_ended_already_is_not_made(api_server: Any) -> None:
    wanted = {"name": "desk", "permissions": ["problems.read"], "expires_at": "2020-01-01T00:00:00Z"}
    answer = api_server.ask("POST", "/api/api-keys", wanted, authorization=api_server.key(*Permission))
    assert answer.status == 422, answer.data
    assert "This moment has passed." in str(answer.data)


def test_an_answer_never_holds_a_secret(api_server: Any) -> None:
    password = seed()
    key = api_server.key(*Permission)
    with transaction() as session:
        hashes = [session.scalars(select(Operator.password_hash)).one(), session.scalars(select(ApiKey.key_hash)).one()]
    secrets = [password, key.removeprefix("Bearer "), *hashes, security.token_hash(key)]
    for path in ("/api/operators", "/api/api-keys", "/api/audit-entries", "/api/session", "/api/openapi.json"):
        told = api_server.ask("GET", path, authorization=key)
        assert told.status == 200
        assert not any(secret in told.data.decode() for secret in secrets), path
