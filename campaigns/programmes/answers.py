"""From programmes to what routes and commands answer."""

from sqlalchemy.orm import Session

from campaigns.programmes import verbs
from campaigns.programmes.schemas import ProgrammeOut
from outreach.models import Programme, Segment


def shown(session: Session, programme: Programme) -> ProgrammeOut:
    """Return what is told of a programme."""
    segment = session.get(Segment, programme.segment_id) if programme.segment_id else None
    return ProgrammeOut(
        key=programme.key,
        name=programme.name,
        kind=programme.kind,
        state=programme.state,
        segment=segment.key if segment else None,
        version=programme.current_version,
        definition=verbs.definition_of(session, programme).model_dump(mode="json"),
        created_by=programme.created_by,
        created_at=programme.created_at,
        activated_at=programme.activated_at,
    )
