"""More room in the pages of messages, so that a chunk that is sent whole is updated in place"""

from alembic import op

revision = "0070"
down_revision = "0060"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change; pages that are written from now on leave the room."""
    op.execute("ALTER TABLE messages SET (fillfactor = 40)")


def downgrade() -> None:
    """Undo the change."""
    op.execute("ALTER TABLE messages SET (fillfactor = 50)")
