"""Import in the browser: one CSV or JSON lines file with the standard headers; what is larger goes by the command."""

import csv
import tempfile
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy.orm import Session
from starlette.datastructures import UploadFile

from app.web.forms import Mistake
from app.web.layout import page
from outreach.doors import SessionDep, requires
from outreach.errors import InvalidInput, OutreachError
from outreach.imports import KINDS, ImportReport, run_import
from outreach.permissions import Actor, Permission

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
Importer = Annotated[Actor, Depends(requires(Permission.IMPORTS_RUN))]

MOST_BYTES = 20 * 1024 * 1024
# Read as they come; what is packed could unfold to any size, and Parquet takes a process of its own.
ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson")
SHOWN_REJECTS = 50
HEADERS = {
    "customers": ("customer_id", "name", "email", "phone", "country", "…"),
    "products": ("product_id", "name", "category"),
    "orders": ("order_id", "customer_id", "status", "ordered_at", "delivered_at", "…"),
    "items": ("item_id", "order_id", "product_id", "lot", "serial", "…"),
    "tickets": ("ticket_id", "customer_id", "requester_email", "subject", "body", "…"),
    "events": ("event_id", "customer_id", "name", "occurred_at"),
}


class Upload:
    """The file that was sent, and how it is to be read."""

    def __init__(self, name: str, content: bytes, kind: str, *, dry_run: bool) -> None:
        self.name, self.content, self.kind, self.dry_run = name, content, kind, dry_run


async def uploaded(request: Request) -> Upload:
    """Read the file of a form; whether it can be used is said on the page."""
    form = await request.form()
    file = form.get("file")
    name, content = "", b""
    if isinstance(file, UploadFile):
        name, content = file.filename or "", await file.read()
        await file.close()
    return Upload(name, content, str(form.get("kind") or ""), dry_run=bool(form.get("dry_run")))


@router.get("/import")
def show(request: Request, session: SessionDep, actor: Importer) -> Response:
    """Show how customers, orders and tickets come in."""
    return _import_page(request, session, actor)


@router.post("/import")
def bring_in(
    request: Request, session: SessionDep, actor: Importer, sent: Annotated[Upload, Depends(uploaded)]
) -> Response:
    """Import one file, in a transaction of its own; a dry run undoes it."""
    try:
        report, rejects = _run(sent, actor)
    except OutreachError as error:
        if error.status >= 500:
            raise
        return _import_page(request, session, actor, mistake=Mistake(error.message, error.where))
    return _import_page(request, session, actor, report=report, rejects=rejects, name=sent.name)


def _run(sent: Upload, actor: Actor) -> tuple[ImportReport, list[list[str]]]:
    ending = Path(sent.name).suffix.lower()
    if not sent.content:
        raise InvalidInput("Choose a file; this one is empty.", where="file")
    if ending not in ENDINGS:
        raise InvalidInput(f"The file must end with one of {', '.join(ENDINGS)}.", where="file")
    if len(sent.content) > MOST_BYTES:
        raise InvalidInput("Larger files are imported by the command below.", where="file")
    kind = sent.kind if sent.kind in KINDS else None
    with tempfile.TemporaryDirectory(prefix="outreach-import-") as folder:
        # Only the ending of the name is theirs; what it says of the content is read before.
        stem = "".join(sign for sign in Path(sent.name).stem if sign.isalnum() or sign in "-_")[:60] or "upload"
        source, rejects = Path(folder) / f"{stem}{ending}", Path(folder) / "rejects.csv"
        source.write_bytes(sent.content)
        report = run_import(source, kind=kind, dry_run=sent.dry_run, rejects=rejects, actor=actor.name)
        refused: list[list[str]] = []
        if report.rejects:
            with report.rejects.open(encoding="utf-8", newline="") as listed:
                refused = list(islice(csv.reader(listed), SHOWN_REJECTS + 1))
    return report, refused


def _import_page(
    request: Request, session: Session, actor: Actor, *, mistake: Mistake | None = None, **values: Any
) -> Response:
    shown: dict[str, Any] = {"report": None, "rejects": [], "name": "", **values}
    return page(
        request, session, actor, "first_run/import.html", status=422 if mistake else 200, mistake=mistake,
        kinds=HEADERS, endings=ENDINGS, megabytes=MOST_BYTES // 1024**2, **shown,
    )  # fmt: skip
