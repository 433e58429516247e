"""Controls of sending: quiet hours, waves, holdout, shared addresses and the kill switch"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0030"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
ADDED = (
    ("campaigns", sa.Column("seed", sa.BigInteger(), server_default=sa.text("(random() * 2147483647)::bigint"),
                            nullable=False)),
    ("campaigns", sa.Column("holdout_share", sa.Float(), server_default="0", nullable=False)),
    ("campaigns", sa.Column("first_wave", sa.BigInteger(), nullable=True)),
    ("campaigns", sa.Column("waves", postgresql.JSONB(astext_type=sa.Text()), nullable=True)),
    ("campaigns", sa.Column("wave", sa.SmallInteger(), server_default="0", nullable=False)),
    ("campaigns", sa.Column("watched_at", TIME, nullable=True)),
    ("campaigns", sa.Column("watched_from", TIME, nullable=True)),
    ("chunks", sa.Column("zones", sa.Text(), nullable=True)),
    ("chunks", sa.Column("closes_at", TIME, nullable=True)),
    ("chunks", sa.Column("wave", sa.SmallInteger(), server_default="0", nullable=False)),
    ("chunks", sa.Column("released_at", TIME, nullable=True)),
    ("notices", sa.Column("wave", sa.SmallInteger(), server_default="0", nullable=False)),
    ("notices", sa.Column("shared_with", sa.BigInteger(), nullable=True)),
)  # fmt: skip


def upgrade() -> None:
    """Apply the change."""
    for table, column in ADDED:
        op.add_column(table, column)
    _chunk_states("'held', 'ready', 'claimed', 'done'")
    op.create_index(
        "ix_notices_shared_with", "notices", ["shared_with"], postgresql_where=sa.text("shared_with IS NOT NULL")
    )
    op.create_index(
        "ix_messages_postcards", "messages", ["campaign_id", "address"],
        postgresql_where=sa.text("channel = 'postcard'"),
    )  # fmt: skip
    op.create_table(
        "sending_stops",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("channel", sa.String(length=32), nullable=True),
        sa.Column("campaign_id", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("stopped_by", sa.Text(), nullable=False),
        sa.Column("stopped_at", TIME, server_default=sa.text("now()"), nullable=False),
        sa.Column("lifted_at", TIME, nullable=True),
        sa.Column("lifted_by", sa.Text(), nullable=True),
        sa.CheckConstraint("channel IN ('email', 'sms', 'postcard')", name=op.f("ck_sending_stops_channel")),
        sa.ForeignKeyConstraint(
            ["campaign_id"], ["campaigns.id"], name=op.f("fk_sending_stops_campaign_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sending_stops")),
    )
    op.create_index(op.f("ix_sending_stops_campaign_id"), "sending_stops", ["campaign_id"])
    op.create_index(
        "uq_sending_stops_scope", "sending_stops", ["channel", "campaign_id"], unique=True,
        postgresql_where=sa.text("lifted_at IS NULL"), postgresql_nulls_not_distinct=True,
    )  # fmt: skip


def downgrade() -> None:
    """Take the change back; chunks that wait for their wave are ready again."""
    op.drop_table("sending_stops")
    op.drop_index("ix_messages_postcards", table_name="messages")
    op.drop_index("ix_notices_shared_with", table_name="notices")
    op.execute("UPDATE chunks SET state = 'ready' WHERE state = 'held'")
    _chunk_states("'ready', 'claimed', 'done'")
    for table, column in reversed(ADDED):
        op.drop_column(table, column.name)


def _chunk_states(words: str) -> None:
    op.execute("ALTER TABLE chunks DROP CONSTRAINT ck_chunks_state")
    op.execute(f"ALTER TABLE chunks ADD CONSTRAINT ck_chunks_state CHECK (state IN ({words}))")
