"""Bodies of webhooks come compressed: how long they are uncompressed, and no second try by the database"""

from alembic import op

revision = "0133"
down_revision = "0132"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.execute("""
        ALTER TABLE inbound_events ADD COLUMN body_bytes bigint, ALTER COLUMN body SET STORAGE EXTERNAL""")


def downgrade() -> None:
    """Undo the change: what is stored compressed stays so, and an older Outreach cannot read it."""
    op.execute("""
        ALTER TABLE inbound_events DROP COLUMN body_bytes, ALTER COLUMN body SET STORAGE EXTENDED""")
