"""`outreach campaign status|stop-all|resume-all|plan|costs|edit|test` and `outreach unknown …`: control of sending."""

import dataclasses
from typing import Annotated, Any
from uuid import UUID

import typer

from app.commands.campaigns import Key, Reason, commands, locked
from app.printing import AsJson, print_fields, print_json, print_rows, say, terminal_actor
from campaigns import channel_plan, editing, lifecycle, progress, samples, stops, trial_sends, unknowns
from campaigns.channel_plan import Urgency
from outreach import clock
from outreach.db import transaction
from outreach.errors import Conflict
from outreach.vocabulary import Channel

unknown_commands = typer.Typer(no_args_is_help=True, help="Messages of which nobody knows whether they were sent.")

OneChannel = Annotated[Channel | None, typer.Option(help="Only this channel.")]
OneCampaign = Annotated[str | None, typer.Option("--campaign", help="Only the campaign with this key.")]


@commands.command()
def status(key: Key, as_json: AsJson = False) -> None:
    """Show where a campaign stands: its state, its waves, its messages by channel and what they cost."""
    with transaction() as session:
        campaign = lifecycle.find(session, key)
        notices, messages = progress.progress(session, campaign=campaign)
        shown: dict[str, Any] = {
            "key": campaign.key, "name": campaign.name, "class": campaign.notice_class, "state": campaign.state,
            "state_reason": campaign.state_reason,
            "wave": f"{campaign.wave + 1} of {len(campaign.waves or []) + 1}", "notices": notices,
        }  # fmt: skip
        spent = channel_plan.costs(session, campaign=campaign)
        stopped = [f"{s.channel or 'everything'}: {s.reason or 'no reason given'}" for s in stops.standing(session)]
    if as_json:
        print_json({**shown, "messages": messages, "costs": spent, "stops": stopped})
        return
    print_fields({**{k: v for k, v in shown.items() if k != "notices"}, **notices, "stops": stopped}, as_json=False)
    rows = [
        {"channel": channel, "messages": _counted(words), "cents": spent.get(channel, {}).get("cents", 0)}
        for channel, words in messages.items()
    ]
    print_rows(rows, ("channel", "messages", "cents"), as_json=False)


def _counted(words: dict[str, int]) -> str:
    return ", ".join(f"{total:,} {word.replace('_', ' ')}" for word, total in words.items())


@commands.command("stop-all")
def stop_all(channel: OneChannel = None, campaign: OneCampaign = None, reason: Reason = "") -> None:
    """Stop sending at once: everything, or only one channel or campaign."""
    with transaction() as session:
        found = lifecycle.find(session, campaign) if campaign else None
        new = stops.stop(
            session, actor=terminal_actor().name, now=clock.now(session), channel=channel, campaign=found,
            reason=reason,
        )  # fmt: skip
    say("Stopped: at most the window under way still goes out." if new else "It was stopped before.")


@commands.command("resume-all")
def resume_all(channel: OneChannel = None, campaign: OneCampaign = None) -> None:
    """Lift the stop of exactly this scope; paused campaigns stay paused."""
    with transaction() as session:
        found = lifecycle.find(session, campaign) if campaign else None
        lifted = stops.lift(
            session, actor=terminal_actor().name, now=clock.now(session), channel=channel, campaign=found
        )
    if not lifted:
        say("There is no stop of exactly this scope.")
        raise typer.Exit(1)
    say("Sending goes on.")


@commands.command()
def plan(
    key: Key,
    budget_cents: Annotated[int | None, typer.Option(min=0, help="The most it may cost, in cents.")] = None,
    urgency: Annotated[Urgency, typer.Option(help="How soon people must know.")] = Urgency.NORMAL,
    as_json: AsJson = False,
) -> None:
    """Propose a ladder of channels, with expected reach and cost; changes nothing."""
    with transaction() as session:
        found = channel_plan.propose(
            session, campaign=lifecycle.find(session, key), budget_cents=budget_cents, urgency=urgency
        )
    if as_json:
        print_json(found)
        return
    if not found.within_budget:
        say("Nothing fits into this budget; the first row is the cheapest.")
    rows = [
        {
            "ladder": " then ".join(step["channel"] for step in proposal.ladder),
            "reached": f"{proposal.expected_reached:.0f} of {found.people}",
            "cost_cents": proposal.expected_cost_cents,
        }
        for proposal in (found.best, *found.others)
    ]
    print_rows(rows, ("ladder", "reached", "cost_cents"), as_json=False)


@commands.command()
def costs(key: Key, as_json: AsJson = False) -> None:
    """Show what a campaign has cost so far."""
    with transaction() as session:
        spent = channel_plan.costs(session, campaign=lifecycle.find(session, key))
    print_rows([{"channel": c, **cost} for c, cost in spent.items()], ("channel", "messages", "cents"), as_json=as_json)


@commands.command()
def edit(key: Key, version: Annotated[int | None, typer.Option(min=1, help="None: the newest.")] = None) -> None:
    """Give a campaign another version of its words; nobody gets two versions."""
    with transaction() as session:
        campaign = locked(session, key)
        moved = editing.edit(
            session, campaign=campaign, actor=terminal_actor().name, now=clock.now(session), version=version
        )
        say(f"{moved} messages will have version {campaign.template_version}; {campaign.key} is {campaign.state}.")


@commands.command("test")
def send_test(
    key: Key,
    to: Annotated[str, typer.Option(help="An email address or number of your own.")],
    channel: Annotated[Channel, typer.Option(help="email or sms; postcards are looked at on the launch page.")],
    customer: Annotated[str, typer.Option(help="Whose message; empty: the first recipient's.")] = "",
) -> None:
    """Send one recipient's message to an address of your own; it is no part of the campaign."""
    with transaction() as session:
        campaign = lifecycle.find(session, key)
        address = trial_sends.check_address(channel, to)
        if customer:
            number = samples.numbered(session, customer)
            chosen = samples.person(session, campaign=campaign, customer_id=number).customer_id
        elif people := samples.people(session, campaign=campaign, each=1):
            chosen = people[0].customer_id
        else:
            raise Conflict("Nobody is in the audience of this campaign yet.")
    actor = terminal_actor().name
    outcome = trial_sends.send_trial(key, customer_id=chosen, channel=channel, address=address, actor=actor)
    say(f"{channel} to {address}: {outcome}")
    if not outcome.startswith("accepted"):
        raise typer.Exit(1)


@unknown_commands.command("list")
def list_unknown(limit: Annotated[int, typer.Option(min=1, max=1000)] = 100, as_json: AsJson = False) -> None:
    """List messages of unknown outcome, oldest first."""
    with transaction() as session:
        rows = [dataclasses.asdict(found) for found in unknowns.list_unknown(session, limit=limit)]
    columns = ("message_id", "campaign", "notice_class", "channel", "customer", "since")
    print_rows(rows, columns, as_json=as_json)


@unknown_commands.command()
def resolve(
    message: Annotated[UUID, typer.Argument(help="The message's id.")],
    decision: Annotated[unknowns.Decision, typer.Argument(help="What you decide.")],
) -> None:
    """Settle a message: it was accepted, send it again, or give it up."""
    with transaction() as session:
        unknowns.resolve(
            session, message_id=message, decision=decision, actor=terminal_actor().name, now=clock.now(session)
        )
    say(f"{message}: {decision}")
