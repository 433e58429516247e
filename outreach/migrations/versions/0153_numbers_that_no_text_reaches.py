"""Numbers that no text message reaches are barred, with a reason of their own"""

from alembic import op

revision = "0153"
down_revision = "0152"
branch_labels = None
depends_on = None

REASONS = (
    "stop",
    "unsubscribed",
    "hard_bounce",
    "unusable_number",
    "soft_bounces",
    "complaint",
    "opted_out_at_provider",
    "returned_mail",
    "manual",
    "erased",
)


def upgrade() -> None:
    """Apply the change."""
    _allow(REASONS)


def downgrade() -> None:
    """Undo the change; such a number stays barred."""
    op.execute("UPDATE suppressions SET reason = 'hard_bounce' WHERE reason = 'unusable_number'")
    _allow(tuple(reason for reason in REASONS if reason != "unusable_number"))


def _allow(reasons: tuple[str, ...]) -> None:
    words = ", ".join(f"'{reason}'" for reason in reasons)
    op.execute(f"""
        ALTER TABLE suppressions DROP CONSTRAINT ck_suppressions_reason,
            ADD CONSTRAINT ck_suppressions_reason CHECK (reason IN ({words}))""")
