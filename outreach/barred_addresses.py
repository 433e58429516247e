"""How the suppression list names addresses; those of people who were erased only by a mark that tells nobody whose.

A mark is the HMAC-SHA256 of channel and address under a key derived from `OUTREACH_SECRET_KEY`; several keys rotate:
the first marks, all are looked for. Planning and gate compare plain addresses and know nothing of marks: the import,
the only way in for an address, gives a ban its address back when somebody has that address again.
"""

import hmac

from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach.models import Customer
from outreach.models.customers import MARK
from outreach.security import derived_keys
from outreach.vocabulary import Channel

# The postal address of customer `c` as one line of text, so that it can be barred like any other address.
POSTAL_ADDRESS = """(CASE WHEN c.address_line1 IS NOT NULL AND c.city IS NOT NULL AND c.postal_code IS NOT NULL
    AND c.country IS NOT NULL
    THEN lower(concat_ws('|', c.address_line1, c.address_line2, c.city, c.region, c.postal_code, c.country)) END)"""
# The addresses of customer `c` by channel, one by one and as a table of those that are known.
ADDRESS_OF = {"email": "c.email", "sms": "c.phone", "postcard": POSTAL_ADDRESS}
WAYS = f"""(SELECT channel, address FROM (VALUES
    {", ".join(f"('{channel}', {address})" for channel, address in ADDRESS_OF.items())}) known(channel, address)
    WHERE address IS NOT NULL)"""

_LOCK = 7304
_USE = "barred addresses"

_HERS = text(f"""
SELECT way.channel, way.address FROM customers c CROSS JOIN LATERAL {WAYS} way
WHERE c.id = :id AND EXISTS (SELECT 1 FROM suppressions s WHERE s.channel = way.channel AND s.address = way.address)
""")
_SHARED = {
    Channel.EMAIL: text("SELECT EXISTS (SELECT 1 FROM customers c WHERE c.email = :address AND c.id <> :id)"),
    Channel.SMS: text("SELECT EXISTS (SELECT 1 FROM customers c WHERE c.phone = :address AND c.id <> :id)"),
    Channel.POSTCARD: text(
        f"SELECT EXISTS (SELECT 1 FROM customers c WHERE {POSTAL_ADDRESS} = :address AND c.id <> :id)"
    ),
}
# Barred again after an earlier erasure: one ban is enough.
_DROP_OLDER = text("""
DELETE FROM suppressions s WHERE s.channel = :channel AND s.address = ANY(:marks) AND s.lifted_at IS NULL
  AND EXISTS (SELECT 1 FROM suppressions o WHERE o.channel = :channel AND o.address = :address AND o.lifted_at IS NULL)
""")
_MARK = text("UPDATE suppressions SET address = :mark WHERE channel = :channel AND address = :address")

_ANY = text(f"SELECT EXISTS (SELECT 1 FROM suppressions WHERE lifted_at IS NULL AND starts_with(address, '{MARK}'))")
_GIVE_BACK = f"""
WITH back AS MATERIALIZED (
    SELECT way.channel, way.address,
           '{MARK}' || encode(sha256(:outer || sha256(:inner ||
               convert_to(way.channel || ':' || way.address, 'UTF8'))), 'hex') AS mark
    FROM {{arrived}} r JOIN customers c USING (external_id) CROSS JOIN LATERAL {WAYS} way
    WHERE c.updated_at = now()
)
UPDATE suppressions s SET address = back.address FROM back
WHERE s.channel = back.channel AND s.address = back.mark AND s.lifted_at IS NULL
  AND NOT EXISTS (SELECT 1 FROM suppressions o
                  WHERE o.channel = back.channel AND o.address = back.address AND o.lifted_at IS NULL)
"""


def marks(channel: Channel, address: str) -> list[str]:
    """Return what an address may be marked as, under each key, the newest first."""
    words = f"{channel.value}:{address}".encode()
    return [MARK + hmac.digest(key, words, "sha256").hex() for key in derived_keys(_USE)]


def as_listed(channel: Channel, address: str) -> list[str]:
    """Return all that an address may stand as in the suppression list: itself, and its marks."""
    return [address, *marks(channel, address)]


def forget_addresses(session: Session, customer: Customer) -> int:
    """Leave only marks of a person's barred addresses, and return of how many bans; what others have too stays."""
    _wait_for_imports(session)
    forgotten = 0
    for row in session.execute(_HERS, {"id": customer.id}).all():
        channel, found = Channel(row.channel), marks(Channel(row.channel), row.address)
        if session.scalar(_SHARED[channel], {"address": row.address, "id": customer.id}):
            continue
        given = {"channel": row.channel, "address": row.address, "mark": found[0], "marks": found}
        session.execute(_DROP_OLDER, given)
        forgotten += session.execute(_MARK, given).rowcount  # type: ignore[attr-defined]
    return forgotten


def give_addresses_back(session: Session, arrived: str) -> None:
    """Let bans under a mark bar their addresses again; `arrived` is the table of customers that an import brought.

    Costs one look at the list where nobody was erased, else three hashes per customer that is new or changed.
    """
    _wait_for_imports(session)
    if not session.scalar(_ANY):
        return
    for key in derived_keys(_USE):
        block = key.ljust(64, b"\0")  # HMAC as in RFC 2104, from the hash that PostgreSQL has
        inner, outer = (bytes(byte ^ pad for byte in block) for pad in (0x36, 0x5C))
        session.execute(text(_GIVE_BACK.format(arrived=arrived)), {"inner": inner, "outer": outer})


def _wait_for_imports(session: Session) -> None:
    """An address that comes in while its ban is being marked must not slip through between the two."""
    session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
