"""What people look up: the bans of an address, the audit entries of a subject, the events of a desk, what is stuck"""

from alembic import op

revision = "0090"
down_revision = "0080"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change; the two on events are partial, so that what providers send costs nothing more."""
    op.execute("CREATE INDEX ix_suppressions_address ON suppressions (address)")
    op.execute("CREATE INDEX ix_audit_log_subject_id ON audit_log (subject text_pattern_ops, id)")
    op.execute("CREATE INDEX ix_inbound_events_desk ON inbound_events (source, id) WHERE source LIKE 'desk-%'")
    op.execute("CREATE INDEX ix_inbound_events_trouble ON inbound_events (id) WHERE state IN ('dead', 'orphan')")


def downgrade() -> None:
    """Undo the change."""
    for name in ("suppressions_address", "audit_log_subject_id", "inbound_events_desk", "inbound_events_trouble"):
        op.execute(f"DROP INDEX ix_{name}")
