"""Customers are found by any word of their names"""

from alembic import op

revision = "0131"
down_revision = "0130"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the change.

    No extension is needed: accents are taken off by decomposing. Letters are listed by number, so that words are the
    same in any locale. The cut keeps every word below what a tsvector holds. The cost tells the planner that calling
    this for each row is dearer than the index.
    """
    op.execute(r"""
        CREATE FUNCTION name_words(name text) RETURNS text[]
        LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE COST 500 AS $$
        BEGIN
            RETURN array_remove(regexp_split_to_array(
                lower(translate(
                    regexp_replace(normalize(left(name, 160), NFD), '[\u0300-\u036f]', '', 'g'), 'ØøŁłĐđı', 'OoLlDdi'
                )),
                '[^a-z0-9\u00c0-\u1fff\u2c00-\u2fff\u3040-\U0010ffff]+'
            ), '');
        END $$""")
    op.execute("CREATE INDEX ix_customers_name_words ON customers USING gin (array_to_tsvector(name_words(name)))")


def downgrade() -> None:
    """Undo the change."""
    op.execute("DROP INDEX ix_customers_name_words")
    op.execute("DROP FUNCTION name_words(text)")
