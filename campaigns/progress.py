"""How far a campaign is, counted from its rows."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach.models import Campaign

_NOTICES = text("SELECT state, count(*) AS total FROM notices WHERE campaign_id = :id GROUP BY state")

# One word per message: what the provider says where it said something, else what we did with it.
_MESSAGES = text("""
SELECT channel, CASE WHEN send_state = 'accepted' THEN coalesce(delivery, 'accepted') ELSE send_state END AS word,
       count(*) AS total
FROM messages WHERE campaign_id = :id GROUP BY 1, 2 ORDER BY 1, 2
""")


def progress(session: Session, *, campaign: Campaign) -> tuple[dict[str, int], dict[str, dict[str, int]]]:
    """Return notices by state, and messages by channel and word."""
    notices = {row.state: row.total for row in session.execute(_NOTICES, {"id": campaign.id})}
    messages: dict[str, dict[str, int]] = {}
    for row in session.execute(_MESSAGES, {"id": campaign.id}):
        messages.setdefault(row.channel, {})[row.word] = row.total
    return notices, messages
