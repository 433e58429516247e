"""The people and programs that work here: accounts, sessions and API keys; each change is in the audit log.

Sessions and lock-outs run on the database's own time, which the demo's clock does not move.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import case, func, select, update
from sqlalchemy.orm import Session

from outreach import audit, security
from outreach.errors import Conflict, InvalidInput, NotFound, NotPermitted
from outreach.models import ApiKey, Operator, OperatorSession
from outreach.permissions import Actor, Permission, permissions_of
from outreach.vocabulary import Role

IDLE, ABSOLUTE = timedelta(minutes=30), timedelta(hours=12)
FREE_TRIES = 5  # wrong passwords before an account waits; the wait doubles with each further one
LONGEST_WAIT = timedelta(minutes=15)
_TOUCH = timedelta(minutes=1)  # how stale the time of last use may be; saves a write per request


@dataclass(frozen=True, slots=True)
class OpenedSession:
    """What a browser gets when its operator has signed in."""

    token: str
    csrf_token: str
    expires_at: datetime


def create_operator(
    session: Session, *, email: str, name: str, role: Role, password: str, actor: Actor, now: datetime
) -> Operator:
    """Add an operator; nobody can give a role that may do more than they may themselves."""
    _check_grant(actor, permissions_of(role))
    address = _plain_address(email)
    if not name.strip():
        raise InvalidInput("An operator needs a name.", where="name")
    if session.scalar(select(Operator.id).where(Operator.email == address)) is not None:
        raise Conflict(f"There is an operator {address} already.")
    operator = Operator(email=address, name=name.strip(), role=role, password_hash=security.hash_password(password))
    session.add(operator)
    session.flush()
    _record(session, actor, "operator.create", f"operator:{address}", {"role": role.value}, now)
    return operator


def find_operator(session: Session, email: str) -> Operator:
    """Return an operator by address; raises `NotFound`."""
    operator = session.scalar(select(Operator).where(Operator.email == email.strip().lower()))
    if operator is None:
        raise NotFound(f"There is no operator {email!r}.")
    return operator


def change_role(session: Session, *, operator: Operator, role: Role, actor: Actor, now: datetime) -> None:
    """Give an operator another role and end their sessions, so that the new role holds at once."""
    _check_grant(actor, permissions_of(role) | permissions_of(operator.role))
    if operator.role is Role.ADMIN and role is not Role.ADMIN:
        _keep_one_admin(session, operator)
    before, operator.role = operator.role, role
    revoke_all_sessions(session, operator)
    detail = {"from": before.value, "to": role.value}
    _record(session, actor, "operator.change_role", f"operator:{operator.email}", detail, now)


def disable_operator(session: Session, *, operator: Operator, actor: Actor, now: datetime) -> None:
    """Shut an operator out; the account stays, because the audit log names it."""
    _check_grant(actor, permissions_of(operator.role))
    if operator.disabled_at is not None:
        return
    if operator.role is Role.ADMIN:
        _keep_one_admin(session, operator)
    operator.disabled_at = now
    revoke_all_sessions(session, operator)
    _record(session, actor, "operator.disable", f"operator:{operator.email}", {}, now)


def authenticate(session: Session, *, email: str, password: str, now: datetime) -> Operator | None:
    """Return the operator whose address and password these are, or nothing, whatever the reason.

    It does not raise: the transaction has to commit, so that the wrong try counts. It takes the same
    time for an unknown account, a locked one and a wrong password.
    """
    query = select(Operator, func.coalesce(Operator.locked_until > func.now(), False).label("locked"))
    found = session.execute(query.where(Operator.email == email.strip().lower())).one_or_none()
    operator: Operator | None = found.Operator if found else None
    right = security.password_matches(operator.password_hash if operator else None, password)
    if found is None or operator is None or operator.disabled_at is not None or found.locked:
        return None
    subject = f"operator:{operator.email}"
    if not right:
        _count_failure(session, operator)
        audit.record(session, actor=operator.email, action="session.refuse", subject=subject, now=now)
        return None
    if security.password_is_outdated(operator.password_hash):
        operator.password_hash = security.hash_password(password)
    operator.failed_logins, operator.locked_until = 0, None
    return operator


def _count_failure(session: Session, operator: Operator) -> None:
    tries = Operator.failed_logins + 1
    # Capped exponent: 2 ** 1000 seconds is not a number PostgreSQL can hold.
    wait = func.least(func.power(2, func.least(tries - FREE_TRIES, 20)), LONGEST_WAIT.total_seconds())
    until = case((tries > FREE_TRIES, func.now() + func.make_interval(0, 0, 0, 0, 0, 0, wait)), else_=None)
    # One statement in the database, so that guesses made at the same time all count.
    session.execute(
        update(Operator)
        .where(Operator.id == operator.id)
        .values(failed_logins=tries, locked_until=until)
        .execution_options(synchronize_session=False)
    )
    session.expire(operator, ["failed_logins", "locked_until"])


def open_session(session: Session, *, operator: Operator, now: datetime, replaces: str | None = None) -> OpenedSession:
    """Open a session under a fresh token; the one the browser brought along ends (against session fixation)."""
    if replaces:
        _revoke(session, OperatorSession.token_hash == security.token_hash(replaces))
    token = security.new_token()
    row = OperatorSession(
        operator_id=operator.id, token_hash=security.token_hash(token), expires_at=func.now() + ABSOLUTE
    )
    session.add(row)
    session.flush()
    session.refresh(row)
    audit.record(session, actor=operator.email, action="session.open", subject=f"operator:{operator.email}", now=now)
    return OpenedSession(token=token, csrf_token=security.csrf_token(token), expires_at=row.expires_at)


def close_session(session: Session, *, token: str, actor: Actor, now: datetime) -> None:
    """End one session; ending it twice does no harm."""
    _revoke(session, OperatorSession.token_hash == security.token_hash(token))
    _record(session, actor, "session.close", f"operator:{actor.name}", {}, now)


def revoke_all_sessions(session: Session, operator: Operator) -> None:
    """End every session of one operator."""
    _revoke(session, OperatorSession.operator_id == operator.id)


def open_sessions(session: Session, operator: Operator) -> Sequence[OperatorSession]:
    """Return the browsers in which an operator is signed in, the newest first."""
    query = select(OperatorSession).where(
        OperatorSession.operator_id == operator.id,
        OperatorSession.revoked_at.is_(None),
        OperatorSession.expires_at > func.now(),
        OperatorSession.seen_at > func.now() - IDLE,
    )
    return session.scalars(query.order_by(OperatorSession.id.desc()).limit(20)).all()


def actor_of_session(session: Session, token: str) -> Actor | None:
    """Return who is signed in with this token, if it is in force."""
    query = (
        select(Operator, OperatorSession.id, (OperatorSession.seen_at < func.now() - _TOUCH).label("stale"))
        .join(OperatorSession, OperatorSession.operator_id == Operator.id)
        .where(
            OperatorSession.token_hash == security.token_hash(token),
            OperatorSession.revoked_at.is_(None),
            OperatorSession.expires_at > func.now(),
            OperatorSession.seen_at > func.now() - IDLE,
            Operator.disabled_at.is_(None),
        )
    )
    found = session.execute(query).one_or_none()
    if found is None:
        return None
    if found.stale:
        session.execute(update(OperatorSession).where(OperatorSession.id == found.id).values(seen_at=func.now()))
    operator: Operator = found.Operator
    return Actor(operator.email, operator.role, permissions_of(operator.role), operator.id)


def create_api_key(
    session: Session,
    *,
    name: str,
    permissions: Iterable[Permission],
    actor: Actor,
    now: datetime,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make an API key and return it with the text that is shown this once; it may do no more than its maker."""
    granted = frozenset(permissions)
    if not name.strip() or not granted:
        raise InvalidInput("An API key needs a name and at least one permission.", where="permissions")
    if expires_at is not None and expires_at <= now:
        raise InvalidInput("This moment has passed.", where="expires_at")
    _check_grant(actor, granted)
    new = security.new_api_key()
    key = ApiKey(
        name=name.strip(),
        prefix=new.prefix,
        key_hash=new.hash,
        permissions=sorted(granted),
        created_by=actor.name,
        expires_at=expires_at,
    )
    session.add(key)
    session.flush()
    detail = {"name": key.name, "permissions": key.permissions}
    _record(session, actor, "api_key.create", f"api_key:{key.prefix}", detail, now)
    return key, new.key


def revoke_api_key(session: Session, *, prefix: str, actor: Actor, now: datetime) -> ApiKey:
    """End an API key; ending it twice does no harm."""
    key = session.scalar(select(ApiKey).where(ApiKey.prefix == prefix))
    if key is None:
        raise NotFound(f"There is no API key with the prefix {prefix!r}.")
    if key.revoked_at is None:
        key.revoked_at = now
        _record(session, actor, "api_key.revoke", f"api_key:{prefix}", {"name": key.name}, now)
    return key


def actor_of_api_key(session: Session, given: str) -> Actor | None:
    """Return the program whose key this is, if it is in force."""
    digest = security.token_hash(given)
    query = select(ApiKey, (func.coalesce(ApiKey.used_at, ApiKey.created_at) < func.now() - _TOUCH).label("stale"))
    found = session.execute(
        query.where(
            ApiKey.key_hash == digest,
            ApiKey.revoked_at.is_(None),
            func.coalesce(ApiKey.expires_at > func.now(), True),
        )
    ).one_or_none()
    if found is None or not security.same(found.ApiKey.key_hash, digest):
        return None
    key: ApiKey = found.ApiKey
    if key.used_at is None or found.stale:
        session.execute(update(ApiKey).where(ApiKey.id == key.id).values(used_at=func.now()))
    known = {word.value for word in Permission}
    return Actor(f"key:{key.name}", None, frozenset(Permission(word) for word in key.permissions if word in known))


def _revoke(session: Session, which: object) -> None:
    session.execute(
        update(OperatorSession)
        .where(which, OperatorSession.revoked_at.is_(None))  # type: ignore[arg-type]
        .values(revoked_at=func.now())
    )


def _check_grant(actor: Actor, permissions: frozenset[Permission]) -> None:
    beyond = permissions - actor.permissions
    if beyond:
        raise NotPermitted(f"{actor.name} cannot give or take what they may not do: {', '.join(sorted(beyond))}.")


def _keep_one_admin(session: Session, leaving: Operator) -> None:
    active = select(Operator.id).where(Operator.role == Role.ADMIN, Operator.disabled_at.is_(None))
    others = session.scalars(active.with_for_update()).all()
    if not set(others) - {leaving.id}:
        raise Conflict("This is the last admin; make another operator admin first.")


def _plain_address(email: str) -> str:
    try:
        return validate_email(email.strip(), check_deliverability=False).normalized.lower()
    except EmailNotValidError as error:
        raise InvalidInput(f"{email!r} is not an email address: {error}", where="email") from None


def _record(session: Session, actor: Actor, action: str, subject: str, detail: dict[str, Any], now: datetime) -> None:
    audit.record(session, actor=actor.name, action=action, subject=subject, detail=detail, now=now)
