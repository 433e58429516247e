"""In which time zones may a customer be? From what we know of her, as few as are certain to hold hers.

Her own zone where it exists; else her address (the state where a country has several zones); else her number.
Sources: the zone table of the tz database (`zone.tab`), the number prefixes of libphonenumber, and the states of the
three countries whose customers most often give one without a zone.
"""

from functools import lru_cache
from importlib.resources import files

from phonenumbers.tzdata import TIMEZONE_DATA, TIMEZONE_LONGEST_PREFIX

from campaigns.timing import zone_names

# The longest prefix of a number, with its plus sign, that says anything about its place.
PHONE_PREFIX = TIMEZONE_LONGEST_PREFIX + 1

# The zones of a state; one that is split has both, so that a message suits either part.
_EAST, _CENTRAL, _MOUNTAIN, _PACIFIC = (
    f"America/{city}" for city in ("New_York", "Chicago", "Denver", "Los_Angeles")
)  # fmt: skip
_STATES: dict[str, dict[tuple[str, ...], str]] = {
    "US": {
        (_EAST,): "CT DC DE GA MA MD ME NC NH NJ NY OH PA RI SC VA VT WV",
        (_EAST, _CENTRAL): "FL IN KY MI TN",
        (_CENTRAL,): "AL AR IA IL LA MN MO MS OK WI",
        (_CENTRAL, _MOUNTAIN): "KS ND NE SD TX",
        (_MOUNTAIN,): "CO MT NM UT WY",
        (_MOUNTAIN, "America/Phoenix"): "AZ",
        (_MOUNTAIN, _PACIFIC): "ID NV OR",
        (_PACIFIC,): "CA WA",
        ("America/Anchorage", "America/Adak"): "AK",
        ("Pacific/Honolulu",): "HI",
        ("America/Puerto_Rico",): "PR VI",
        ("Pacific/Guam",): "GU MP",
        ("Pacific/Pago_Pago",): "AS",
    },
    "CA": {
        ("America/St_Johns", "America/Halifax"): "NL",
        ("America/Halifax",): "NS NB PE",
        ("America/Toronto", "America/Halifax"): "QC",
        ("America/Toronto", "America/Winnipeg"): "ON",
        ("America/Winnipeg",): "MB",
        ("America/Regina", "America/Edmonton"): "SK",
        ("America/Edmonton",): "AB NT",
        ("America/Vancouver", "America/Edmonton"): "BC",
        ("America/Whitehorse",): "YT",
        ("America/Toronto", "America/Winnipeg", "America/Edmonton"): "NU",
    },
    "AU": {
        ("Australia/Sydney",): "ACT",
        ("Australia/Sydney", "Australia/Adelaide"): "NSW",
        ("Australia/Melbourne",): "VIC",
        ("Australia/Brisbane",): "QLD",
        ("Australia/Adelaide",): "SA",
        ("Australia/Perth", "Australia/Eucla"): "WA",
        ("Australia/Hobart",): "TAS",
        ("Australia/Darwin",): "NT",
    },
}
_OF_STATE = {
    (country, state): zones
    for country, groups in _STATES.items()
    for zones, states in groups.items()
    for state in states.split()
}


@lru_cache
def _of_country() -> dict[str, tuple[str, ...]]:
    """Return the zones of each country (ISO 3166-1 alpha-2), from the tz database."""
    table: dict[str, list[str]] = {}
    for line in (files("tzdata") / "zoneinfo" / "zone.tab").read_text().splitlines():
        if line and not line.startswith("#"):
            country, _, zone, *_ = line.split("\t")
            table.setdefault(country, []).append(zone)
    return {country: tuple(zones) for country, zones in table.items()}


def plausible_zones(
    *, time_zone: str | None, country: str | None, region: str | None, phone: str | None, home: str
) -> tuple[str, ...]:
    """Return the zones that the customer may be in, sorted; `home` when nothing at all is known.

    An invalid zone counts as unknown. `phone` may be cut after `PHONE_PREFIX` characters.
    """
    if time_zone in zone_names():
        return (str(time_zone),)
    land, state = (country or "").strip().upper(), (region or "").strip().upper().removeprefix(f"{country}-")
    of_state = _OF_STATE.get((land, state))
    if of_state:
        return tuple(sorted(of_state))
    of_country, of_phone = _of_country().get(land, ()), _of_prefix(phone or "")
    if len(of_country) > 1 and of_phone:
        # Both hold: the zones they share; where they share none, she may be in any of them.
        found = set(of_country) & set(of_phone) or set(of_country) | set(of_phone)
    else:
        found = set(of_country or of_phone)
    usable = found & zone_names()
    return tuple(sorted(usable or {home}))


def _of_prefix(phone: str) -> tuple[str, ...]:
    digits = phone.removeprefix("+")
    for length in range(min(len(digits), TIMEZONE_LONGEST_PREFIX), 0, -1):
        zones = TIMEZONE_DATA.get(digits[:length])
        if zones:
            return tuple(zone for zone in zones if zone in zone_names())
    return ()
