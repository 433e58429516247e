"""Templates: the words of each channel and language, their versions, and the editor with its preview."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session

from app.web.forms import Mistake, Sent, SentForm, attempt, see_other
from app.web.launch import MESSAGE_POLICY
from app.web.layout import page
from campaigns import wording
from campaigns.envelopes import content_of
from campaigns.previews import Preview
from campaigns.rendering import Content, Rendered
from outreach import clock
from outreach.doors import SessionDep, requires
from outreach.errors import InvalidInput, NotFound, OutreachError
from outreach.models import Template
from outreach.permissions import Actor, Permission
from outreach.vocabulary import Channel

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_READ))]
Writer = Annotated[Actor, Depends(requires(Permission.CAMPAIGNS_WRITE))]
Key = Annotated[str, Path(max_length=64)]
Language = Annotated[str, Query(max_length=20)]
PARTS = {Channel.EMAIL: ("email",), Channel.POSTCARD: ("front", "back"), Channel.SMS: ()}

SAID = {"saved": "Saved as a new version. Campaigns that run keep the version they have until somebody moves them."}


@router.get("/templates")
def board(request: Request, session: SessionDep, actor: Reader) -> Response:
    """List the templates."""
    return page(request, session, actor, "templates/board.html", rows=wording.lines(session))


@router.get("/templates/new")
def new(request: Request, session: SessionDep, actor: Writer) -> Response:
    """Show the editor for a template that is not there yet."""
    return _editor(request, session, actor, None, Content(Channel.EMAIL, "", ""), None)


@router.get("/templates/{key}")
def show(
    request: Request,
    session: SessionDep,
    actor: Reader,
    key: Key,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1)] = None,
    said: Annotated[str, Query(max_length=20)] = "",
) -> Response:
    """Show one version as people would read it."""
    rows = wording.pieces(session, key, version)
    return page(
        request, session, actor, "templates/template.html", key=key, version=rows[0].version, parts_of=PARTS,
        rows=[(row, *_tried(content_of(row))) for row in rows], versions=wording.versions(session, key),
        said=SAID.get(said, ""),
    )  # fmt: skip


@router.get("/templates/{key}/edit")
def edit(
    request: Request, session: SessionDep, actor: Writer, key: Key, channel: Channel, language: Language = "en"
) -> Response:
    """Show the editor of one piece of the newest version, or of a piece that is new."""
    rows = wording.pieces(session, key)
    found = next((row for row in rows if (row.channel, row.language) == (channel, language)), None)
    content = content_of(found) if found else Content(channel, "", "", "", language)
    return _editor(request, session, actor, key, content, rows[0].version)


@router.post("/templates/save")
def save(request: Request, session: SessionDep, actor: Writer, sent: SentForm) -> Response:
    """Make the next version of a template from what stands in the editor."""
    based_on = sent.text("based_on")
    version = int(based_on) if based_on.isdecimal() and len(based_on) < 10 else None
    key = sent.text("key")
    with attempt(session) as tried:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", key) or key in {"new", "save", "preview"}:
            raise InvalidInput("Small letters, digits and dashes, such as filter-recall.", where="key")
        wording.save(
            session, key=key, changed=_content(sent), based_on=version, actor=actor.name, now=clock.now(session)
        )
    if tried.mistake:
        content = _content(sent, forgiving=True)
        return _editor(request, session, actor, key if version else None, content, version, tried.mistake, key)
    return see_other(f"/templates/{key}?said=saved")


@router.post("/templates/preview")
def preview(request: Request, session: SessionDep, actor: Reader, sent: SentForm) -> Response:
    """Return what the words in the editor come to, and what is wrong with them."""
    content = _content(sent, forgiving=True)
    found, mistake = _tried(content)
    return page(
        request, session, actor, "templates/preview.html", found=found, mistake=mistake, channel=content.channel
    )


@router.post("/templates/frame/preview")
def preview_frame(_: Reader, sent: SentForm) -> Response:
    """Return one part of what stands in the editor, for a frame in which nothing runs."""
    found, _mistake = _tried(_content(sent, forgiving=True))
    return _framed(found.rendered if found else None, sent.text("part"))


@router.get("/templates/{key}/{version}/{channel}/{language}/{part}")
def show_frame(
    session: SessionDep,
    _: Reader,
    key: Key,
    version: Annotated[int, Path(ge=1, le=2**31 - 1)],
    channel: Channel,
    language: Annotated[str, Path(max_length=20)],
    part: Annotated[str, Path(max_length=10)],
) -> Response:
    """Return one part of stored words (`email`, `front` or `back`), for a frame in which nothing runs."""
    row = _piece(session, key, version, channel, language)
    found, _mistake = _tried(content_of(row))
    return _framed(found.rendered if found else None, part)


def _piece(session: Session, key: str, version: int, channel: Channel, language: str) -> Template:
    for row in wording.pieces(session, key, version):
        if (row.channel, row.language) == (channel, language):
            return row
    raise NotFound("There are no such words.")


def _framed(rendered: Rendered | None, part: str) -> Response:
    html = ((rendered.back if part == "back" else rendered.html) or "") if rendered else ""
    return HTMLResponse(html, headers={"Content-Security-Policy": MESSAGE_POLICY, "X-Frame-Options": "SAMEORIGIN"})


def _tried(content: Content) -> tuple[Preview | None, Mistake | None]:
    try:
        return wording.shown(content), None
    except OutreachError as error:
        return None, Mistake(error.message, error.where)


def _content(sent: Sent, *, forgiving: bool = False) -> Content:
    """Read the editor; browsers send line ends as CR LF, templates keep LF."""
    given = sent.text("channel")
    if given not in set(Channel) and not forgiving:
        raise InvalidInput("Choose a channel.", where="channel")
    channel = Channel(given) if given in set(Channel) else Channel.EMAIL
    subject, body, back = (sent.text(name).replace("\r\n", "\n") for name in ("subject", "body", "back"))
    language = sent.text("language", "en")[:20] or "en"
    return Content(
        channel,
        subject if channel is Channel.EMAIL else None,
        body,
        back if channel is Channel.POSTCARD else None,
        language,
        "These words",
    )


def _editor(
    request: Request,
    session: Session,
    actor: Actor,
    key: str | None,
    content: Content,
    version: int | None,
    mistake: Mistake | None = None,
    typed_key: str = "",
) -> Response:
    return page(
        request, session, actor, "templates/editor.html", status=422 if mistake else 200, mistake=mistake, key=key,
        typed_key=typed_key, content=content, version=version, parts_of=PARTS, names=NAMES,
    )  # fmt: skip


# What the words may say, as an author looks it up; `campaigns.previews.example_context` has them all.
NAMES = {
    "customer": ("name", "first_name", "city", "external_id"),
    "problem": ("title", "summary", "workaround", "fix", "next_update_by"),
    "organisation": ("name", "postal_address"),
    "links": ("answer", "unsubscribe", "verify"),
}
