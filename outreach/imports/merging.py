"""From staging into the tables by set-based statements: what is new goes in, what differs changes, the rest stays.

Rows that do not differ are not written at all, so importing the same file again changes nothing and leaves no
dead rows. Every statement is made from the constants of `plans.py`; values never become SQL text.
"""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach.barred_addresses import give_addresses_back
from outreach.imports.plans import UNKNOWN, Plan, plan_for
from outreach.imports.rejects import DROPPED, REFUSED, Rejects
from outreach.imports.reports import TableCounts
from outreach.imports.staging import Staged


def merge(session: Session, staged: Staged, counts: TableCounts, rejects: Rejects) -> list[str]:
    """Bring the staged rows into their table, count what became of them, and return notes for the report."""
    plan, resolved = plan_for(staged), f"resolved_{staged.table.kind}"
    counts.repeated += _drop_repeated(session, staged, plan)
    if plan.parent:
        _refuse_orphans(session, staged, plan.parent, counts, rejects)
    notes = [note.format(n) for statement, note in plan.before if (n := _changed(session, statement))]
    _resolve(session, staged, plan, resolved)
    _note_loose_ends(session, staged, plan, counts, rejects)
    if plan.erasable:
        _refuse_erased(session, staged, resolved, counts, rejects)
    for statement in plan.before_update:
        session.execute(text(statement))
    total = _number(session, f"SELECT count(*) FROM {resolved}")
    updated = _changed(session, _update(plan, resolved))
    inserted = _changed(session, _insert(plan, resolved))
    counts.updated += updated
    counts.inserted += inserted
    counts.unchanged += total - updated - inserted
    if plan.erasable:
        give_addresses_back(session, resolved)
    if plan.has_customer:
        counts.without_customer += _number(session, f"SELECT count(*) FROM {resolved} WHERE customer_id IS NULL")
    for statement in plan.after:
        session.execute(text(statement))
    for name in (staged.name, resolved):
        session.execute(text(f"DROP TABLE {name}"))
    session.execute(text(f"ANALYZE {plan.target}"))
    return notes


def _changed(session: Session, statement: str) -> int:
    result: Any = session.execute(text(statement))
    return max(int(result.rowcount), 0)


def _number(session: Session, statement: str) -> int:
    return int(session.execute(text(statement)).scalar_one())


def _drop_repeated(session: Session, staged: Staged, plan: Plan) -> int:
    """Keep the last row of each key."""
    key = ", ".join(plan.key.values())
    return _changed(
        session,
        f"""
        DELETE FROM {staged.name} x USING (
            SELECT s.ctid AS place, row_number() OVER (PARTITION BY {key} ORDER BY s.row DESC) AS nth
            FROM {staged.name} s
        ) ranked
        WHERE ranked.place = x.ctid AND ranked.nth > 1
        """,
    )


def _refuse_orphans(
    session: Session, staged: Staged, parent: tuple[str, str], counts: TableCounts, rejects: Rejects
) -> None:
    """Refuse rows whose parent is not here: an item cannot be without its order."""
    column, target = parent
    gone = session.execute(
        text(
            f"DELETE FROM {staged.name} s WHERE NOT EXISTS "
            f"(SELECT 1 FROM {target} p WHERE p.external_id = s.{column}) RETURNING s.row, s.{column}"
        )
    )
    for row, value in gone.yield_per(1000):
        counts.rejected += 1
        rejects.add(
            staged.table.kind, row, column, value, REFUSED, f"not among the {target}; import its {target} first"
        )


def _resolve(session: Session, staged: Staged, plan: Plan, resolved: str) -> None:
    """Make the rows as the table will hold them, each beside the id of the row it stands for."""
    cells = ", ".join(f"{expression} AS {name}" for name, expression in {**plan.key, **plan.columns}.items())
    same = " AND ".join(f"t.{column} = {expression}" for column, expression in plan.key.items())
    session.execute(
        text(
            f"CREATE TEMP TABLE {resolved} ON COMMIT DROP AS SELECT s.row, t.id AS existing_id, {cells} "
            f"FROM {staged.name} s LEFT JOIN {plan.target} t ON {same} {plan.joins}"
        )
    )
    session.execute(text(f"ANALYZE {resolved}"))


def _note_loose_ends(session: Session, staged: Staged, plan: Plan, counts: TableCounts, rejects: Rejects) -> None:
    """Note references that lead nowhere and were left empty."""
    for column, reference, target in plan.loose:
        lost = session.execute(
            text(
                f"SELECT s.row, s.{column} FROM {staged.name} s JOIN resolved_{staged.table.kind} r USING (row) "
                f"WHERE s.{column} IS NOT NULL AND r.{reference} IS NULL ORDER BY s.row"
            )
        )
        for row, value in lost.yield_per(1000):
            counts.values_dropped += 1
            rejects.add(staged.table.kind, row, column, value, DROPPED, f"not among the {target}")


def _refuse_erased(session: Session, staged: Staged, resolved: str, counts: TableCounts, rejects: Rejects) -> None:
    """Leave out customers who asked to be forgotten: an import never brings them back."""
    gone = session.execute(
        text(
            f"DELETE FROM {resolved} r USING customers t WHERE t.id = r.existing_id AND t.erased_at IS NOT NULL "
            "RETURNING r.row, r.external_id"
        )
    )
    for row, value in gone.yield_per(1000):
        counts.erased += 1
        reason = "this customer asked to be erased and is not brought back"
        rejects.add(staged.table.kind, row, staged.table.key, value, REFUSED, reason)


def _update(plan: Plan, resolved: str) -> str:
    new = {name: f"coalesce(r.{name}, t.{name})" if name in plan.kept else f"r.{name}" for name in plan.given}
    if "attributes" in new:
        new["attributes"] = f"jsonb_strip_nulls((t.attributes - '{UNKNOWN}') || r.attributes)"
    if not new:
        return f"UPDATE {plan.target} SET id = id WHERE false"
    stamp = ", updated_at = now()" if plan.stamped else ""
    return f"""
        UPDATE {plan.target} t SET ({", ".join(new)}) = ROW({", ".join(new.values())}){stamp}
        FROM {resolved} r
        WHERE t.id = r.existing_id
          AND ROW({", ".join(f"t.{name}" for name in new)}) IS DISTINCT FROM ROW({", ".join(new.values())})
    """


def _insert(plan: Plan, resolved: str) -> str:
    names = ", ".join([*plan.key, *plan.columns])
    return f"""
        INSERT INTO {plan.target} ({names})
        SELECT {names} FROM {resolved} WHERE existing_id IS NULL ORDER BY row
    """
