"""What the pages of looking after an installation show: rows of each kind, in which others wrote hostile words."""

from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach import audit, clock, operators
from outreach.permissions import Permission, person_at_the_terminal

ROWS = (
    """INSERT INTO suppressions (channel, address, reason, source) SELECT 'email', 'gone.' || i || '@example.com',
       CASE i % 3 WHEN 0 THEN 'complaint' WHEN 1 THEN 'hard_bounce' ELSE 'stop' END, 'sendgrid'
       FROM generate_series(1, 60) i""",
    "INSERT INTO suppressions (channel, address, reason, source) VALUES ('sms', :words, 'manual', :words)",
    """INSERT INTO inbound_events (source, key, body, state, error) VALUES
       ('desk-care', :words, convert_to(:words, 'UTF8'), 'dead', :words),
       ('desk-care', 'second', convert_to('{"type": "ticket.created", "data": {}}', 'UTF8'), 'applied', NULL)""",
    """INSERT INTO connectors (key, kind, name, mapping, options, last_error, last_error_at)
       VALUES ('care', 'generic', :words, '{}', '{}', :words, now())""",
    """INSERT INTO subscribers (name, url, events, created_by)
       VALUES (:words, 'https://example.com/hook', '["problem.known"]', 'test')""",
    """INSERT INTO outgoing_events (kind, data)
       VALUES ('problem.known', jsonb_build_object('title', cast(:words AS text)))""",
    """INSERT INTO outgoing_deliveries (subscriber_id, event_id, state, tries, attempts)
       SELECT s.id, e.id, 'failed', 1,
              jsonb_build_array(jsonb_build_object('said', cast(:words AS text), 'status', 500))
       FROM subscribers s, outgoing_events e""",
    """INSERT INTO sending_stops (channel, reason, stopped_by) VALUES ('postcard', :words, 'test')""",
)


def look_after(session: Session, words: str) -> None:
    """Add rows of each kind, for a problem and a campaign that are there."""
    for statement in ROWS:
        session.execute(text(statement), {"words": words} if ":words" in statement else {})
    now = clock.now(session)
    actor = person_at_the_terminal("test")
    operators.create_api_key(session, name=words[:150], permissions=[Permission.PROBLEMS_READ], actor=actor, now=now)
    audit.record(session, actor=words, action="problem.report", subject=words, detail={"words": [words]}, now=now)


def an_unknown_message(session: Session) -> None:
    """Leave one message of the campaign in doubt."""
    session.execute(
        text("""WITH one AS (SELECT id, chunk_id FROM messages ORDER BY id LIMIT 1), made AS (
                    INSERT INTO attempts (chunk_id, fence, provider, message_ids, state, leased_until)
                    SELECT chunk_id, 1, 'sendgrid', ARRAY[id], 'unknown', now() FROM one RETURNING id)
                UPDATE messages m SET send_state = 'unknown', attempt_id = made.id, provider = 'sendgrid'
                FROM one, made WHERE m.id = one.id""")
    )
