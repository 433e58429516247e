"""`outreach survey …`: write surveys, look at what they found."""

import dataclasses
from typing import Annotated

import typer
from sqlalchemy import select

from app.printing import AsJson, print_fields, print_json, print_rows, terminal_actor
from campaigns.surveys import results as counting
from campaigns.surveys import writing
from campaigns.surveys.schemas import SurveyOut
from outreach import clock
from outreach.db import transaction
from outreach.models import Survey
from outreach.vocabulary import SurveyKind

commands = typer.Typer(no_args_is_help=True, help="Ask how it went, and read the answers.")

Key = Annotated[str, typer.Argument(help="The survey's key.")]


@commands.command("list")
def list_surveys(as_json: AsJson = False) -> None:
    """List surveys, newest first."""
    with transaction() as session:
        surveys = session.scalars(select(Survey).order_by(Survey.id.desc()))
        rows = [SurveyOut.model_validate(survey).model_dump(mode="json") for survey in surveys]
    print_rows(rows, ("key", "kind", "state", "name", "created_by", "created_at"), as_json=as_json)


@commands.command()
def make(
    key: Key,
    kind: Annotated[SurveyKind, typer.Argument(help="csat, nps or ces; their standard questions are asked.")],
    name: Annotated[str, typer.Option(help="Its name; the key unless given.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write a survey with the standard questions of its kind; a programme's step asks it."""
    with transaction() as session:
        survey = writing.make(
            session, key=key, name=name or key, kind=kind, actor=terminal_actor().name, now=clock.now(session)
        )
        print_fields(SurveyOut.model_validate(survey).model_dump(mode="json"), as_json=as_json)


@commands.command()
def close(key: Key, as_json: AsJson = False) -> None:
    """Take no more answers and ask nobody any more."""
    with transaction() as session:
        survey = writing.find(session, key)
        session.refresh(survey, with_for_update=True)
        writing.close(session, survey=survey, actor=terminal_actor().name, now=clock.now(session))
        print_fields(SurveyOut.model_validate(survey).model_dump(mode="json"), as_json=as_json)


@commands.command()
def preview(key: Key, language: Annotated[str, typer.Option()] = "en", as_json: AsJson = False) -> None:
    """Show what people will get, and a page on which to try the survey out."""
    with transaction() as session:
        found = writing.look(session, survey=writing.find(session, key), language=language)
    texts = {channel: each.rendered.text for channel, each in found.messages.items()}
    print_fields({"page": found.page, **texts}, as_json=as_json)


@commands.command()
def results(
    key: Key, by: Annotated[counting.By | None, typer.Option(help="Take apart.")] = None, as_json: AsJson = False
) -> None:
    """Show what a survey found, with intervals (95 %), month by month and by group."""
    with transaction() as session:
        found = counting.results(session, survey=writing.find(session, key), by=by)
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    rows = []
    for part in (found.total, *found.trend, *found.groups):
        figure = part.figures.headline
        rows.append(
            {
                "name": part.name,
                "delivered": part.delivered,
                "completed": part.completed,
                "response rate": None if part.response_rate is None else f"{part.response_rate:.1%}",
                "value": None if figure is None else f"{figure.value:.1f}",
                "interval": None if figure is None else f"{figure.low:.1f} to {figure.high:.1f}",
            }
        )
    print_rows(rows, tuple(rows[0]), as_json=False, title=found.survey)


@commands.command()
def comments(
    key: Key, contains: Annotated[str, typer.Option(help="Only those with these words.")] = "", as_json: AsJson = False
) -> None:
    """Show what people wrote, newest first."""
    with transaction() as session:
        rows = counting.comments(session, survey=writing.find(session, key), contains=contains)
    print_rows(rows, ("answered_at", "customer", "score", "words"), as_json=as_json)
