"""What each message cost when it was handed over: by segments and by size, at the prices of that day"""

from alembic import op

revision = "0150"
down_revision = "0133"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.execute("ALTER TABLE messages ADD COLUMN cost integer")


def downgrade() -> None:
    """Undo the change."""
    op.execute("ALTER TABLE messages DROP COLUMN cost")
