"""The words that operators write: a template is a key with versions, each version its words per channel and language.

A version never changes. Whoever edits one piece makes the next version, which takes over all others as they are, so
that a campaign of several channels finds words for each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from campaigns.envelopes import content_of
from campaigns.previews import Preview, example_context, preview
from campaigns.rendering import Content
from outreach import audit
from outreach.errors import Conflict, InvalidInput, NotFound
from outreach.models import Template
from outreach.vocabulary import Channel

MOST_CHARACTERS = 20_000
_LOCK = 7390
_SURVEY_LINKS = ("survey", *(f"score_{score}" for score in range(11)))


@dataclass(frozen=True, slots=True)
class Line:
    """One template in the list: its newest version, and how many campaigns that have not ended use the key."""

    key: str
    version: int
    channels: list[str]
    languages: list[str]
    author: str
    changed_at: datetime
    in_use: int


_LINES = text("""
SELECT t.key, t.version, array_agg(DISTINCT t.channel), array_agg(DISTINCT t.language), max(t.author),
       max(t.created_at),
       (SELECT count(*) FROM campaigns c WHERE c.template_key = t.key
        AND c.state IN ('draft', 'waiting_approval', 'running', 'paused')) AS in_use
FROM templates t JOIN (SELECT key, max(version) AS version FROM templates GROUP BY key) newest USING (key, version)
GROUP BY t.key, t.version ORDER BY t.key LIMIT 500
""")


def lines(session: Session) -> list[Line]:
    """Return every template with its newest version."""
    return [Line(*row) for row in session.execute(_LINES)]


def newest_version(session: Session, key: str) -> int | None:
    """Return the number of a template's newest version; none where there is no such template."""
    return session.scalar(select(func.max(Template.version)).where(Template.key == key))


def pieces(session: Session, key: str, version: int | None = None) -> Sequence[Template]:
    """Return the words of one version, the newest unless told, by channel and language; raises `NotFound`."""
    wanted = select(Template).where(Template.key == key, Template.version == (version or newest_version(session, key)))
    places = {channel: place for place, channel in enumerate(Channel)}
    found = sorted(session.scalars(wanted), key=lambda row: (places[row.channel], row.language))
    if not found:
        raise NotFound(f"There is no template {key!r}" + (f" in version {version}." if version else "."))
    return found


def versions(session: Session, key: str, *, most: int = 30) -> list[tuple[int, str, datetime]]:
    """Return the newest versions: number, author, when."""
    query = (
        select(Template.version, func.max(Template.author), func.max(Template.created_at))
        .where(Template.key == key)
        .group_by(Template.version)
        .order_by(Template.version.desc())
        .limit(most)
    )
    return [(row[0], row[1], row[2]) for row in session.execute(query)]


def save(session: Session, *, key: str, changed: Content, based_on: int | None, actor: str, now: datetime) -> int:
    """Make the next version of a template with one piece changed or added, and return its number.

    `based_on` is the version that was edited: none for a key that is new. Raises `InvalidTemplate` for words that
    could never be sent, and `Conflict` when somebody saved another version meanwhile.
    """
    check(changed)
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    newest = newest_version(session, key)
    if newest != based_on:
        raise Conflict(
            f"There is a version {newest} of {key} by now; look at it, then edit that one."
            if newest
            else f"There is no template {key!r} any more."
        )
    kept = [content_of(row) for row in pieces(session, key)] if newest else []
    place = (changed.channel, changed.language)
    for content in [*(each for each in kept if (each.channel, each.language) != place), changed]:
        session.add(
            Template(
                key=key, version=(newest or 0) + 1, channel=content.channel, language=content.language,
                subject=content.subject, body=content.body, back=content.back, author=actor, created_at=now,
            )
        )  # fmt: skip
    session.flush()
    detail = {"version": (newest or 0) + 1, "channel": changed.channel.value, "language": changed.language}
    audit.record(session, actor=actor, action="template.save", subject=f"template:{key}", detail=detail, now=now)
    return (newest or 0) + 1


def check(content: Content) -> None:
    """Raise `InvalidInput` or `InvalidTemplate` for words that could never be sent, naming what is wrong."""
    for name in ("subject", "body", "back"):
        if len(getattr(content, name) or "") > MOST_CHARACTERS:
            raise InvalidInput(f"At most {MOST_CHARACTERS:,} characters.", where=name)
    if content.channel is Channel.POSTCARD and not content.back:
        raise InvalidInput("A postcard has a back as well.", where="back")
    shown(content)


def shown(content: Content) -> Preview:
    """Return what words look like with example facts; raises `InvalidTemplate` naming what is not among the facts."""
    facts = example_context()
    facts["survey"] = {"question": "How satisfied are you with our answer?", "low": "1", "high": "5"}
    facts["links"] |= {name: f"https://care.example.com/s/{name}" for name in _SURVEY_LINKS}
    return preview(content, facts | {"orders": []})
