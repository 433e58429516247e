"""The tickets linked to a problem hear of its changes at the desk, as the playbook says: a note, a reply, or solved.

Each ticket once per change of the problem. A note for the agents goes at once; what the customer reads (a reply,
solving) waits until the campaign of the same playbook is approved. Tickets opened after the change are left alone:
they are about what came later.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach import clock
from outreach.settings import get_settings
from webhooks import connectors, triggers
from webhooks.connectors import Desk

ACTIONS = ("note", "reply", "solve")

_OWED = text("""
SELECT 'update:' || u.id || ':ticket:' || t.id AS key, t.desk, t.external_id AS reference,
       b.ticket_action AS action, b.ticket_comment AS words,
       p.key AS problem_key, p.title, p.workaround, p.fix, p.next_update_by
FROM problem_updates u
JOIN problems p ON p.id = u.problem_id
JOIN playbooks b ON b.trigger = u.to_state AND b.active AND b.ticket_action IS NOT NULL AND b.ticket_comment <> ''
  AND (b.since IS NULL OR u.at >= b.since)
JOIN tickets t ON t.problem_id = p.id AND t.solved_at IS NULL AND t.opened_at <= u.at
WHERE u.id IN (SELECT max(id) FROM problem_updates WHERE to_state IS NOT NULL GROUP BY problem_id)
  AND t.external_id IS DISTINCT FROM p.desk_reference
  AND (b.ticket_action = 'note' OR EXISTS (SELECT 1 FROM campaigns c WHERE c.opened_by = u.id AND c.playbook_id = b.id
                                           AND c.approved_at IS NOT NULL))
  AND NOT EXISTS (SELECT 1 FROM desk_actions a WHERE a.key = 'update:' || u.id || ':ticket:' || t.id)
ORDER BY u.id, t.id LIMIT :most
""")
_UNLINKED = text("""
SELECT p.key, p.title, p.desk, p.desk_reference FROM problems p
WHERE p.desk = ANY(:desks) AND p.desk_reference IS NOT NULL AND p.known_at IS NOT NULL
  AND NOT EXISTS (SELECT 1 FROM desk_actions a WHERE a.key = 'link:' || p.key)
""")


def owe(session: Session, *, most: int = 2000) -> int:
    """Note what the desks are to be told of problems that changed; returns how many actions are new."""
    desks = {desk.key: desk for desk in connectors.all_desks(session) if desk.enabled}
    now, added = clock.now(session), 0
    for row in session.execute(_OWED, {"most": most}).all():
        desk = connectors.answering(session, row.desk) if row.desk in desks else None
        if desk is None:
            continue
        payload = {
            "reference": row.reference,
            "body": fill(row.words, row, now),
            "public": row.action == "reply",
        }
        triggers.owe(session, desk, [("solve" if row.action == "solve" else "comment", row.key, payload)])
        added += 1
    return added + _links(session, [desk for desk in desks.values() if desk.link_back and desk.client() is not None])


def fill(words: str, about: Any, now: datetime) -> str:
    """Return the operator's words with `{title}`, `{workaround}`, `{fix}`, `{next_update_by}` and `{key}` filled in."""
    due = about.next_update_by
    known = {
        "title": about.title,
        "key": about.problem_key,
        "workaround": about.workaround or "",
        "fix": about.fix or "",
        "next_update_by": f"{due:%d %B %Y, %H:%M} UTC" if due is not None and due > now else "",
    }
    for name, value in known.items():
        words = words.replace("{" + name + "}", value)
    return words.strip()


def _links(session: Session, desks: list[Desk]) -> int:
    by_key = {desk.key: desk for desk in desks}
    rows = session.execute(_UNLINKED, {"desks": list(by_key)}).all() if by_key else []
    for row in rows:
        url = f"{get_settings().public_url.rstrip('/')}/problems/{row.key}"
        payload = {"reference": row.desk_reference, "url": url, "title": f"Outreach: {row.key} {row.title}"}
        triggers.owe(session, by_key[row.desk], [("link", f"link:{row.key}", payload)])
    return len(rows)
