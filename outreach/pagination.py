"""Lists in pages: `?limit=&after=`, newest first, where `after` is the `next` of the page before."""

from typing import Any, Generic, TypeVar

from pydantic import BaseModel, Field
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

Row = TypeVar("Row")
Model = TypeVar("Model")


class Page(BaseModel):
    """Which part of a list is wanted; `after` is the id of the last row of the page before."""

    limit: int = Field(default=50, ge=1, le=200)
    after: int | None = Field(default=None, ge=1, le=2**63 - 1)


class Listing(BaseModel, Generic[Row]):
    """One page of a list; `next` is null on the last one."""

    items: list[Row]
    next: int | None = None


def fetch_page(
    session: Session, query: Select[Model], key: InstrumentedAttribute[int], page: Page
) -> tuple[list[Model], int | None]:
    """Return the rows of one page, newest first, and where the next one starts.

    By key instead of by offset: rows that arrive meanwhile neither repeat nor hide others.
    """
    if page.after is not None:
        query = query.where(key < page.after)
    rows: list[Model] = list(session.scalars(query.order_by(key.desc()).limit(page.limit + 1)))
    more = len(rows) > page.limit
    rows = rows[: page.limit]
    last: Any = getattr(rows[-1], key.key) if more else None
    return rows, last
