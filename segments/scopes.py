"""The scope of a problem: the standard four grades, the proposals for them, and their acceptance."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from outreach.errors import InvalidRule, NotFound
from outreach.models import Problem, ScopeRejection, Segment, SegmentVersion
from outreach.vocabulary import ProblemState
from segments import audiences, rules
from segments.discovery import Proposal, cases_of, conditions_of, discover_rules, fingerprint, refused_by
from segments.meaning import understand_rule
from segments.standard_grades import standard_grades


def scope_for(
    session: Session,
    *,
    problem_id: int,
    such: rules.Rule | None = None,
    whom: rules.Rule | None = None,
    of: str = "order_items",
) -> rules.Definition:
    """Build the standard scope of a problem.

    `such` is a rule about one order item, or with `of="orders"` about one order ("lot is A7"): who holds such
    a one is likely, whose is on its way is incoming, who sent all of them back is cleared. `whom` is a rule
    about customers (plan, region), which makes them likely. Without either the scope is those who wrote.
    """
    problem = _problem(session, problem_id)
    return rules.parse_definition(
        standard_grades(
            problem.key,
            such=rules.as_document(such) if such is not None else None,
            whom=rules.as_document(whom) if whom is not None else None,
            of=of,
        )
    )


def discover(
    session: Session, *, problem_id: int, now: datetime, limit: int = 5, words: Sequence[str] = ()
) -> list[Proposal]:
    """Propose scopes from the tickets linked to a problem, best first; empty when nothing stands out.

    With `words`, tickets of no problem whose subject or body has one of them count as well. What was rejected for
    this problem is not proposed again.
    """
    problem = _problem(session, problem_id)
    return discover_rules(
        session,
        problem_key=problem.key,
        cases=cases_of(session, problem=problem, now=now, words=words),
        limit=limit,
        refused=refused_by(session, problem=problem),
        now=now,
    )


def reject(session: Session, *, problem_id: int, rule: dict[str, Any], author: str, now: datetime) -> None:
    """Remember that a proposed rule was refused for a problem; raises `InvalidRule` for what nobody proposes."""
    understand_rule(rules.parse_rule(rule))
    if any("field" not in each for each in conditions_of(rule)):
        raise InvalidRule("A proposed rule is a condition, or several that all hold; this one has another shape.")
    stored = insert(ScopeRejection).values(
        problem_id=_problem(session, problem_id).id,
        fingerprint=fingerprint(_as_searched(rule)),
        rule=rule,
        rejected_by=author,
        at=now,
    )
    session.execute(stored.on_conflict_do_nothing())


def _as_searched(rule: dict[str, Any]) -> list[dict[str, Any]]:
    """Undo what made a rule about items one about orders."""
    found = conditions_of(rule)
    if rule.get("related") != "orders":
        return found
    plain = ("customer.", "ordered_at", "shipped_at", "delivered_at")
    return [each if each["field"].startswith(plain) else each | {"field": f"order.{each['field']}"} for each in found]


def _problem(session: Session, problem_id: int) -> Problem:
    problem = session.get(Problem, problem_id)
    if problem is None:
        raise NotFound(f"There is no problem {problem_id}.")
    return problem


def accept(
    session: Session,
    *,
    problem_id: int,
    proposal: Proposal | None = None,
    definition: rules.Definition | None = None,
    author: str,
    now: datetime,
) -> SegmentVersion:
    """Make a proposal, or a definition, the scope of a problem, and build its audience."""
    problem = _problem(session, problem_id)
    if definition is None:
        definition = proposal.definition if proposal else scope_for(session, problem_id=problem_id)
    version = save_scope(session, problem=problem, definition=definition, author=author)
    audiences.refresh(session, segment_id=version.segment_id, now=now, reason=f"scope version {version.version}")
    return version


def save_scope(session: Session, *, problem: Problem, definition: rules.Definition, author: str) -> SegmentVersion:
    """Put a definition in force as a problem's scope; its audience is built by the next refresh."""
    scope = audiences.scope_of(session, problem_id=problem.id)
    return audiences.save(
        session,
        key=scope.key if scope is not None else f"scope-of-{problem.key}",
        name=f"Scope of {problem.title}",
        definition=definition,
        author=author,
        problem_id=problem.id,
    )


def problems_without_scope(session: Session, states: Collection[ProblemState]) -> list[Problem]:
    """Return problems in these states that nobody has given a scope."""
    query = (
        select(Problem)
        .outerjoin(Segment, Segment.problem_id == Problem.id)
        .where(Segment.id.is_(None), Problem.state.in_(states))
    )
    return list(session.scalars(query.order_by(Problem.id)))
