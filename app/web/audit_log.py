"""The audit log: who changed what and when, and whether the chain of entries is whole."""

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import HTMLResponse, Response

from app.web.forms import address_of
from app.web.layout import page
from app.web.remembered import remembered
from outreach import audit
from outreach.doors import SessionDep, requires
from outreach.permissions import Actor, Permission

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Reader = Annotated[Actor, Depends(requires(Permission.AUDIT_READ))]
Word = Annotated[str, Query(max_length=200)]

# What a subject names, and the page that shows it.
_PAGES = {
    "problem": "/problems/",
    "campaign": "/campaigns/",
    "suppression": "/suppressions/",
    "segment": "/segments/",
    "playbook": "/playbooks/",
    "connector": "/connectors/",
    "subscriber": "/webhooks-out/",
}


@router.get("/audit")
def board(
    request: Request,
    session: SessionDep,
    actor: Reader,
    by: Word = "",
    action: Word = "",
    subject: Word = "",
    after: Annotated[int | None, Query(ge=1, le=2**62)] = None,
) -> Response:
    """List entries, newest first."""
    asked = {"by": by.strip(), "action": action.strip(), "subject": subject.strip()}
    rows, following = audit.entries(
        session, actor=asked["by"], action=asked["action"], subject=asked["subject"], before=after
    )
    return page(
        request, session, actor, "audit/board.html", rows=[(row, page_of(row.subject)) for row in rows],
        following=following, asked=asked, query=address_of(**asked),
    )  # fmt: skip


@router.get("/audit/chain")
def check_chain(request: Request, session: SessionDep, actor: Reader) -> Response:
    """Tell whether any entry was altered or removed."""
    complaints = remembered(("audit chain",), lambda: audit.verify_chain(session))
    return page(request, session, actor, "audit/chain.html", complaints=complaints)


@router.get("/audit/{entry_id}")
def show(
    request: Request, session: SessionDep, actor: Reader, entry_id: Annotated[int, Path(ge=1, le=2**62)]
) -> Response:
    """Show one entry whole."""
    entry = audit.find(session, entry_id)
    return page(request, session, actor, "audit/entry.html", entry=entry, leads_to=page_of(entry.subject))


def page_of(subject: str) -> str:
    """Return the page of what an entry is about, or nothing."""
    kind, _, key = subject.partition(":") if ":" in subject else ("campaign", "", subject)
    if ":" not in subject and not re.fullmatch(r"C-\d+", subject):
        return ""
    return _PAGES[kind] + key if kind in _PAGES and key.replace("-", "").replace("_", "").isalnum() else ""
