"""The inbox: who looks after a response, until when it is put aside, what operators write back; customers by name"""

from alembic import op

revision = "0080"
down_revision = "0070"
branch_labels = None
depends_on = None

_CHANNELS = "channel IN ('email', 'sms', 'postcard')"
_STATES = """state IN ('queued', 'sending', 'unknown', 'accepted', 'rejected', 'suppressed', 'cancelled', 'expired',
        'dead')"""
_KINDS = """delivery IN ('queued', 'sent', 'deferred', 'delivered', 'bounced', 'rejected', 'failed', 'opened',
        'clicked', 'complained', 'unsubscribed', 'in_transit', 'returned', 'unknown')"""


def upgrade() -> None:
    """Apply the change."""
    op.execute("ALTER TABLE responses ADD COLUMN assigned_to bigint, ADD COLUMN snoozed_until timestamptz")
    op.execute("""ALTER TABLE responses ADD CONSTRAINT fk_responses_assigned_to FOREIGN KEY (assigned_to)
                  REFERENCES operators (id) ON DELETE SET NULL""")
    op.execute("CREATE INDEX ix_responses_waiting ON responses (id) WHERE handled_at IS NULL")
    op.execute("CREATE INDEX ix_responses_intent ON responses (intent, id)")
    op.execute("CREATE INDEX ix_responses_sender ON responses (sender, id) WHERE customer_id IS NULL")
    op.execute("CREATE INDEX ix_customers_name ON customers (lower(name) text_pattern_ops)")
    op.execute(f"""
CREATE TABLE operator_answers (
    id uuid NOT NULL,
    response_id bigint NOT NULL,
    customer_id bigint,
    channel varchar(32) NOT NULL,
    address text NOT NULL,
    subject text DEFAULT '' NOT NULL,
    text text NOT NULL,
    written_by text NOT NULL,
    written_at timestamptz NOT NULL,
    state varchar(32) DEFAULT 'queued' NOT NULL,
    tries smallint DEFAULT '0' NOT NULL,
    due_at timestamptz NOT NULL,
    called_at timestamptz,
    provider text,
    provider_id text,
    detail text,
    sent_at timestamptz,
    delivery varchar(32),
    delivery_rank smallint DEFAULT '0' NOT NULL,
    CONSTRAINT pk_operator_answers PRIMARY KEY (id),
    CONSTRAINT ck_operator_answers_channel CHECK ({_CHANNELS}),
    CONSTRAINT ck_operator_answers_state CHECK ({_STATES}),
    CONSTRAINT ck_operator_answers_delivery CHECK ({_KINDS})
)""")
    op.execute("CREATE INDEX ix_operator_answers_response_id ON operator_answers (response_id)")
    op.execute("CREATE INDEX ix_operator_answers_customer_id ON operator_answers (customer_id, written_at)")
    op.execute("""CREATE INDEX ix_operator_answers_open ON operator_answers (due_at)
                  WHERE state IN ('queued', 'sending', 'unknown')""")


def downgrade() -> None:
    """Undo the change."""
    op.execute("DROP TABLE operator_answers")
    op.execute("DROP INDEX ix_customers_name, ix_responses_sender, ix_responses_intent, ix_responses_waiting")
    op.execute("ALTER TABLE responses DROP COLUMN snoozed_until, DROP COLUMN assigned_to")
