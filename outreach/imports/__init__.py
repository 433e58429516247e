"""Import: customers, products, orders, items, tickets and events from files, in bulk and idempotent."""

from outreach.imports.headers import TABLES
from outreach.imports.importing import run_import
from outreach.imports.reports import ImportReport, Progress, TableCounts

KINDS = tuple(TABLES)

__all__ = ["KINDS", "ImportReport", "Progress", "TableCounts", "run_import"]
