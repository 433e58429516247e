"""A state of programme dues that nothing sets, and its index, are gone"""

from alembic import op

revision = "0130"
down_revision = "0120"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.execute("DROP INDEX ix_programme_dues_telling")
    _allow("'open', 'done', 'skipped'")


def downgrade() -> None:
    """Undo the change."""
    _allow("'open', 'telling', 'done', 'skipped'")
    op.execute(
        "CREATE INDEX ix_programme_dues_telling ON programme_dues (campaign_id, customer_id) WHERE state = 'telling'"
    )


def _allow(states: str) -> None:
    op.execute(f"""
        ALTER TABLE programme_dues DROP CONSTRAINT ck_programme_dues_state,
            ADD CONSTRAINT ck_programme_dues_state CHECK (state IN ({states}))""")
