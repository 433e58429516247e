"""Since when a playbook acts: one that is made or switched on later leaves earlier changes of problems alone"""

from alembic import op

revision = "0132"
down_revision = "0131"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.execute("ALTER TABLE playbooks ADD COLUMN since timestamptz")


def downgrade() -> None:
    """Undo the change."""
    op.execute("ALTER TABLE playbooks DROP COLUMN since")
