"""What new tickets say: that a scope has drifted, or that something is wrong which nobody has opened a problem for."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from outreach.errors import Conflict, NotFound
from outreach.models import AudienceMember, Problem, ProblemCandidate, Segment, Ticket
from outreach.vocabulary import Grade
from segments import audiences, compiler, rules
from segments.discovery import conditions_of, discover_rules, fingerprint
from segments.meaning import understand_rule
from segments.sentences import spoken
from segments.statistics import contrasts
from segments.sweeps import LIVING

LAST_TICKETS = 40
# Few tickets, or few outside, say nothing yet.
LEAST_OUTSIDE, LEAST_SHARE = 5, 0.25
FRESH, BASELINE, LEAST_BASELINE = timedelta(days=7), timedelta(days=90), 200
SILENT_P, MOST_PARTS = 0.001, 20


def drift(session: Session, *, problem_id: int, now: datetime) -> dict[str, Any] | None:
    """Compare the newest tickets of a problem with its scope; return a sentence and its numbers, or nothing.

    "31 of the last 40 tickets fall outside the scope; adding lot B2 would cover 28."
    """
    scope = audiences.scope_of(session, problem_id=problem_id)
    if scope is None:
        return None
    document = audiences.version_in_force(session, segment_id=scope.id).definition
    # That they wrote puts them in scope; the question is whether the rule would have known.
    rule = {grade: part for grade, part in document.items() if grade in {Grade.LIKELY, Grade.INCOMING}}
    if not rule:
        return None
    last = _last_writers(session, problem_id)
    if not last:
        return None
    inside = _inside(session, rule, last, now)
    outside = [customer for customer in last if customer not in inside]
    silent = _silent_parts(session, rule, problem_id, now)
    found: dict[str, Any] = {"tickets": len(last), "outside": len(outside), "silent": silent, "at": now.isoformat()}
    enough = len(outside) >= LEAST_OUTSIDE and len(outside) >= LEAST_SHARE * len(last)
    if not enough and not silent:
        return None
    sentences = []
    if enough:
        sentences.append(f"{len(outside)} of the last {len(last)} tickets fall outside the scope")
        problem = session.get_one(Problem, problem_id)
        more = discover_rules(session, problem_key=problem.key, cases=sorted(set(outside)), limit=1, now=now)
        if more:
            covered = _inside(session, {Grade.LIKELY.value: more[0].rule}, outside, now)
            number = sum(customer in covered for customer in outside)
            found |= {"rule": more[0].rule, "would_cover": number}
            sentences[0] += (
                f"; adding customers {spoken(understand_rule(rules.parse_rule(more[0].rule)))} would cover {number}"
            )
    sentences += [f"nobody {part['sentence']} has written, of {part['people']} customers" for part in silent]
    return found | {"sentence": f"{'. '.join(each[0].upper() + each[1:] for each in sentences)}."}


def watch(session: Session, *, now: datetime) -> int:
    """Note the drift of every living scope and propose candidate problems; return how many are new."""
    living = select(Segment).join(Problem, Problem.id == Segment.problem_id).where(Problem.state.in_(LIVING))
    for segment in session.scalars(living.order_by(Segment.id)).all():
        if segment.problem_id is not None:
            segment.drift = drift(session, problem_id=segment.problem_id, now=now)
    session.flush()
    return len(propose_problems(session, now=now))


def propose_problems(session: Session, *, now: datetime) -> list[ProblemCandidate]:
    """Look for a common cause in fresh tickets that belong to no problem; store and return what is new.

    Compared with those who wrote in the months before, where there are enough of them: products differ in
    how often people write about them, and that alone is no news.
    """
    fresh = _writers(session, since=now - FRESH, until=now, unexplained=True)
    before = _writers(session, since=now - FRESH - BASELINE, until=now - FRESH, unexplained=False)
    among = before if len(before) >= LEAST_BASELINE else None
    found: list[ProblemCandidate] = []
    for proposal in discover_rules(session, problem_key="", cases=fresh, among=among, limit=1, now=now):
        inside = _inside(session, {Grade.LIKELY.value: proposal.rule}, fresh, now)
        tickets = session.scalars(
            select(Ticket.id)
            .where(Ticket.customer_id.in_(sorted(inside)), Ticket.opened_at > now - FRESH, Ticket.problem_id.is_(None))
            .order_by(Ticket.id)
        ).all()
        words = spoken(understand_rule(rules.parse_rule(proposal.rule)))
        stored = insert(ProblemCandidate).values(
            fingerprint=fingerprint(conditions_of(proposal.rule)),
            sentence=f"{len(inside)} of {len(fresh)} who wrote in the last {FRESH.days} days are customers {words}.",
            rule=proposal.rule,
            numbers={"lift": proposal.contrast.lift, "low": proposal.contrast.low, "q_value": proposal.q_value},
            ticket_ids=list(tickets),
            proposed_at=now,
        )
        returned = stored.on_conflict_do_nothing().returning(ProblemCandidate)
        found += session.scalars(returned, execution_options={"populate_existing": True}).all()
    return found


def settle(
    session: Session, *, candidate_id: int, author: str, now: datetime, problem_id: int | None = None
) -> ProblemCandidate:
    """Take a candidate up as a problem, whose tickets are then linked to it, or dismiss it (no problem)."""
    candidate = session.get(ProblemCandidate, candidate_id, with_for_update=True)
    if candidate is None:
        raise NotFound(f"There is no candidate {candidate_id}.")
    if candidate.settled_at is not None:
        raise Conflict(f"Candidate {candidate_id} was settled by {candidate.settled_by} already.")
    candidate.settled_at, candidate.settled_by, candidate.problem_id = now, author, problem_id
    if problem_id is not None:
        fresh = session.scalars(
            select(Ticket).where(Ticket.id.in_(candidate.ticket_ids), Ticket.problem_id.is_(None))
        ).all()
        for ticket in fresh:
            ticket.problem_id = problem_id
    session.flush()
    return candidate


def _last_writers(session: Session, problem_id: int) -> list[int]:
    newest = (
        select(Ticket.customer_id)
        .where(Ticket.problem_id == problem_id, Ticket.customer_id.is_not(None))
        .order_by(Ticket.opened_at.desc().nulls_last(), Ticket.id.desc())
        .limit(LAST_TICKETS)
    )
    return [customer for customer in session.scalars(newest) if customer is not None]


def _inside(session: Session, rule: dict[str, Any], customers: Sequence[int], now: datetime) -> set[int]:
    definition = rules.parse_definition({str(grade): part for grade, part in rule.items()})
    found = compiler.compile(definition, now=now, evidence=False, only_customers=sorted(set(customers)))
    return set(session.scalars(found))


def _writers(session: Session, *, since: datetime, until: datetime, unexplained: bool) -> list[int]:
    query = select(Ticket.customer_id).where(
        Ticket.customer_id.is_not(None), Ticket.opened_at > since, Ticket.opened_at <= until
    )
    if unexplained:
        # Whoever an open problem touches has her explanation, linked or not.
        touched = (
            select(AudienceMember.customer_id)
            .join(Segment, Segment.id == AudienceMember.segment_id)
            .join(Problem, Problem.id == Segment.problem_id)
            .where(
                AudienceMember.customer_id == Ticket.customer_id,
                AudienceMember.left_at.is_(None),
                Problem.state.in_(LIVING),
            )
        )
        query = query.where(Ticket.problem_id.is_(None), ~touched.exists())
    return [customer for customer in session.scalars(query.distinct().order_by(Ticket.customer_id)) if customer]


def _silent_parts(session: Session, rule: dict[str, Any], problem_id: int, now: datetime) -> list[dict[str, Any]]:
    """Find the values of a list in the rule whose holders never write, though others in scope do."""
    writers = set(session.scalars(select(Ticket.customer_id).where(Ticket.problem_id == problem_id).distinct()))
    found = []
    whole = _sized(session, rule, writers, now)
    for place, values in _lists(rule):
        for value in values[:MOST_PARTS] if len(values) > 1 else []:
            part = _replaced(rule, place, [value])
            cases, people = _sized(session, part, writers, now)
            # Chance of hearing so little from so many, were they like the rest of the scope.
            heard = contrasts([(whole[0] - cases, max(1, whole[1] - people))], cases=whole[0], people=whole[1])
            if not cases and people and heard[0].p_value < SILENT_P:
                words = f"whose {place[-1]} is {value}"
                found.append({"sentence": words, "value": value, "people": people})
    return found


def _sized(session: Session, rule: dict[str, Any], writers: set[int | None], now: datetime) -> tuple[int, int]:
    definition = rules.parse_definition({str(grade): part for grade, part in rule.items()})
    audience = compiler.compile(definition, now=now, evidence=False).subquery()
    mine = audience.c.customer_id.in_(sorted(each for each in writers if each is not None))
    row = session.execute(select(func.count().filter(mine), func.count()).select_from(audience)).one()
    return int(row[0]), int(row[1])


def _lists(node: Any) -> list[tuple[tuple[str, ...], list[Any]]]:
    """Return the distinct `one_of` lists of a rule, by field."""
    found: dict[tuple[str, ...], list[Any]] = {}
    waiting = [node]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif isinstance(each, dict):
            if each.get("op") == "one_of" and str(each.get("field", "")) in {"lot", "product.external_id", "version"}:
                found[(each["field"],)] = each["value"]
            waiting += each.values()
    return list(found.items())


def _replaced(node: Any, place: tuple[str, ...], values: list[Any]) -> Any:
    if isinstance(node, list):
        return [_replaced(each, place, values) for each in node]
    if not isinstance(node, dict):
        return node
    if node.get("op") == "one_of" and node.get("field") == place[-1]:
        return node | {"value": values}
    return {key: _replaced(each, place, values) for key, each in node.items()}
