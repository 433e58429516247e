"""When each periodic job last ended well, and from when we kept to a ban (`created_at` is the person's own moment)"""

from alembic import op

revision = "0151"
down_revision = "0150"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change; of bans that are there already nobody knows when they came into force."""
    op.execute("""
        CREATE TABLE periodic_runs (
            job text CONSTRAINT pk_periodic_runs PRIMARY KEY,
            succeeded_at timestamptz NOT NULL,
            memory_bytes bigint NOT NULL
        )""")
    op.execute("ALTER TABLE suppressions ADD COLUMN in_force_at timestamptz")
    op.execute("ALTER TABLE suppressions ALTER COLUMN in_force_at SET DEFAULT clock_timestamp()")


def downgrade() -> None:
    """Undo the change."""
    op.execute("ALTER TABLE suppressions DROP COLUMN in_force_at")
    op.execute("DROP TABLE periodic_runs")
