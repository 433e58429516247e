"""Rules become one SQL statement: SQLAlchemy Core, every value bound, the text the same for all values.

The shape: one scan per kind of row (`segments.gathering`), full-joined on the customer, graded by a CASE.
A rule that no related row has to prove starts from all customers instead.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    case,
    false,
    func,
    literal_column,
    not_,
    or_,
    select,
    true,
    union,
)
from sqlalchemy.dialects.postgresql import ARRAY

from outreach import models
from outreach.vocabulary import Grade
from segments import rules
from segments.fields import CUSTOMERS, ENTITIES
from segments.gathering import NO_IDS, Gathering, common, considered
from segments.meaning import (
    Every,
    Fact,
    Meaning,
    Negated,
    Rows,
    Some,
    conjuncts,
    facts_within,
    rows_within,
    understand,
)
from segments.source import Later, Source, given

_IDS = ARRAY(BigInteger)
EVIDENCE = ("evidence_items", "evidence_orders", "evidence_tickets", "evidence_events")
IN_SCOPE = (Grade.AFFECTED, Grade.LIKELY, Grade.INCOMING)


def compile(  # noqa: A001 - the word of the glossary
    definition: rules.Definition,
    *,
    now: datetime | Later,
    evidence: bool = True,
    only_customers: Sequence[int] | Later | None = None,
    members_of: int | Later | None = None,
) -> Select[Any]:
    """Return the audience as a statement: customer_id, grade and (with `evidence`) the four arrays of ids.

    What is given `Later` are the parameters `present_moment`, `only_customers` and `members_of`.

    With `members_of` the live members of that segment are rows too, with `was` (their present grade) and
    `had` (their evidence as one array per kind, `had_…`); their new grade is null when they leave.
    """
    return Plan(
        understand(definition), now=now, evidence=evidence, only_customers=only_customers, members_of=members_of
    ).statement()


class Plan:
    """How one definition is answered; `statement` gives the audience, `holds` the truth of any part."""

    def __init__(
        self,
        meanings: Mapping[Grade, Meaning],
        *,
        now: datetime | Later,
        evidence: bool = True,
        only_customers: Sequence[int] | Later | None = None,
        members_of: int | Later | None = None,
        start_from_customers: bool = False,
    ) -> None:
        self.meanings = meanings
        self.now = now
        only = only_customers if only_customers is None or only_customers is Later.VALUE else list(only_customers)
        self._only = None if only is None else given("only_customers", _IDS, only)
        self._members_of = members_of
        self._evidence = evidence
        proofs = None if start_from_customers else _proofs_of_any([meanings[g] for g in IN_SCOPE if g in meanings])
        self._from_customers = proofs is None
        self._customer = Source(CUSTOMERS, now=now)
        self._customer_used = self._from_customers
        self._pushed = () if self._from_customers or members_of is not None else self._shared_facts()
        self._gatherings: list[tuple[Gathering, FromClause]] = []
        # One grade and nobody to be cleared or to leave: whoever is found has that grade, so its rule stands
        # in the WHERE alone, what it demands needs no second look, and what it denies becomes an anti-join.
        self._single = len(meanings) == 1 and members_of is None and not start_from_customers
        self._given = _demanded(next(iter(meanings.values()))) if self._single else frozenset()
        self._members: FromClause | None = None
        self._candidates = self._join(proofs or frozenset())

    def statement(self) -> Select[Any]:
        """Return the audience; see `compile`."""
        alive = self._alive()
        in_scope = or_(*(self.holds(self.meanings[g]) for g in IN_SCOPE if g in self.meanings))
        grade = self._grade(alive, in_scope)
        columns: list[ColumnElement[Any]] = [self.customer_id.label("customer_id"), grade.label("grade")]
        if self._evidence:
            columns += [self.evidence(kind).label(kind) for kind in EVIDENCE]
        if self._members is not None:
            columns.append(self._members.c.grade.label("was"))
            columns += [self._members.c[kind].label(f"had_{kind}") for kind in EVIDENCE]
            keep = or_(and_(in_scope, alive), self._members.c.customer_id.is_not(None))
        else:
            keep = and_(in_scope, alive)
        return select(*columns).select_from(self.tables()).where(keep)

    def tables(self) -> FromClause:
        """Return the joined candidates; ask for it after the expressions, which may join the customers."""
        if self._customer_used and not self._from_customers:
            row = self._customer.row
            of_candidate = row.c.id == self.customer_id
            # Said twice, so that the few customers are looked up instead of all being read.
            few = row.c.id == func.any(self._only) if self._only is not None else true()
            return self._candidates.join(row, and_(of_candidate, few))
        return self._candidates

    def holds(self, meaning: Meaning) -> ColumnElement[bool]:
        """Return whether a rule, or any part of one, holds for the candidate."""
        if meaning in self._pushed:
            return true()
        if isinstance(meaning, Fact):
            self._customer_used = True
            return self._customer.holds(meaning)
        if isinstance(meaning, Every):
            return and_(*(self.holds(part) for part in meaning.parts))
        if isinstance(meaning, Some):
            return or_(*(self.holds(part) for part in meaning.parts))
        if isinstance(meaning, Negated):
            return self.holds(meaning.part).is_not(true())
        if meaning in self._apart:
            there = Gathering([meaning], now=self.now).any_of(self.customer_id)
            return there if meaning.quantifier == "any" else not_(there)
        gathering, table = self.gathered(meaning)
        return gathering.holds(meaning, table)

    def gathered(self, node: Rows) -> tuple[Gathering, FromClause]:
        """Return the scan that answers a quantifier, and the joined table it became."""
        return next(found for found in self._gatherings if node in found[0].nodes)

    def evidence(self, kind: str) -> ColumnElement[Any]:
        """Return the ids that put the candidate in scope: of every quantifier whose rule holds, each id once."""
        plain: list[ColumnElement[Any]] = []
        gated: list[tuple[ColumnElement[bool], ColumnElement[Any]]] = []
        for gathering, table in self._gatherings:
            if gathering.entity.evidence != kind:
                continue
            if gathering.sufficient:
                plain.append(gathering.ids(None, table))
            for node in gathering.gated:
                gate = or_(*(and_(true(), *map(self.holds, needed)) for needed in self._uses[node]))
                gated.append((gate, gathering.ids(node, table)))
        if len(plain) + len(gated) <= 1:
            return case((gated[0][0], gated[0][1]), else_=NO_IDS) if gated else plain[0] if plain else NO_IDS
        parts = [*plain, *(case((gate, array), else_=NO_IDS) for gate, array in gated)]
        joined = parts[0]
        for part in parts[1:]:
            joined = func.array_cat(joined, part, type_=ARRAY(BigInteger))
        single = func.unnest(joined).column_valued("evidence")
        each_once = func.array(select(single.distinct()).order_by(single).scalar_subquery(), type_=ARRAY(BigInteger))
        if len(plain) != 1:
            return each_once
        # Most candidates have evidence of one sort only; the others pay for sorting two.
        return case((or_(*(gate for gate, _ in gated)), each_once), else_=plain[0])

    def _grade(self, alive: ColumnElement[bool], in_scope: ColumnElement[bool]) -> ColumnElement[Any]:
        if self._single:
            return literal_column(f"'{next(iter(self.meanings)).value}'", Text())
        cases: list[tuple[ColumnElement[bool], ColumnElement[Any]]] = []
        known: ColumnElement[bool] = false()
        if self._members is not None:
            known = self._members.c.customer_id.is_not(None)
            cases.append((not_(alive), literal_column("NULL", Text())))
        if Grade.CLEARED in self.meanings:
            # Cleared overrides; it never brings in somebody who was not in scope.
            cleared = and_(self.holds(self.meanings[Grade.CLEARED]), or_(in_scope, known))
            cases.append((cleared, literal_column("'cleared'", Text())))
        cases += [
            (self.holds(self.meanings[grade]), literal_column(f"'{grade.value}'", Text()))
            for grade in IN_SCOPE
            if grade in self.meanings
        ]
        return case(*cases)

    def _alive(self) -> ColumnElement[bool]:
        if self._customer_used:
            return self._customer.row.c.erased_at.is_(None)
        erased = CUSTOMERS.alias()
        gone = select(erased.c.id).where(erased.c.id == self.customer_id, erased.c.erased_at.is_not(None))
        return not_(gone.exists())

    def _shared_facts(self) -> tuple[Meaning, ...]:
        """Facts about the customer that every grade in scope demands: the scans need not look at others."""
        demanded = [conjuncts(self.meanings[grade]) for grade in IN_SCOPE if grade in self.meanings]
        return tuple(
            each for each in demanded[0] if _about_customer(each) and all(each in others for others in demanded)
        )

    def _join(self, proofs: frozenset[Rows]) -> FromClause:
        self._uses = _uses(self.meanings, self._given) if self._evidence else {}
        leading, following = self._group(proofs)
        if self._from_customers:
            joined: FromClause = self._customer.row
            self.customer_id: ColumnElement[Any] = self._customer.row.c.id
            self._limit_to: Select[Any] | None = None
            if self._only is not None:
                chosen = select(CUSTOMERS).where(CUSTOMERS.c.id == func.any(self._only))
                self._customer.row = chosen.subquery()
                joined, self.customer_id = self._customer.row, self._customer.row.c.id
        else:
            joined, self.customer_id = self._lead(leading)
            leading = []
        for nodes in leading + following:
            table = self._gather(nodes, within=self._limit_to).subquery()
            self._gatherings[-1] = (self._gatherings[-1][0], table)
            joined = joined.outerjoin(table, table.c.customer_id == self.customer_id)
        if self._from_customers and self._members_of is not None:
            self._members = self._standing()
            joined = joined.outerjoin(self._members, self._members.c.customer_id == self.customer_id)
        return joined

    def _lead(self, leading: list[list[Rows]]) -> tuple[FromClause, ColumnElement[Any]]:
        tables: list[FromClause] = []
        for nodes in leading:
            table: FromClause = self._gather(nodes).cte(f"gathered_{len(tables)}")
            self._gatherings[-1] = (self._gatherings[-1][0], table)
            tables.append(table)
        if self._members_of is not None:
            self._members = self._standing()
            tables.append(self._members)
        selects = [select(table.c.customer_id) for table in tables]
        self._limit_to = selects[0] if len(selects) == 1 else select(union(*selects).subquery().c.customer_id)
        joined: FromClause = tables[0]
        customer_id: ColumnElement[Any] = tables[0].c.customer_id
        for table in tables[1:]:
            joined = joined.join(table, table.c.customer_id == customer_id, full=True)
            customer_id = func.coalesce(customer_id, table.c.customer_id)
        return joined, customer_id

    def _gather(self, nodes: list[Rows], within: Select[Any] | None = None) -> Select[Any]:
        sufficient = [node for node in nodes if () in self._uses.get(node, ())]
        gated = [node for node in nodes if node in self._uses and not _covered(node, sufficient)]
        gathering = Gathering(nodes, now=self.now, sufficient=sufficient, gated=gated)
        self._gatherings.append((gathering, CUSTOMERS))
        return gathering.statement(facts=self._pushed if within is None else (), within=within, customers=self._only)

    def _group(self, proofs: frozenset[Rows]) -> tuple[list[list[Rows]], list[list[Rows]]]:
        """Sort the quantifiers into scans: those that lead (any candidate has a row in one of them), and the rest."""
        leading: dict[str, list[Rows]] = {}
        following: dict[str, list[Rows]] = {}
        nodes = dict.fromkeys(node for meaning in self.meanings.values() for node in rows_within(meaning))
        for node in nodes:
            if node in proofs:
                leading.setdefault(node.entity, []).append(node)
        self._apart = frozenset(node for node in nodes if node not in proofs and self._is_asked_apart(node))
        for node in nodes:
            if node in proofs or node in self._apart:
                continue
            shared = common(leading[node.entity]) if node.entity in leading else ()
            joins_in = shared and all(each in considered(node) for each in shared)
            (leading if joins_in else following).setdefault(node.entity, []).append(node)
        return list(leading.values()), list(following.values())

    def _is_asked_apart(self, node: Rows) -> bool:
        """Return whether a row is only asked for: without evidence an EXISTS is enough, and scans are read once."""
        if node.quantifier == "none" and node in self._given:
            return True
        return node.quantifier in {"any", "none"} and ENTITIES[node.entity].evidence is None

    def _standing(self) -> FromClause:
        member = models.AudienceMember.__table__
        conditions = [
            member.c.segment_id == given("members_of", BigInteger(), self._members_of),
            member.c.left_at.is_(None),
        ]
        if self._only is not None:
            conditions.append(member.c.customer_id == func.any(self._only))
        kinds = [member.c[kind] for kind in EVIDENCE]
        return select(member.c.customer_id, member.c.grade, *kinds).where(*conditions).cte("standing")


def _covered(node: Rows, sufficient: list[Rows]) -> bool:
    """Return whether every row that a quantifier considers is evidence already."""
    return any(all(each in considered(node) for each in considered(other)) for other in sufficient)


def _about_customer(meaning: Meaning) -> bool:
    return not rows_within(meaning) and bool(facts_within(meaning))


def _proofs(meaning: Meaning) -> frozenset[Rows] | None:
    """Return quantifiers of which one must have a row if the rule holds; nothing when it may hold without any."""
    if isinstance(meaning, Rows):
        return frozenset({meaning}) if _needs_a_row(meaning) else None
    if isinstance(meaning, Every):
        found = [proof for proof in map(_proofs, meaning.parts) if proof is not None]
        # The fewest scans, then the most conditions: the likeliest to be short.
        return min(found, key=lambda each: (len(each), -sum(len(considered(row)) for row in each)), default=None)
    if isinstance(meaning, Some):
        return _proofs_of_any(list(meaning.parts))
    return None


def _proofs_of_any(meanings: list[Meaning]) -> frozenset[Rows] | None:
    found = [_proofs(meaning) for meaning in meanings]
    if any(proof is None for proof in found):
        return None
    return frozenset(row for proof in found if proof is not None for row in proof)


def _needs_a_row(node: Rows) -> bool:
    if node.quantifier == "count":
        smallest = {"equals": node.number, "at_least": node.number, "more_than": node.number + 1}
        return smallest.get(node.comparison or "", 0) > 0
    return node.quantifier in {"any", "all"}


@dataclass(frozen=True)
class _Use:
    node: Rows
    needed: tuple[Meaning, ...]


def _demanded(meaning: Meaning) -> frozenset[Meaning]:
    """Return a rule and all parts that hold whenever it does."""
    parts = meaning.parts if isinstance(meaning, Every) else ()
    return frozenset({meaning}).union(*(_demanded(part) for part in parts))


def _uses(meanings: Mapping[Grade, Meaning], given: frozenset[Meaning]) -> dict[Rows, list[tuple[Meaning, ...]]]:
    """Return where each quantifier leaves evidence: what must hold besides its own rows, per place it stands.

    What is `given` holds for everybody who is found and need not be asked.
    """
    found: dict[Rows, list[tuple[Meaning, ...]]] = {}
    for meaning in meanings.values():
        for use in _uses_in(meaning, ()):
            found.setdefault(use.node, []).append(tuple(each for each in use.needed if each not in given))
    return found


def _uses_in(meaning: Meaning, needed: tuple[Meaning, ...]) -> list[_Use]:
    if isinstance(meaning, Rows):
        if meaning.quantifier == "none":
            return []
        return [_Use(meaning, needed if meaning.quantifier == "any" else (*needed, meaning))]
    if isinstance(meaning, Every):
        return [use for part in meaning.parts for use in _uses_in(part, (*needed, meaning))]
    if isinstance(meaning, Some):
        return [use for part in meaning.parts for use in _uses_in(part, needed)]
    return []  # what is denied leaves no evidence
