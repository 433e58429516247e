"""Whose messages cannot be made: the words name something that is not there, for so many people, these among them.

Rendering everybody before a launch would take minutes at a million. But whether what the words name is there depends on
few facts of a person: her grade, her language, the channels she has, which of the attributes in the words she lacks,
and whether she has items, orders and tickets. Who agrees in these is a group; one of each group is really rendered.
Words that read nothing of all that depend on grade and language only, which is asked in a fraction of the time.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from campaigns import samples
from campaigns.addresses import ADDRESSES
from campaigns.envelopes import DEFAULT_LANGUAGE
from campaigns.ladders import ladder_of
from campaigns.rendering import CompiledContent
from outreach.errors import OutreachError
from outreach.models import Campaign
from outreach.vocabulary import Channel, Grade

MOST_GROUPS = 300  # the largest; more of them would need more kinds of missing data than words can name
NAMED = 5

_LANGUAGE = """lower(split_part(replace(coalesce(c.locale, cast(:default_language AS text)), '_', '-'), '-', 1))"""
_MEMBERS = """FROM audience_members m JOIN customers c ON c.id = m.customer_id
    WHERE m.segment_id = :segment_id AND m.left_at IS NULL AND m.grade = ANY(:grades)"""
_KINDS = text(f"SELECT m.grade, {_LANGUAGE} AS language, min(c.id) AS one {_MEMBERS} GROUP BY 1, 2 LIMIT {MOST_GROUPS}")

# A JSON null is there: the words say nothing for it, like for a missing name.
_PEOPLE = f"""
    SELECT c.id, c.external_id, m.grade,
           {_LANGUAGE} AS language,
           ARRAY(SELECT path.place FROM jsonb_array_elements(cast(:paths AS jsonb)) WITH ORDINALITY path(steps, place)
                 WHERE c.attributes #> ARRAY(SELECT jsonb_array_elements_text(path.steps)) IS NULL) AS lacks,
           cardinality(m.evidence_items) > 0 AS items, cardinality(m.evidence_orders) > 0 AS orders,
           cardinality(m.evidence_tickets) > 0 AS tickets,
           ARRAY(SELECT a.channel FROM {ADDRESSES} a WHERE a.channel = ANY(:channels) ORDER BY a.channel) AS channels
    {_MEMBERS}"""
_FACTS = ("grade", "language", "lacks", "items", "orders", "tickets", "channels")
_GROUPS = text(f"""
SELECT {", ".join(_FACTS)}, count(*) AS people, min(id) AS one
FROM ({_PEOPLE}) people WHERE cardinality(channels) > 0
GROUP BY {", ".join(_FACTS)} ORDER BY people DESC, one LIMIT {MOST_GROUPS}
""")
# The group of one person, named by her: nothing of it has to be sent back and forth.
_NUMBERS = text(f"""
WITH people AS ({_PEOPLE})
SELECT external_id FROM people WHERE ({", ".join(_FACTS)}) = (SELECT {", ".join(_FACTS)} FROM people WHERE id = :one)
ORDER BY id LIMIT {NAMED}
""")


@dataclass(frozen=True, slots=True)
class Gap:
    """What cannot be made on one channel and why, for how many people; `numbers` are some of theirs."""

    channel: Channel
    why: str
    people: int
    numbers: tuple[str, ...]

    def __str__(self) -> str:
        """Say it to whoever has to correct the words or the data."""
        people = f"{self.people:,} people" if self.people > 1 else "one person"
        among = ", among them" if self.people > len(self.numbers) else ":"
        return f"{self.why} This concerns {people}{among} {', '.join(self.numbers)}."


def gaps(session: Session, *, campaign: Campaign, now: datetime) -> list[Gap]:
    """Return what cannot be made for whom, the most people first; reads only."""
    channels = [Channel(name) for name in ladder_of(campaign.ladder).channels]
    asked = {
        "segment_id": campaign.segment_id,
        "grades": [grade for grade in campaign.grades if grade != Grade.CLEARED],
        "channels": [channel.value for channel in channels],
        "default_language": DEFAULT_LANGUAGE,
    }
    words = list(_words_in(session, campaign, channels))
    attributes = _attributes_in(words)
    if not attributes and not _reads_evidence(words) and _made_for_all_kinds(session, campaign, channels, asked, now):
        return []
    asked["paths"] = json.dumps([list(path) for path in attributes])
    found: dict[tuple[Channel, str], list[Row[Any]]] = {}
    for group in session.execute(_GROUPS, asked).all():
        person = samples.person(session, campaign=campaign, customer_id=group.one)
        for channel in channels:
            if channel.value not in group.channels:
                continue
            made = samples.as_received(session, campaign=campaign, person=person, channel=channel, now=now)
            if made.why:
                found.setdefault((channel, made.why), []).append(group)
    told = [
        Gap(channel, why, sum(group.people for group in groups), _numbers(session, groups, asked))
        for (channel, why), groups in found.items()
    ]
    return sorted(told, key=lambda gap: -gap.people)


def _numbers(session: Session, groups: Sequence[Row[Any]], asked: dict[str, Any]) -> tuple[str, ...]:
    numbers: list[str] = []
    for group in groups:
        if len(numbers) < NAMED:
            numbers += session.scalars(_NUMBERS, {**asked, "one": group.one})
    return tuple(numbers[:NAMED])


def _made_for_all_kinds(
    session: Session, campaign: Campaign, channels: Sequence[Channel], asked: Mapping[str, Any], now: datetime
) -> bool:
    """Tell whether the words can be made for one person of each grade and language."""
    given = {name: asked[name] for name in ("segment_id", "grades", "default_language")}
    for kind in session.execute(_KINDS, given).all():
        person = samples.person(session, campaign=campaign, customer_id=kind.one)
        for channel in channels:
            if samples.as_received(session, campaign=campaign, person=person, channel=channel, now=now).why:
                return False
    return True


def _words_in(session: Session, campaign: Campaign, channels: Iterable[Channel]) -> Iterator[CompiledContent]:
    for channel in channels:
        try:
            yield from samples.words_of(session, campaign=campaign, channel=channel).values()
        except OutreachError:
            continue  # it cannot be read at all, which rendering says of everybody


def _attributes_in(words: Iterable[CompiledContent]) -> list[tuple[str, ...]]:
    """Return the steps to each of the customers' own attributes that the words name."""
    paths = {path for each in words for part in each.parts.values() for path in part.paths()}
    return sorted(path[2:] for path in paths if path[:2] == ("customer", "attributes") and len(path) > 2)


def _reads_evidence(words: Iterable[CompiledContent]) -> bool:
    """Tell whether the words read into a list, as `items[0].lot` does; a loop over it needs nothing."""
    return any(
        path.partition(".")[0] in {"items", "orders", "tickets"} and "." in path
        for each in words
        for path in each.variables()
    )
