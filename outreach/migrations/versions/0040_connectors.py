"""Connected help desks, the desk's own times, and what happens to linked tickets"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0040"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change."""
    moment = sa.DateTime(timezone=True)
    now, empty = sa.text("now()"), sa.text("'{}'")
    op.create_table(
        "connectors",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("from_settings", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("base_url", sa.Text()),
        sa.Column("account", sa.Text()),
        sa.Column("webhook_secrets", sa.Text()),
        sa.Column("api_secret", sa.Text()),
        sa.Column("mapping", postgresql.JSONB(), server_default=empty, nullable=False),
        sa.Column("options", postgresql.JSONB(), server_default=empty, nullable=False),
        sa.Column("actor", sa.Text()),
        sa.Column("link_back", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("poll_minutes", sa.BigInteger(), server_default="5", nullable=False),
        sa.Column("read_until", moment),
        sa.Column("next_poll_at", moment, server_default=now, nullable=False),
        sa.Column("busy_until", moment),
        sa.Column("last_event_at", moment),
        sa.Column("last_error", sa.Text()),
        sa.Column("last_error_at", moment),
        sa.Column("created_at", moment, server_default=now, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connectors")),
        sa.UniqueConstraint("key", name=op.f("uq_connectors_key")),
    )
    op.add_column("problems", sa.Column("desk_changed_at", moment))
    op.add_column("problems", sa.Column("desk_event", sa.Text()))
    op.add_column("tickets", sa.Column("changed_at", moment))
    op.add_column("playbooks", sa.Column("ticket_action", sa.Text()))
    op.add_column("playbooks", sa.Column("ticket_comment", sa.Text()))


def downgrade() -> None:
    """Take it back."""
    for table, column in (
        ("playbooks", "ticket_comment"),
        ("playbooks", "ticket_action"),
        ("tickets", "changed_at"),
        ("problems", "desk_event"),
        ("problems", "desk_changed_at"),
    ):
        op.drop_column(table, column)
    op.drop_table("connectors")
