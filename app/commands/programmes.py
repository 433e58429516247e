"""`outreach programme …`: plans of check-ins, tips and reminders from the command line."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from sqlalchemy import select

from app.printing import AsJson, print_fields, print_json, print_rows, terminal_actor
from campaigns.programmes import verbs
from campaigns.programmes.answers import shown
from outreach import clock
from outreach.db import transaction
from outreach.errors import InvalidInput
from outreach.models import Programme
from outreach.vocabulary import ProgrammeKind

commands = typer.Typer(
    no_args_is_help=True, help="Check-ins, good-practice series and reminders that run by themselves."
)

Key = Annotated[str, typer.Argument(help="The programme's key.")]
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The definition as JSON.")]


@commands.command("list")
def list_programmes(as_json: AsJson = False) -> None:
    """List programmes, newest first."""
    with transaction() as session:
        programmes = session.scalars(select(Programme).order_by(Programme.id.desc()))
        rows = [shown(session, programme).model_dump(mode="json") for programme in programmes]
    print_rows(rows, ("key", "kind", "state", "segment", "version", "name"), as_json=as_json)


@commands.command()
def make(
    key: Key,
    kind: Annotated[ProgrammeKind, typer.Argument(help="What it is for.")],
    definition: File,
    segment: Annotated[str | None, typer.Option(help="The key of the segment that it is for.")] = None,
    name: Annotated[str, typer.Option(help="Its name; the key unless given.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write a programme down as a draft."""
    with transaction() as session:
        made = verbs.make(
            session, key=key, name=name or key, kind=kind, definition=_read(definition), segment=segment,
            actor=terminal_actor().name, now=clock.now(session),
        )  # fmt: skip
        print_fields(shown(session, made).model_dump(mode="json"), as_json=as_json)


@commands.command()
def show(key: Key, as_json: AsJson = False) -> None:
    """Show one programme and how it fares, step by step."""
    with transaction() as session:
        programme = verbs.find(session, key)
        fields, counts = shown(session, programme).model_dump(mode="json"), verbs.progress(session, programme=programme)
    steps = [
        {"version": step.version, "step": step.step + 1, "what": step.what, "waiting": step.waiting, **step.notices}
        for step in counts.steps
    ]
    if as_json:
        print_json({**fields, "enrolled": counts.enrolled, "left": counts.left, "occurrences": counts.occurrences,
                    "steps": steps})  # fmt: skip
        return
    print_fields({**fields, "enrolled": counts.enrolled, **counts.occurrences}, as_json=False)
    columns = list(dict.fromkeys(name for step in steps for name in step))
    print_rows(steps, columns, as_json=False)


@commands.command()
def edit(key: Key, definition: File, as_json: AsJson = False) -> None:
    """Write a new version; what has begun keeps its own."""
    _act(key, verbs.edit, as_json, definition=_read(definition))


@commands.command()
def activate(key: Key, as_json: AsJson = False) -> None:
    """Let a draft run."""
    _act(key, verbs.activate, as_json)


@commands.command()
def pause(key: Key, as_json: AsJson = False) -> None:
    """Say nothing more until it goes on."""
    _act(key, verbs.pause, as_json)


@commands.command()
def resume(key: Key, as_json: AsJson = False) -> None:
    """Go on."""
    _act(key, verbs.resume, as_json)


@commands.command()
def end(key: Key, as_json: AsJson = False) -> None:
    """Stop for good."""
    _act(key, verbs.end, as_json)


def _act(key: str, verb: Callable[..., object], as_json: bool, **details: Any) -> None:
    with transaction() as session:
        programme = verbs.find(session, key)
        session.refresh(programme, with_for_update=True)
        verb(session, programme=programme, actor=terminal_actor().name, now=clock.now(session), **details)
        session.flush()
        print_fields(shown(session, programme).model_dump(mode="json"), as_json=as_json)


def _read(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"{path.name} is not JSON: {error}.", where=str(path)) from None
