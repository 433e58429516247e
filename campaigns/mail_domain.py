"""The DNS records that mailbox providers ask of whoever sends in bulk (SPF, RFC 7208; DMARC, RFC 7489)."""

import time
from dataclasses import dataclass
from functools import lru_cache

import dns.exception
import dns.resolver

# RFC 2606 and 6761: names that never belong to anybody.
RESERVED = ("example.com", "example.net", "example.org", "example", "test", "invalid", "localhost")
KEPT_SECONDS = 600
WAIT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class MailDomain:
    """What DNS says of a sending domain; `unknown` when it did not answer."""

    name: str
    spf: bool = False
    dmarc: bool = False
    reserved: bool = False
    unknown: bool = False


def look_up(name: str) -> MailDomain:
    """Return the records of a domain, looked up at most every ten minutes."""
    return _look_up(name.lower(), int(time.monotonic() // KEPT_SECONDS))


@lru_cache(maxsize=64)
def _look_up(name: str, _: int) -> MailDomain:
    if not name or name.endswith(tuple(f".{each}" for each in RESERVED)) or name in RESERVED:
        return MailDomain(name, reserved=True)
    try:
        spf = any(record.startswith("v=spf1") for record in _texts(name))
        dmarc = any(record.startswith("v=DMARC1") for record in _texts(f"_dmarc.{name}"))
    except (dns.exception.DNSException, OSError):
        return MailDomain(name, unknown=True)
    return MailDomain(name, spf=spf, dmarc=dmarc)


def _texts(name: str) -> list[str]:
    try:
        answer = dns.resolver.resolve(name, "TXT", lifetime=WAIT_SECONDS)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    return [b"".join(record.strings).decode(errors="replace") for record in answer]
