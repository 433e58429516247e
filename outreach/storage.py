"""How much the database holds and how busy it is, from its own statistics: nothing is counted."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session


@dataclass(frozen=True, slots=True)
class Table:
    """One table with its indexes; `rows` is the database's own estimate."""

    name: str
    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Storage:
    """The database: its version and size, connections in use of those it allows, the longest transaction."""

    version: str
    bytes: int
    connections: int
    most_connections: int
    longest_seconds: float
    tables: list[Table]


_DATABASE = text("""
SELECT current_setting('server_version') AS version, pg_database_size(current_database()) AS bytes,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
       current_setting('max_connections')::int AS most_connections,
       (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(xact_start)), 0) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()) AS longest
""")
_TABLES = text("""
SELECT c.relname, greatest(c.reltuples, 0)::bigint, pg_total_relation_size(c.oid) AS bytes
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
WHERE c.relkind = 'r' ORDER BY bytes DESC LIMIT :most
""")


def storage(session: Session, *, most: int = 8) -> Storage:
    """Return the size of the database and of its largest tables."""
    row = session.execute(_DATABASE).one()
    tables = [Table(*found) for found in session.execute(_TABLES, {"most": most})]
    return Storage(row.version, row.bytes, row.connections, row.most_connections, float(row.longest), tables)
