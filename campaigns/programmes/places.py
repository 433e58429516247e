"""Where customers live: the time zone of each, worked out once per distinct wording and joined in SQL."""

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from campaigns.programmes.schedules import zone_of

# The zones as a table, to be joined to customers `c`.
PLACES = """unnest(cast(:place_zones AS text[]), cast(:place_countries AS text[]), cast(:places AS text[]))
    AS place(given, country, zone)"""
AT_PLACE = "place.given = coalesce(c.time_zone, '') AND place.country = coalesce(c.country, '')"

_OF_THESE = "SELECT unnest(cast(:customers AS bigint[])) AS customer_id"
_usable: WeakKeyDictionary[Engine, frozenset[str]] = WeakKeyDictionary()


def places_of(
    session: Session, customers: list[int] | str, parameters: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what a statement with `PLACES` needs for these customers: ids, or SQL that yields `customer_id`."""
    source = customers if isinstance(customers, str) else _OF_THESE
    given = dict(parameters or {}) if isinstance(customers, str) else {"customers": customers}
    rows = session.execute(
        text(f"""SELECT DISTINCT coalesce(c.time_zone, '') AS given, coalesce(c.country, '') AS country
                 FROM ({source}) AS who JOIN customers c ON c.id = who.customer_id"""),
        given,
    ).all()
    usable = _zones_of_the_server(session)
    return {
        "place_zones": [row.given for row in rows],
        "place_countries": [row.country for row in rows],
        "places": [zone_of(row.given, row.country, usable) for row in rows],
    }


def _zones_of_the_server(session: Session) -> frozenset[str]:
    """The server and Python have a zone database each; only what both know can be used."""
    engine = session.get_bind().engine
    if engine not in _usable:
        _usable[engine] = frozenset(session.scalars(text("SELECT name FROM pg_timezone_names")))
    return _usable[engine]
