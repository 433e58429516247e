"""Room in the pages of what changes in place: order items, and the members of audiences"""

from alembic import op

revision = "0120"
down_revision = "0100"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change; pages that are written from now on leave the room."""
    op.execute("ALTER TABLE order_items SET (fillfactor = 90)")
    op.execute("ALTER TABLE audience_members SET (fillfactor = 85)")


def downgrade() -> None:
    """Undo the change."""
    op.execute("ALTER TABLE order_items RESET (fillfactor)")
    op.execute("ALTER TABLE audience_members RESET (fillfactor)")
