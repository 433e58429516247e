"""`outreach problem …`: the life of a problem from the command line."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from sqlalchemy import select

from app.printing import AsJson, print_fields, print_rows, terminal_actor
from outreach import clock, problem_verbs, problems
from outreach.db import transaction
from outreach.errors import InvalidInput
from outreach.models import Problem, ProblemUpdate
from outreach.problem_verbs import Verb
from outreach.schemas import ProblemOut, ProblemUpdateOut
from outreach.vocabulary import ProblemState, Severity

commands = typer.Typer(no_args_is_help=True, help="Report problems, mark them known, resolve them.")

Key = Annotated[str, typer.Argument(help="The problem's key, like P-7.")]
Text = Annotated[str, typer.Option(help="What customers and colleagues should know.")]
Workaround = Annotated[str | None, typer.Option(help="What customers can do meanwhile.")]
Moment = Annotated[str | None, typer.Option(metavar="TIME", help="ISO 8601 with zone: 2026-03-01T12:00:00+01:00.")]


@commands.command()
def report(
    title: Annotated[str, typer.Argument(help="What is wrong, in one line.")],
    summary: Text = "",
    severity: Severity = Severity.MEDIUM,
    department: Annotated[str | None, typer.Option(help="Who owns the cause.")] = None,
    key: Annotated[str | None, typer.Option(help="A key of your own, instead of the next P-number.")] = None,
    as_json: AsJson = False,
) -> None:
    """Report a problem; it starts under investigation and nobody is told yet."""
    with transaction() as session:
        problem = problem_verbs.report(
            session,
            actor=terminal_actor(),
            now=clock.now(session),
            title=title,
            summary=summary,
            severity=severity,
            department=department,
            key=key,
        )
        print_fields(_fields(problem), as_json=as_json)


@commands.command()
def known(
    key: Key,
    text: Text = "",
    workaround: Workaround = None,
    fixed_by: Moment = None,
    next_update_by: Moment = None,
    as_json: AsJson = False,
) -> None:
    """Mark a problem known: everybody it touches is to hear of it."""
    _act(key, Verb.KNOWN, as_json, text=text, workaround=workaround, **_promise(fixed_by, next_update_by))


@commands.command()
def update(
    key: Key,
    text: Annotated[str, typer.Option(help="What is new.")],
    workaround: Workaround = None,
    fixed_by: Moment = None,
    next_update_by: Moment = None,
    as_json: AsJson = False,
) -> None:
    """Add an entry to the timeline, with what it promises."""
    _act(key, Verb.UPDATE, as_json, text=text, workaround=workaround, **_promise(fixed_by, next_update_by))


@commands.command()
def monitor(key: Key, text: Text = "", as_json: AsJson = False) -> None:
    """Say that a fix is out and being watched."""
    _act(key, Verb.MONITOR, as_json, text=text)


@commands.command()
def resolve(
    key: Key,
    text: Text = "",
    fix: Annotated[str | None, typer.Option(help="What was done about it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Mark a problem resolved: everybody who was told is to hear it."""
    _act(key, Verb.RESOLVE, as_json, text=text, fix=fix)


@commands.command()
def reopen(key: Key, text: Text = "", as_json: AsJson = False) -> None:
    """Take a problem back to known."""
    _act(key, Verb.REOPEN, as_json, text=text)


@commands.command()
def close(key: Key, text: Text = "", as_json: AsJson = False) -> None:
    """Put a problem away; its scope is no longer kept up."""
    _act(key, Verb.CLOSE, as_json, text=text)


@commands.command("list")
def list_problems(
    state: Annotated[ProblemState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List problems, newest first."""
    query = select(Problem) if state is None else select(Problem).where(Problem.state == state)
    with transaction() as session:
        rows = [_fields(problem) for problem in session.scalars(query.order_by(Problem.id.desc()).limit(limit))]
    print_rows(rows, ("key", "state", "severity", "title", "reported_at"), as_json=as_json)


@commands.command()
def show(key: Key, as_json: AsJson = False) -> None:
    """Show one problem with its timeline."""
    with transaction() as session:
        problem = problems.find(session, key)
        query = select(ProblemUpdate).where(ProblemUpdate.problem_id == problem.id).order_by(ProblemUpdate.id)
        entries = [ProblemUpdateOut.model_validate(entry).model_dump() for entry in session.scalars(query)]
    if as_json:
        print_fields({**_fields(problem), "updates": entries}, as_json=True)
        return
    print_fields(_fields(problem), as_json=False)
    print_rows(entries, ("at", "author", "to_state", "text"), as_json=False)


def _act(key: str, verb: Verb, as_json: bool, **details: Any) -> None:
    with transaction() as session:
        problem = problem_verbs.act(
            session, key=key, verb=verb, actor=terminal_actor(), now=clock.now(session), **details
        )
        print_fields(_fields(problem), as_json=as_json)


def _fields(problem: Problem) -> dict[str, Any]:
    return ProblemOut.model_validate(problem).model_dump()


def _promise(fixed_by: str | None, next_update_by: str | None) -> dict[str, datetime | None]:
    given = {"fixed_by": fixed_by, "next_update_by": next_update_by}
    return {name: _moment(name, value) if value else None for name, value in given.items()}


def _moment(name: str, value: str) -> datetime:
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is not None:
            return found.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    option = "--" + name.replace("_", "-")
    raise InvalidInput(f"{option} {value!r} is not a time with a zone, like 2026-03-01T12:00:00+01:00.")
