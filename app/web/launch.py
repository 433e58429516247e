"""Before a campaign goes out: what people would read, whom it reaches at what cost, what to look at, the approval."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.web.forms import Mistake, Sent, SentForm, attempt, read, see_other
from app.web.layout import page
from app.web.remembered import forget, remembered
from campaigns import (
    channel_plan,
    editing,
    forecast,
    lifecycle,
    postcard_proofs,
    preflight,
    proofs,
    samples,
    scheduling,
    trial_sends,
    wording,
)
from campaigns.channel_plan import Urgency
from campaigns.classes import policy
from campaigns.postcard_sizes import SIZES
from campaigns.proofs import ProofFile
from campaigns.rendering import Rendered
from campaigns.schemas import CampaignIn
from outreach import clock, problems
from outreach.doors import SessionDep, requires
from outreach.errors import Conflict, InvalidInput, NotFound
from outreach.models import Campaign, Problem, Template
from outreach.permissions import Actor, Permission
from outreach.settings import get_settings
from outreach.vocabulary import CampaignKind, CampaignState, Channel, Grade, NoticeClass
from segments import audiences

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_WRITE))]
Approver = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_APPROVE))]
Key = Annotated[str, Path(max_length=64)]
CustomerId = Annotated[int, Path(ge=1, le=2**62)]

TYPED_FROM = 100  # people; whoever approves more writes the number down
SAID = {
    "asked": "It waits for approval now. Nobody is told before.",
    "test": "The test is on its way; what became of it shows below in a moment.",
    "scheduled": "The start is set.",
    "words": "The campaign has the newest words.",
}
# What a message may load and do inside its frame: its own styles and pictures, nothing that runs.
MESSAGE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data: https:; font-src data:; "
    "form-action 'none'; frame-ancestors 'self'; base-uri 'none'; sandbox"
)


@router.get("/campaigns/{key}/launch")
def show(
    request: Request,
    session: SessionDep,
    actor: Reader,
    key: Key,
    customer: Annotated[str, Query(max_length=200)] = "",
    said: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """Show everything that matters before a launch."""
    return _launch_page(request, session, actor, key, customer=customer, said=SAID.get(said, ""))


@router.get("/campaigns/{key}/launch/checks")
def show_checks(request: Request, session: SessionDep, actor: Reader, key: Key) -> Response:
    """Return whom it reaches, at what cost, and the preflight list."""
    campaign, now = lifecycle.find(session, key), clock.now(session)
    expected = _forecast(session, campaign)
    found = remembered(
        ("checks", campaign.id, campaign.template_version, campaign.state, campaign.not_before),
        lambda: preflight.checks(session, campaign=campaign, forecast=expected, now=now),
    )
    return page(
        request, session, actor, "launch/checks.html", campaign=campaign, forecast=expected, checks=found,
        policy=policy(campaign.notice_class), typed_from=TYPED_FROM,
        needs_second=lifecycle.second_person_because(session, campaign),
    )  # fmt: skip


@router.get("/campaigns/{key}/launch/plans")
def show_plans(request: Request, session: SessionDep, actor: Reader, key: Key) -> Response:
    """Return what the plan and other plans are expected to reach and to cost."""
    campaign = lifecycle.find(session, key)
    found = remembered(
        ("plans", campaign.id),
        lambda: channel_plan.propose(session, campaign=campaign, budget_cents=None, urgency=Urgency.NORMAL),
    )
    return page(request, session, actor, "launch/plans.html", campaign=campaign, plan=found)


@router.get("/campaigns/{key}/message/{customer_id}/{part}")
def show_message(session: SessionDep, _: Reader, key: Key, customer_id: CustomerId, part: str) -> Response:
    """Return what one person would get (`email`, `front` or `back`), for a frame in which nothing runs."""
    campaign, now = lifecycle.find(session, key), clock.now(session)
    if part not in {"email", "front", "back"}:
        raise NotFound("There is no such part of a message.")
    channel = Channel.EMAIL if part == "email" else Channel.POSTCARD
    person = samples.person(session, campaign=campaign, customer_id=customer_id)
    made = samples.as_received(session, campaign=campaign, person=person, channel=channel, now=now)
    html = _part_of(made.rendered, part) if made.rendered else ""
    return HTMLResponse(html, headers={"Content-Security-Policy": MESSAGE_POLICY, "X-Frame-Options": "SAMEORIGIN"})


@router.get("/campaigns/{key}/proof/{customer_id}/{file}")
def show_proof(session: SessionDep, _: Reader, key: Key, customer_id: CustomerId, file: ProofFile) -> Response:
    """Return one person's postcard as it will be printed: both sides as PDF, or one as a picture."""
    campaign = lifecycle.find(session, key)
    person = samples.person(session, campaign=campaign, customer_id=customer_id)
    made = proofs.proof(session, campaign=campaign, person=person, file=file, now=clock.now(session))
    return Response(made, media_type=file.media_type)


@router.post("/campaigns/{key}/test")
def send_test(
    request: Request, session: SessionDep, actor: Writer, key: Key, sent: SentForm, background: BackgroundTasks
) -> Response:
    """Send one person's message to an address of our own."""
    campaign = lifecycle.find(session, key)
    with attempt(session) as tried:
        if sent.text("channel") not in set(Channel):
            raise InvalidInput("Choose a channel.", where="channel")
        channel = Channel(sent.text("channel"))
        address = trial_sends.check_address(channel, sent.text("address"))
        chosen = int(sent.text("person")) if sent.text("person").isdecimal() else 0
        samples.person(session, campaign=campaign, customer_id=chosen)
    if tried.mistake:
        return _launch_page(request, session, actor, key, mistake=tried.mistake, sent=sent)
    background.add_task(
        trial_sends.send_trial, key, customer_id=chosen, channel=channel, address=address, actor=actor.name
    )
    return see_other(f"/campaigns/{key}/launch?said=test&customer=%23{chosen}")


@router.post("/campaigns/{key}/schedule")
def set_start(request: Request, session: SessionDep, actor: Writer, key: Key, sent: SentForm) -> Response:
    """Set when it may begin."""
    with attempt(session) as tried:
        campaign = lifecycle.find(session, key)
        moment = sent.moment("not_before")
        scheduling.schedule(session, campaign=campaign, not_before=moment, actor=actor.name, now=clock.now(session))
    if tried.mistake:
        return _launch_page(request, session, actor, key, mistake=tried.mistake, sent=sent)
    return see_other(f"/campaigns/{key}/launch?said=scheduled")


@router.post("/campaigns/{key}/words")
def use_newest_words(request: Request, session: SessionDep, actor: Approver, key: Key) -> Response:
    """Give whoever has not been written to yet the newest version of the words."""
    with attempt(session) as tried:
        campaign = lifecycle.find(session, key)
        session.refresh(campaign, with_for_update=True)
        editing.edit(session, campaign=campaign, actor=actor.name, now=clock.now(session))
        forget("figures", campaign.id)
        forget("moment", key)
    if tried.mistake:
        return _launch_page(request, session, actor, key, mistake=tried.mistake)
    return see_other(f"/campaigns/{key}/launch?said=words")


@router.post("/campaigns/{key}/approve")
def approve(request: Request, session: SessionDep, actor: Approver, key: Key, sent: SentForm) -> Response:
    """Let it run; a large one asks for the number of people."""
    with attempt(session) as tried:
        campaign = lifecycle.find(session, key)
        session.refresh(campaign, with_for_update=True)
        forget("forecast", campaign.id)
        expected = _forecast(session, campaign)
        typed = sent.text("people").replace(",", "").replace(" ", "")
        if expected.recipients >= TYPED_FROM and typed != str(expected.recipients):
            raise InvalidInput(
                f"Type in how many people it goes to: {expected.recipients:,}. Nothing has been sent.", where="people"
            )
        lifecycle.approve(session, campaign=campaign, actor=actor.name, now=clock.now(session))
    if tried.mistake:
        return _launch_page(request, session, actor, key, mistake=tried.mistake, sent=sent)
    return see_other(f"/campaigns/{key}?said=approved")


@router.get("/problems/{key}/campaigns/new")
def new_campaign(request: Request, session: SessionDep, actor: Writer, key: Key) -> Response:
    """Show the form of a campaign over the scope of a problem."""
    return _new_page(request, session, actor, problems.find(session, key), Sent())


@router.post("/problems/{key}/campaigns/new")
def ask(request: Request, session: SessionDep, actor: Writer, key: Key, sent: SentForm) -> Response:
    """Write a plan down and ask for its approval."""
    problem, opened = problems.find(session, key), ""
    with attempt(session) as tried:
        given: dict[str, object] = {**sent.fields("name", "kind", "notice_class", "template_key")}
        given |= {"problem": key, "ladder": read_ladder(sent), "grades": sent.texts("grades")}
        given |= {name: moment for name in ("not_before", "not_after") if (moment := sent.moment(name))}
        plan = read(CampaignIn, given)
        scope = audiences.scope_of(session, problem_id=problem.id)
        if scope is None:
            raise Conflict(f"Problem {key} has no scope yet; say first whom it touches.")
        campaign = lifecycle.open_campaign(
            session, name=plan.name, kind=plan.kind, notice_class=plan.notice_class, template_key=plan.template_key,
            ladder=[step.model_dump(mode="json", exclude_none=True) for step in plan.ladder], grades=plan.grades,
            segment_id=scope.id, problem_id=problem.id, not_before=plan.not_before, not_after=plan.not_after,
            author=actor.name, now=clock.now(session),
        )  # fmt: skip
        opened = campaign.key
    if tried.mistake:
        return _new_page(request, session, actor, problem, sent, tried.mistake)
    return see_other(f"/campaigns/{opened}/launch?said=asked")


def read_ladder(sent: Sent) -> list[dict[str, object]]:
    """Return the channels that were ticked, in their order, each with its waiting time."""
    places = sorted((sent.text(f"place_{channel}") or "9", list(Channel).index(channel)) for channel in Channel)
    steps: list[dict[str, object]] = []
    for _, number in places:
        channel = list(Channel)[number]
        if not sent.text(f"use_{channel}"):
            continue
        hours = sent.text(f"after_{channel}")
        after: dict[str, object] = {"after_hours": hours} if hours and steps else {}
        steps.append({"channel": channel.value, **after})
    return steps


def _forecast(session: Session, campaign: Campaign) -> forecast.Forecast:
    return remembered(("forecast", campaign.id), lambda: forecast.forecast(session, campaign=campaign))


def _part_of(rendered: Rendered, part: str) -> str:
    return (rendered.back if part == "back" else rendered.html) or ""


def _launch_page(
    request: Request,
    session: Session,
    actor: Actor,
    key: str,
    *,
    customer: str = "",
    said: str = "",
    mistake: Mistake | None = None,
    sent: Sent | None = None,
) -> Response:
    campaign, now = lifecycle.find(session, key), clock.now(session)
    people = samples.people(session, campaign=campaign)
    chosen = people[0] if people else None
    try:
        if customer.startswith("#") and customer[1:].isdecimal():
            chosen = samples.person(session, campaign=campaign, customer_id=int(customer[1:18]))
        elif customer:
            number = samples.numbered(session, customer)
            chosen = samples.person(session, campaign=campaign, customer_id=number)
    except InvalidInput as error:
        mistake = mistake or Mistake(error.message, error.where)
    channels = [Channel(step["channel"]) for step in campaign.ladder]
    received = {}
    if chosen is not None:
        for channel in channels:
            made = samples.as_received(session, campaign=campaign, person=chosen, channel=channel, now=now)
            received[channel.value] = made
    return page(
        request,
        session,
        actor,
        "launch/page.html",
        status=422 if mistake else 200,
        campaign=campaign,
        problem=session.get(Problem, campaign.problem_id) if campaign.problem_id else None,
        waiting=campaign.state is CampaignState.WAITING_APPROVAL,
        people=people,
        chosen=chosen,
        channels=channels,
        received=received,
        prices={channel.value: price for channel, price in get_settings().cents_per_message().items()},
        card_prices=get_settings().postcard_cents(),
        trials=trial_sends.newest(session, campaign.key),
        newest_version=wording.newest_version(session, campaign.template_key) or 0,
        editable=campaign.state in editing.EDITABLE,
        drawn=postcard_proofs.available(),
        sizes=SIZES,
        said=said,
        mistake=mistake,
        sent=sent or Sent(),
    )


def _new_page(
    request: Request, session: Session, actor: Actor, problem: Problem, sent: Sent, mistake: Mistake | None = None
) -> Response:
    keys = session.scalars(select(Template.key).distinct().order_by(Template.key)).all()
    return page(
        request,
        session,
        actor,
        "launch/new.html",
        status=422 if mistake else 200,
        problem=problem,
        sent=sent,
        mistake=mistake,
        template_keys=keys,
        kinds=[kind for kind in CampaignKind if kind not in {CampaignKind.CHECK_IN, CampaignKind.SURVEY}],
        classes=tuple(NoticeClass),
        told=(Grade.AFFECTED, Grade.LIKELY, Grade.INCOMING),
        has_scope=audiences.scope_of(session, problem_id=problem.id) is not None,
    )
