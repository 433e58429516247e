"""What may be done, which role may do it, and who is doing it."""

from dataclasses import dataclass
from enum import StrEnum

from outreach.vocabulary import Role


class Permission(StrEnum):
    """One kind of act; every route names the one it needs."""

    SESSION_OWN = "session.own"  # see and end one's own session
    PROBLEMS_READ = "problems.read"
    PROBLEMS_WRITE = "problems.write"
    SEGMENTS_READ = "segments.read"
    SEGMENTS_WRITE = "segments.write"
    CAMPAIGNS_READ = "campaigns.read"
    CAMPAIGNS_WRITE = "campaigns.write"
    CAMPAIGNS_APPROVE = "campaigns.approve"
    CUSTOMERS_READ = "customers.read"
    CUSTOMERS_WRITE = "customers.write"
    CUSTOMERS_ERASE = "customers.erase"  # hand out or erase everything about a person
    IMPORTS_RUN = "imports.run"
    WEBHOOKS_READ = "webhooks.read"
    WEBHOOKS_REPLAY = "webhooks.replay"
    CONNECTORS_MANAGE = "connectors.manage"
    AUDIT_READ = "audit.read"
    OPERATORS_MANAGE = "operators.manage"
    CLOCK_MOVE = "clock.move"  # works in a demo only


_ADDED_BY_ROLE: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset(
        {
            Permission.SESSION_OWN,
            Permission.PROBLEMS_READ,
            Permission.SEGMENTS_READ,
            Permission.CAMPAIGNS_READ,
            Permission.CUSTOMERS_READ,
        }
    ),
    Role.AUTHOR: frozenset(
        {
            Permission.PROBLEMS_WRITE,
            Permission.SEGMENTS_WRITE,
            Permission.CAMPAIGNS_WRITE,
            Permission.CUSTOMERS_WRITE,
            Permission.WEBHOOKS_READ,
        }
    ),
    Role.APPROVER: frozenset(
        {
            Permission.CAMPAIGNS_APPROVE,
            Permission.CUSTOMERS_ERASE,
            Permission.IMPORTS_RUN,
            Permission.WEBHOOKS_REPLAY,
            Permission.AUDIT_READ,
        }
    ),
    Role.ADMIN: frozenset({Permission.OPERATORS_MANAGE, Permission.CONNECTORS_MANAGE, Permission.CLOCK_MOVE}),
}


def permissions_of(role: Role) -> frozenset[Permission]:
    """Return what a role may do: what it adds, and all that the roles before it may."""
    roles = list(Role)
    return frozenset().union(*(_ADDED_BY_ROLE[each] for each in roles[: roles.index(role) + 1]))


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: an operator, an API key (no role), or a person at the command line."""

    name: str
    role: Role | None
    permissions: frozenset[Permission]
    operator_id: int | None = None


def person_at_the_terminal(user: str) -> Actor:
    """Return the actor of the command line: whoever reaches the database that way may do everything."""
    return Actor(name=f"terminal:{user}", role=Role.ADMIN, permissions=permissions_of(Role.ADMIN))
