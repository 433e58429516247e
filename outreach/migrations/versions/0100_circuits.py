"""Circuit breakers of providers, counts for the metrics, and claims that a worker gave back itself"""

from alembic import op

revision = "0100"
down_revision = "0090"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    op.execute("ALTER TABLE chunks ADD COLUMN given_back smallint NOT NULL DEFAULT 0")
    op.execute("""
        CREATE TABLE provider_circuits (
            provider text CONSTRAINT pk_provider_circuits PRIMARY KEY,
            channel varchar(32) NOT NULL
                CONSTRAINT ck_provider_circuits_channel CHECK (channel IN ('email', 'sms', 'postcard')),
            opened_at timestamptz NOT NULL,
            retry_at timestamptz NOT NULL,
            failed_tries bigint NOT NULL DEFAULT 0,
            detail text
        )""")
    op.execute("""
        CREATE TABLE sending_counts (
            name text CONSTRAINT pk_sending_counts PRIMARY KEY,
            total bigint NOT NULL DEFAULT 0
        )""")


def downgrade() -> None:
    """Undo the change."""
    op.execute("DROP TABLE sending_counts")
    op.execute("DROP TABLE provider_circuits")
    op.execute("ALTER TABLE chunks DROP COLUMN given_back")
