"""`outreach segment …` and `outreach scope …`: rules from files, without the web."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.printing import AsJson, print_fields, print_json, print_rows
from outreach import clock, problems
from outreach.db import transaction
from outreach.errors import InvalidInput, NotFound
from outreach.models import Customer
from outreach.vocabulary import Grade
from segments import audiences, previews, rules, scopes
from segments.answers import definition_in, proposal_out
from segments.meaning import understand
from segments.schemas import ExplanationOut, PartOut, PreviewOut
from segments.sentences import sentence

commands = typer.Typer(no_args_is_help=True, help="Check a rule, count it, preview it, explain it.")
scope_commands = typer.Typer(no_args_is_help=True, help="Find the scope of a problem.")

RuleFile = Annotated[
    Path, typer.Option("--rule", exists=True, dir_okay=False, help="A rule or definition (JSON, docs/segments.md).")
]
AsOf = Annotated[
    str | None, typer.Option("--as-of", metavar="TIME", help="Ask as if it were this moment (ISO 8601 with zone).")
]


@commands.command()
def validate(rule: RuleFile, as_json: AsJson = False) -> None:
    """Check a rule; what is wrong is said with the place and what would be right."""
    definition = definition_in(rule.read_bytes())
    understand(definition)
    print_fields({"valid": True, "grades": [grade.value for grade in definition.grades]}, as_json=as_json)


@commands.command("sentence")
def say_rule(rule: RuleFile, as_json: AsJson = False) -> None:
    """Say a rule in words."""
    words = sentence(definition_in(rule.read_bytes()))
    print_fields({"sentence": words}, as_json=as_json)


@commands.command()
def count(rule: RuleFile, as_of: AsOf = None, as_json: AsJson = False) -> None:
    """Count the customers of each grade."""
    with _asked(rule, as_of) as (session, definition, now):
        found = previews.count(session, definition=definition, now=now)
    print_fields({grade.value: found.get(grade, 0) for grade in Grade}, as_json=as_json)


@commands.command()
def preview(
    rule: RuleFile,
    as_of: AsOf = None,
    sample: Annotated[int, typer.Option(min=0, max=50, help="Customers to show with their evidence.")] = 5,
    as_json: AsJson = False,
) -> None:
    """Show whom a rule finds, how they can be reached, and whom nobody can reach."""
    with _asked(rule, as_of) as (session, definition, now):
        found = PreviewOut.model_validate(
            audiences.preview(session, definition=definition, now=now, sample=sample)
        ).model_dump(mode="json")
    if as_json:
        print_json(found)
        return
    print_fields(
        {"rule": found["sentence"], **found["counts"], "reachable by nothing": found["unreachable"]}, as_json=False
    )
    columns = ["channel", "reachable", "no_address", "invalid", "suppressed", "cost_cents"]
    print_rows(found["reach"], columns, as_json=False, title="Reach (cost by list prices)")
    print_rows(found["without_customer"], ["related", "rows", "orders"], as_json=False, title="Without a customer")
    columns = ["customer_id", "grade", "name", "evidence_items", "evidence_orders", "evidence_tickets"]
    print_rows(found["sample"], columns, as_json=False, title="Sample")


@commands.command()
def explain(
    customer: Annotated[str, typer.Argument(help="The customer's number in your systems.")],
    rule: RuleFile,
    as_of: AsOf = None,
    as_json: AsJson = False,
) -> None:
    """Say which conditions of a rule hold for one customer and which do not, with the rows."""
    with _asked(rule, as_of) as (session, definition, now):
        customer_id = session.scalar(select(Customer.id).where(Customer.external_id == customer))
        if customer_id is None:
            raise NotFound(f"There is no customer {customer}.")
        found = ExplanationOut.model_validate(
            audiences.explain(session, definition=definition, customer_id=customer_id, now=now)
        )
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    print_fields({"customer": customer, "grade": found.grade or "not in the audience"}, as_json=False)
    for grade, part in found.rules.items():
        typer.echo(f"{grade}:")
        _show(part, 1)


@scope_commands.command()
def discover(
    key: Annotated[str, typer.Argument(help="The problem's key, like P-7.")],
    limit: Annotated[int, typer.Option(min=1, max=20)] = 5,
    word: Annotated[
        list[str] | None, typer.Option(help="Count unlinked tickets whose text has this too; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Propose scopes from the tickets linked to a problem, best first."""
    with transaction() as session:
        problem, now = problems.find(session, key), clock.now(session)
        proposals = scopes.discover(session, problem_id=problem.id, now=now, limit=limit, words=word or ())
        found = [proposal_out(proposal).model_dump(mode="json") for proposal in proposals]
    if as_json:
        print_json(found)
        return
    rows = [
        {"proposal": each["sentence"], "q value": f"{each['q_value']:.2g}"}
        | {"cases": each["contrast"]["cases_inside"], "people": each["contrast"]["inside"]}
        | {"lift": f"{each['contrast']['lift']:.1f} ({each['contrast']['low']:.1f} to {each['contrast']['high']:.1f})"}
        for each in found
    ]
    print_rows(rows, ["proposal", "cases", "people", "lift", "q value"], as_json=False)


@contextmanager
def _asked(rule: Path, as_of: str | None) -> Iterator[tuple[Session, rules.Definition, datetime]]:
    definition = definition_in(rule.read_bytes())
    with transaction() as session:
        yield session, definition, _moment(as_of) if as_of is not None else clock.now(session)


def _moment(value: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
    except ValueError as error:
        raise InvalidInput(f"{value!r} is not a time; write it like 2026-03-01T12:00:00Z.", where="--as-of") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _show(part: PartOut, depth: int) -> None:
    counted = "" if part.matched is None else f" ({part.matched} of {part.examined} rows)"
    typer.echo(f"{'  ' * depth}{'yes' if part.held else 'no '} {part.sentence}{counted}")
    for inner in part.parts:
        _show(inner, depth + 1)
