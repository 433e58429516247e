"""`outreach campaign …` and `outreach ledger …`: what is sent, and the proof of it."""

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

import typer
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.printing import AsJson, print_fields, print_json, print_rows, terminal_actor
from campaigns import ledger, lifecycle
from outreach import clock
from outreach.db import transaction
from outreach.models import Campaign, Notice
from outreach.vocabulary import CampaignState

commands = typer.Typer(no_args_is_help=True, help="Look at campaigns, approve, pause, resume or cancel them.")
ledger_commands = typer.Typer(no_args_is_help=True, help="The account of a campaign.")

Key = Annotated[str, typer.Argument(help="The campaign's key.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the campaign.")]

_SHOWN = (
    "key", "name", "kind", "notice_class", "state", "state_reason", "template_key", "template_version", "grades",
    "ladder", "created_by", "created_at", "approved_by", "approved_at", "not_before", "not_after",
    "finished_at",
)  # fmt: skip


@commands.command("list")
def list_campaigns(
    state: Annotated[CampaignState | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    as_json: AsJson = False,
) -> None:
    """List campaigns, newest first."""
    query = select(Campaign) if state is None else select(Campaign).where(Campaign.state == state)
    with transaction() as session:
        rows = [_fields(campaign) for campaign in session.scalars(query.order_by(Campaign.id.desc()).limit(limit))]
    print_rows(rows, ("key", "kind", "state", "name", "created_by", "created_at"), as_json=as_json)


@commands.command()
def show(key: Key, as_json: AsJson = False) -> None:
    """Show one campaign and how far it is."""
    with transaction() as session:
        campaign = lifecycle.find(session, key)
        counted = select(Notice.state, func.count()).where(Notice.campaign_id == campaign.id).group_by(Notice.state)
        notices = {state.value: count for state, count in session.execute(counted)}
    print_fields({**_fields(campaign), **({"notices": notices} if as_json else notices)}, as_json=as_json)


@commands.command()
def approve(key: Key, as_json: AsJson = False) -> None:
    """Let a waiting campaign run."""
    _act(key, lifecycle.approve, as_json)


@commands.command()
def pause(key: Key, reason: Reason = "", as_json: AsJson = False) -> None:
    """Stop handing messages to the providers."""
    _act(key, lifecycle.pause, as_json, reason=reason)


@commands.command()
def resume(key: Key, as_json: AsJson = False) -> None:
    """Go on where a paused campaign stopped."""
    _act(key, lifecycle.resume, as_json)


@commands.command()
def cancel(key: Key, reason: Reason = "", as_json: AsJson = False) -> None:
    """Send nothing more, for good."""
    _act(key, lifecycle.cancel, as_json, reason=reason)


@ledger_commands.command()
def verify(key: Key, as_json: AsJson = False) -> None:
    """Prove that every recipient is accounted for, once; exit status 1 when a row does not add up."""
    with transaction() as session:
        account = ledger.verify(session, campaign=lifecycle.find(session, key))
    if as_json:
        print_json({**dataclasses.asdict(account), "adds_up": account.adds_up})
    else:
        _print_account(account)
    if not account.adds_up:
        raise typer.Exit(1)


def _print_account(account: ledger.Account) -> None:
    lines = [("audience", account.audience), ("delivered", account.delivered), ("on the way", account.on_the_way)]
    for state, reasons in (("skipped", account.skipped), ("failed", account.failed)):
        lines += [(f"{state}: {ledger.REASONS.get(why, why)}", count) for why, count in reasons.items()]
    lines += [
        ("held out", account.held_out),
        ("unaccounted", account.unaccounted),
        ("duplicates", account.duplicates),
    ]
    rows = [{"recipients": name, "count": count} for name, count in lines]
    print_rows(rows, ("recipients", "count"), as_json=False, title=account.campaign)
    for found in account.discrepancies:
        print_fields({f"{found.what} ({found.count})": found.rows}, as_json=False)


def _act(key: str, verb: Callable[..., None], as_json: bool, **details: Any) -> None:
    with transaction() as session:
        campaign = locked(session, key)
        verb(session, campaign=campaign, actor=terminal_actor().name, now=clock.now(session), **details)
        session.flush()
        print_fields(_fields(campaign), as_json=as_json)


def locked(session: Session, key: str) -> Campaign:
    """Return the campaign, held until the transaction ends."""
    campaign = lifecycle.find(session, key)
    # Two people may press at the same moment; the second must see what the first did.
    session.refresh(campaign, with_for_update=True)
    return campaign


def _fields(campaign: Campaign) -> dict[str, Any]:
    return {name: getattr(campaign, name) for name in _SHOWN}
