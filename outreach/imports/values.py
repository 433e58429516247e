"""One reader per type of value: the text of a cell in, the text PostgreSQL stores out, or `Bad` with the reason.

Readers work on distinct values (`staging.py` remembers them per batch), so the slow libraries see each value once.
"""

import re
import unicodedata
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import available_timezones

import phonenumbers
from babel import Locale
from email_validator import EmailNotValidError, validate_email

from outreach.errors import InvalidInput

KEY_LENGTH = 200
LINE_LENGTH = 500  # an index entry of PostgreSQL holds 2,704 bytes at the most
TEXT_LENGTH = 100_000
LARGEST_NUMBER = 2**31 - 1
FIRST_YEAR, LAST_YEAR = 1900, 2100


# Direction marks and overrides can make an address or a subject read as something else (Trojan Source,
# CVE-2021-42574); the rest of category Cc and Cf is layout that has no place in one line.
_DIRECTION_MARKS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C, 0xFEFF])
_ISO_TIME = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{1,2}:\d{2}.*)?")
_AMERICAN_TIME = re.compile(
    r"(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})"
    r"(?:[ T](?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}))?\s*(?P<half>[AaPp][Mm])?)?"
)
# What comes before the @ is ASCII and unquoted (dot-atom of RFC 5322).
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_PLAIN_EMAIL = re.compile(rf"({_ATOM}(?:\.{_ATOM})*)@([A-Za-z0-9.-]+)")
_LONGEST_EMAIL = 254
_LOCALE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
# The names people write that CLDR lists otherwise.
_OTHER_COUNTRY_NAMES = {
    "uk": "GB",
    "great britain": "GB",
    "england": "GB",
    "usa": "US",
    "united states of america": "US",
    "russian federation": "RU",
    "czech republic": "CZ",
    "korea": "KR",
    "republic of korea": "KR",
    "viet nam": "VN",
    "turkey": "TR",
    "hong kong": "HK",
    "macao": "MO",
    "ivory coast": "CI",
    "holland": "NL",
}


class Bad(InvalidInput):
    """A value that cannot be used; the message is the reason, and what to do."""


def text(value: str) -> str | None:
    """Return text of several lines, in Unicode NFC, without control characters but tab and line end."""
    if not value.isascii():
        value = unicodedata.normalize("NFC", value).translate(_DIRECTION_MARKS)
    if len(value) > TEXT_LENGTH:
        raise Bad(f"longer than {TEXT_LENGTH:,} characters")
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c for c in value if c in "\n\t" or c >= " ").strip() or None


def line(value: str) -> str | None:
    """Return text of one line: control characters, line ends among them, become spaces."""
    if not value.isascii():
        value = unicodedata.normalize("NFC", value).translate(_DIRECTION_MARKS)
    if not value.isprintable():
        value = " ".join("".join(" " if unicodedata.category(c) in {"Cc", "Zl", "Zp"} else c for c in value).split())
    value = value.strip()
    if len(value) > LINE_LENGTH:
        raise Bad(f"longer than {LINE_LENGTH} characters")
    return value or None


def key(value: str) -> str | None:
    """Return an identifier of the outside world."""
    found = line(value)
    if found and len(found) > KEY_LENGTH:
        raise Bad(f"longer than {KEY_LENGTH} characters")
    return found


def time(value: str) -> str | None:
    """Return a time in UTC (ISO 8601); one without zone counts as UTC, `10/2/2017 10:56` is month/day/year."""
    value = value.strip()
    if not value:
        return None
    found = _parse_time(value)
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise Bad(f"the year {found.year:04} is not between {FIRST_YEAR} and {LAST_YEAR}")
    aware = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    return aware.isoformat()


def _parse_time(value: str) -> datetime:
    try:
        if _ISO_TIME.fullmatch(value):
            return datetime.fromisoformat(value)
        if match := _AMERICAN_TIME.fullmatch(value):
            part = {name: int(found) for name, found in match.groupdict().items() if found and name != "half"}
            if half := match["half"]:
                if not 1 <= part["hour"] <= 12:
                    raise Bad("the hour does not go with AM or PM")
                part["hour"] = part["hour"] % 12 + (12 if half.lower() == "pm" else 0)
            return datetime(**part)  # type: ignore[arg-type]  # noqa: DTZ001 - made aware by the caller
    except ValueError as error:
        raise Bad(f"there is no such time ({error})") from error
    raise Bad("not a time; write it as 2017-10-02 10:56:33, with a zone if it is not UTC")


def whole_number(value: str) -> str | None:
    """Return a whole number from 0 to 2,147,483,647; `6.0` is 6."""
    value = value.strip()
    if not value:
        return None
    match = re.fullmatch(r"([+-]?\d{1,12})(?:\.0{1,9})?", value, re.ASCII)
    if not match:
        raise Bad("not a whole number")
    number = int(match[1])
    if number < 0:
        raise Bad("less than 0; give what came back as quantity_returned of the item that was bought")
    if number > LARGEST_NUMBER:
        raise Bad(f"larger than {LARGEST_NUMBER:,}")
    return str(number)


def email(value: str) -> str | None:
    """Return an address in lower case, NFC, its domain as the wire has it (IDNA), so that equal addresses are equal."""
    value = value.strip().strip("<>")
    if not value:
        return None
    plain = _PLAIN_EMAIL.fullmatch(value)
    if plain and (domain := _usable_domain(plain[2])) and len(plain[1]) + 1 + len(domain) <= _LONGEST_EMAIL:
        return f"{plain[1].lower()}@{domain}"
    try:
        found = validate_email(value, check_deliverability=False)
    except EmailNotValidError as error:
        raise Bad(str(error)) from error
    return f"{found.local_part.lower()}@{found.ascii_domain}"


@lru_cache(maxsize=65_536)
def _usable_domain(domain: str) -> str | None:
    """Return a domain as the wire has it, none where it is unusable: many share one, and to judge it takes long."""
    try:
        return str(validate_email(f"a@{domain}", check_deliverability=False).ascii_domain)
    except EmailNotValidError:
        return None


def phone(value: str, region: str | None) -> str | None:
    """Return a number as E.164; `region` (ISO alpha-2) is needed where the number has no country code."""
    value = value.strip()
    if not value:
        return None
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException as error:
        if error.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE and not region:
            raise Bad("without country code, and the customer's country is not known; write it as +44…") from error
        raise Bad("not a phone number") from error
    if number.extension:
        raise Bad("has an extension; give a number that can be reached without one")
    if not phonenumbers.is_valid_number(number):
        raise Bad(f"not a valid number{f' in {region}' if region else ''}")
    if phonenumbers.number_type(number) in {
        phonenumbers.PhoneNumberType.PREMIUM_RATE,
        phonenumbers.PhoneNumberType.SHARED_COST,
    }:
        raise Bad("a premium rate number")
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


@lru_cache
def _countries() -> dict[str, str]:
    territories = Locale("en").territories
    known = {code: str(name) for code, name in territories.items() if len(code) == 2 and code not in {"ZZ", "XA", "XB"}}
    return {
        **{code.casefold(): code for code in known},
        **{name.casefold(): code for code, name in known.items()},
        **{name.casefold().replace("&", "and"): code for code, name in known.items()},
        **_OTHER_COUNTRY_NAMES,
    }


def country(value: str) -> str | None:
    """Return the ISO 3166-1 alpha-2 code of a country given by code or English name."""
    value = " ".join(value.split())
    if not value:
        return None
    found = _countries().get(value.casefold())
    if not found:
        raise Bad("not a country we know; write its two-letter code (ISO 3166-1) or English name")
    return found


@lru_cache
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def time_zone(value: str) -> str | None:
    """Return the name of a time zone of the IANA database."""
    value = value.strip()
    if value and value not in _zones():
        raise Bad("not a time zone we know; write it as Europe/London (IANA name)")
    return value or None


def locale(value: str) -> str | None:
    """Return a language tag such as `en` or `pt-BR` (BCP 47)."""
    value = value.strip().split(".")[0].replace("_", "-")
    if value and not _LOCALE.fullmatch(value):
        raise Bad("not a language tag; write it as en or pt-BR")
    return value or None
