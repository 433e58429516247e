"""The proof of a campaign's postcard for one recipient: her words, her address, the card as it will be printed."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy.orm import Session

from campaigns import postcard_proofs, samples
from campaigns.postcard_proofs import Side
from campaigns.rendering import Rendered
from campaigns.samples import Person
from outreach.errors import Conflict
from outreach.models import Campaign
from outreach.vocabulary import Channel


class ProofFile(StrEnum):
    """What a proof can be had as."""

    PDF = "proof.pdf"
    FRONT = "front.png"
    BACK = "back.png"

    @property
    def media_type(self) -> str:
        """Its content type."""
        return "application/pdf" if self is ProofFile.PDF else "image/png"


def proof(session: Session, *, campaign: Campaign, person: Person, file: ProofFile, now: datetime) -> bytes:
    """Return one file of a proof; raises `Conflict` where this card cannot be made, `Unavailable` without Pango."""
    made = samples.as_received(session, campaign=campaign, person=person, channel=Channel.POSTCARD, now=now)
    if made.rendered is None:
        raise Conflict(made.why or "This postcard cannot be made.")
    front, back = sides(made.rendered, person)
    if file is ProofFile.PDF:
        return postcard_proofs.as_pdf([front, back])
    return postcard_proofs.as_png(front if file is ProofFile.FRONT else back)


def sides(rendered: Rendered, person: Person) -> tuple[Side, Side]:
    """Return both sides of one person's card, with her address where the post prints it."""
    row, size = person.row, rendered.size or "4x6"
    place = " ".join(filter(None, (row["city"] and f"{row['city']},", row["region"], row["postal_code"])))
    lines = (person.name, row["address_line1"], row["address_line2"], place)
    address = tuple(line for line in lines if line) or ("(no postal address)",)
    return Side(rendered.html or "", size), Side(rendered.back or "", size, address)
