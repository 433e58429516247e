"""What segments need: words and lots compared as people do, and the queue of changed customers"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0002"
branch_labels = None
depends_on = None

# No extension: an embedded PostgreSQL has no contrib modules (docs/adr/0010-rules-become-one-statement.md).
# Both functions are one expression, so that the planner writes them out in place and an index on them is used.
FOLD_TEXT = r"""
CREATE FUNCTION fold_text(value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT lower(regexp_replace(normalize(value, NFKD), '[\u0300-\u036f]', '', 'g'))
$$
"""
# Every run of digits is padded to 40 places (longer ones keep their last 40); letters compare by code, ASCII
# ones in upper case.
NATURAL_KEY = r"""
CREATE FUNCTION natural_key(value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT regexp_replace(
        regexp_replace(upper(value COLLATE "C"), '([0-9]+)', repeat('0', 40) || '\1', 'g'),
        '[0-9]*([0-9]{40})', '\1', 'g') COLLATE "C"
$$
"""

# One pass per statement, however many rows it changed.
NOTE_CHANGED = """
CREATE FUNCTION note_changed_customers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO customer_changes (customer_id)
        SELECT customer_id FROM newer WHERE customer_id IS NOT NULL
        UNION SELECT customer_id FROM older WHERE customer_id IS NOT NULL;
    ELSE
        INSERT INTO customer_changes (customer_id)
        SELECT DISTINCT customer_id FROM changed WHERE customer_id IS NOT NULL;
    END IF;
    RETURN NULL;
END
$$
"""
NOTE_CHANGED_THEMSELVES = """
CREATE FUNCTION note_changed_customers_themselves() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO customer_changes (customer_id) SELECT id FROM changed;
    RETURN NULL;
END
$$
"""
NOTE_CHANGED_PRODUCTS = """
CREATE FUNCTION note_changed_products() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO customer_changes (customer_id)
    SELECT DISTINCT i.customer_id FROM changed c JOIN order_items i ON i.product_id = c.id
    WHERE i.customer_id IS NOT NULL;
    RETURN NULL;
END
$$
"""
NOTE_CHANGED_SUPPRESSIONS = """
CREATE FUNCTION note_changed_suppressions() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO customer_changes (customer_id)
    SELECT c.id FROM changed s JOIN customers c ON c.email = s.address WHERE s.channel = 'email'
    UNION SELECT c.id FROM changed s JOIN customers c ON c.phone = s.address WHERE s.channel = 'sms';
    RETURN NULL;
END
$$
"""
OWNED = ("orders", "order_items", "tickets", "usage_events", "responses", "consents")


def _watch(table: str, function: str, events: tuple[str, ...]) -> None:
    for event in events:
        if event == "update" and function == "note_changed_customers":
            seen = "OLD TABLE AS older NEW TABLE AS newer"
        else:
            seen = f"{'OLD' if event == 'delete' else 'NEW'} TABLE AS changed"
        op.execute(
            f"CREATE TRIGGER {table}_note_{event} AFTER {event} ON {table} "
            f"REFERENCING {seen} FOR EACH STATEMENT EXECUTE FUNCTION {function}()"
        )


def upgrade() -> None:
    """Apply the change."""
    op.execute(FOLD_TEXT)
    op.execute(NATURAL_KEY)
    op.add_column("segments", sa.Column("built_version", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("segments", sa.Column("due_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "segments", sa.Column("totals", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False)
    )
    op.add_column("segments", sa.Column("drift", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.create_index("ix_customers_erased", "customers", ["id"], postgresql_where=sa.text("erased_at IS NOT NULL"))
    op.create_table(
        "customer_changes",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("customer_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer_changes")),
    )
    op.create_table(
        "scope_rejections",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("problem_id", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("rule", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("rejected_by", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["problem_id"], ["problems.id"], name=op.f("fk_scope_rejections_problem_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scope_rejections")),
        sa.UniqueConstraint("problem_id", "fingerprint", name=op.f("uq_scope_rejections_problem_id_fingerprint")),
    )
    op.create_table(
        "problem_candidates",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("rule", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("numbers", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("ticket_ids", postgresql.ARRAY(sa.BigInteger()), server_default="{}", nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("problem_id", sa.BigInteger(), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_by", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["problem_id"], ["problems.id"], name=op.f("fk_problem_candidates_problem_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_problem_candidates")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_problem_candidates_fingerprint")),
    )
    for function in (NOTE_CHANGED, NOTE_CHANGED_THEMSELVES, NOTE_CHANGED_PRODUCTS, NOTE_CHANGED_SUPPRESSIONS):
        op.execute(function)
    for table in OWNED:
        _watch(table, "note_changed_customers", ("insert", "update", "delete"))
    _watch("customers", "note_changed_customers_themselves", ("insert", "update", "delete"))
    _watch("products", "note_changed_products", ("update",))
    _watch("suppressions", "note_changed_suppressions", ("insert", "update"))


def downgrade() -> None:
    """Take the change back."""
    for table in OWNED:
        _unwatch(table, ("insert", "update", "delete"))
    _unwatch("customers", ("insert", "update", "delete"))
    _unwatch("products", ("update",))
    _unwatch("suppressions", ("insert", "update"))
    for function in ("customers", "customers_themselves", "products", "suppressions"):
        op.execute(f"DROP FUNCTION note_changed_{function}()")
    for table in ("problem_candidates", "scope_rejections", "customer_changes"):
        op.drop_table(table)
    op.drop_index("ix_customers_erased", table_name="customers")
    for column in ("drift", "totals", "due_at", "built_version"):
        op.drop_column("segments", column)
    op.execute("DROP FUNCTION natural_key(text)")
    op.execute("DROP FUNCTION fold_text(text)")


def _unwatch(table: str, events: tuple[str, ...]) -> None:
    for event in events:
        op.execute(f"DROP TRIGGER {table}_note_{event} ON {table}")
