"""How often the protocol had to catch something: written when it happens, read by the metrics."""

from sqlalchemy import text
from sqlalchemy.orm import Session

_ADD = text("""
INSERT INTO sending_counts (name, total) VALUES (:name, :number)
ON CONFLICT (name) DO UPDATE SET total = sending_counts.total + EXCLUDED.total
""")


def count(session: Session, name: str, number: int) -> None:
    """Add `number` to a count; nothing for nothing."""
    if number:
        session.execute(_ADD, {"name": name, "number": number})
