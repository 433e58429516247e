"""The small company of the demo: 5,000 customers, their orders, lots and shipments, written as import files.

Everything follows from one seed. Names and streets are invented, addresses are `example.com`, numbers end in
555-01xx, which are reserved for fiction.
"""

import csv
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

PEOPLE = 5_000
FAULTY_PRODUCT, FAULTY_LOT = "EMBER-17", "K17-0423"

_FIRST = (  # noqa: SIM905 - a list of names reads better as words
    "Ada Alma Amir Ana Anders Ben Carla Chen Clara Dara David Elena Elif Emil Eva Farah Felix Greta Hana Hugo Ida "
    "Ines Ivan Jana Jonas Julia Kai Karim Lara Lea Leo Lina Luis Maja Mara Marco Maya Mina Nadia Nils Nora Omar "
    "Paula Pedro Petra Rafael Rosa Sara Sofia Sven Tara Theo Tomas Vera Viktor Yara Yusuf Zoe"
).split()
_LAST = (  # noqa: SIM905 - a list of names reads better as words
    "Abel Adler Alves Baker Becker Berg Bianchi Brown Castro Chavez Cohen Costa Dubois Duarte Ekman Evans Fischer "
    "Flores Garcia Haas Hansen Ibrahim Ito Jansen Jones Keller Khan Kim Klein Larsen Lee Lopez Marino Meyer "
    "Moreau Murphy Nguyen Novak Okafor Olsen Park Patel Reyes Rossi Santos Sato Schmidt Silva Singh Suzuki Tanaka "
    "Torres Vogel Wagner Weber Wolf"
).split()
_STREETS = ("Harbour", "Mill", "Cedar", "Station", "Garden", "Orchard", "River", "Bridge", "Chapel", "Meadow")
_PLACES = (
    ("Portland", "OR", "97205", "America/Los_Angeles", 503), ("Seattle", "WA", "98101", "America/Los_Angeles", 206),
    ("Denver", "CO", "80202", "America/Denver", 303), ("Phoenix", "AZ", "85003", "America/Phoenix", 602),
    ("Austin", "TX", "78701", "America/Chicago", 512), ("Chicago", "IL", "60601", "America/Chicago", 312),
    ("Madison", "WI", "53703", "America/Chicago", 608), ("Atlanta", "GA", "30303", "America/New_York", 404),
    ("Boston", "MA", "02108", "America/New_York", 617), ("Albany", "NY", "12207", "America/New_York", 518),
    ("Raleigh", "NC", "27601", "America/New_York", 919), ("Honolulu", "HI", "96813", "Pacific/Honolulu", 808),
)  # fmt: skip
ZONES = tuple(sorted({zone for *_, zone, _ in _PLACES}))
# Area codes that take turns, so that each number is somebody's own.
_AREA_CODES = (
    201, 203, 206, 207, 208, 212, 213, 214, 215, 216, 217, 218, 219, 225, 228, 229, 231, 234, 239, 240,
    248, 251, 252, 253, 254, 256, 260, 262, 267, 269, 270, 276, 281, 301, 302, 303, 304, 305, 307, 308,
)  # fmt: skip
_PRODUCTS = (
    ("EMBER-17", "Ember kettle 1.7 l", "Kettles"), ("EMBER-10", "Ember kettle 1.0 l", "Kettles"),
    ("GRIND-2", "Grind coffee mill", "Coffee"), ("PRESS-8", "Press 8-cup maker", "Coffee"),
    ("SLICE-4", "Slice toaster", "Kitchen"), ("WHISK-5", "Whisk hand mixer", "Kitchen"),
    ("GLOW-1", "Glow desk lamp", "Lighting"), ("GLOW-3", "Glow floor lamp", "Lighting"),
    ("BREEZE-9", "Breeze fan", "Climate"), ("MIST-2", "Mist humidifier", "Climate"),
)  # fmt: skip


@dataclass(slots=True)
class Company:
    """The files to import and what the story needs to know: who holds the faulty lot, and who is waiting for it."""

    folder: Path
    holders: list[dict[str, str]] = field(default_factory=list)
    waiting: list[dict[str, str]] = field(default_factory=list)
    others: list[dict[str, str]] = field(default_factory=list)


def write_company(folder: Path, *, now: datetime, people: int = PEOPLE, seed: int = 7) -> Company:
    """Write `customers.csv`, `products.csv`, `orders.csv` and `items.csv` into `folder`."""
    chance = random.Random(seed)  # noqa: S311 - a story, not a secret
    folder.mkdir(parents=True, exist_ok=True)
    customers = [_customer(number, chance) for number in range(1, people + 1)]
    _write(folder / "customers.csv", customers)
    _write(
        folder / "products.csv",
        [{"product_id": code, "name": name, "category": category} for code, name, category in _PRODUCTS],
    )
    company, orders, items = Company(folder), [], []
    for number in range(1, people * 9 // 5 + 1):
        customer = chance.choice(customers)
        order, line, part = _order(number, customer, chance, now)
        orders.append(order)
        items.append(line)
        if part == "faulty":
            returned = line["quantity_returned"] != "0"
            if order["delivered_at"] and not returned:
                company.holders.append(customer)
            elif not order["delivered_at"]:
                company.waiting.append(customer)
        else:
            company.others.append(customer)
    _write(folder / "orders.csv", orders)
    _write(folder / "items.csv", items)
    return company


def write_late_order(folder: Path, customer: dict[str, str], *, now: datetime) -> Path:
    """Write the order of somebody who buys the faulty lot while the problem is open."""
    folder.mkdir(parents=True, exist_ok=True)
    moment = now.isoformat()
    _write(
        folder / "orders.csv",
        [{"order_id": "90001", "customer_id": customer["customer_id"], "status": "packed", "ordered_at": moment}],
    )
    _write(
        folder / "items.csv",
        [{"item_id": "90001-1", "order_id": "90001", "product_id": FAULTY_PRODUCT, "lot": FAULTY_LOT,
          "quantity": "1", "ordered_at": moment}],
    )  # fmt: skip
    return folder


def _customer(number: int, chance: random.Random) -> dict[str, str]:
    first, last = chance.choice(_FIRST), chance.choice(_LAST)
    city, region, postal_code, zone, _ = chance.choice(_PLACES)
    # Some people have no email, some no phone, some neither; some addresses stopped working long ago.
    email = f"{first}.{last}.{number}@example.com".lower() if chance.random() > 0.07 else ""
    if email and chance.random() < 0.03:
        email = f"bounce.{number}@example.com"
    elif email and chance.random() < 0.02:
        email = f"{chance.choice(['defer', 'dup', 'ooo'])}.{number}@example.com"
    has_phone = number <= len(_AREA_CODES) * 100 and chance.random() > 0.2
    area, line = _AREA_CODES[number % len(_AREA_CODES)], number // len(_AREA_CODES) % 100
    return {
        "customer_id": f"CU{number:05d}",
        "name": f"{first} {last}",
        "email": email,
        "phone": f"+1{area}555{100 + line:04d}" if has_phone else "",
        "locale": "en-US",
        "time_zone": zone,
        "address_line1": f"{chance.randint(1, 240)} {chance.choice(_STREETS)} Street",
        "city": city,
        "region": region,
        "postal_code": postal_code,
        "country": "US",
    }


def _order(
    number: int, customer: dict[str, str], chance: random.Random, now: datetime
) -> tuple[dict[str, str], dict[str, str], str]:
    code = chance.choices([p[0] for p in _PRODUCTS], weights=[14, 9, 12, 11, 10, 10, 9, 8, 9, 8])[0]
    ordered = now - timedelta(days=chance.uniform(0.2, 120))
    shipped = ordered + timedelta(days=chance.uniform(0.5, 3))
    delivered = shipped + timedelta(days=chance.uniform(1, 8))
    # The faulty lot left the works in one fortnight; every product has its own lots.
    faulty = code == FAULTY_PRODUCT and ordered > now - timedelta(days=30)
    age = int((now - ordered).days / 30)
    lot = FAULTY_LOT if faulty else f"{code[0]}{code[-2:].strip('-')}-{419 - age * 3 - chance.randint(0, 2):04d}"
    sent_back = delivered < now and chance.random() < 0.06
    return (
        {
            "order_id": f"{20_000 + number}",
            "customer_id": customer["customer_id"],
            "status": "delivered" if delivered < now else "shipped" if shipped < now else "packed",
            "ordered_at": ordered.isoformat(),
            "promised_at": (ordered + timedelta(days=9)).isoformat(),
            "shipped_at": shipped.isoformat() if shipped < now else "",
            "delivered_at": delivered.isoformat() if delivered < now else "",
            "carrier": chance.choice(["Northline", "Postal service", "Swift"]),
            "site": chance.choice(["Reno", "Columbus"]),
        },
        {
            "item_id": f"{20_000 + number}-1",
            "order_id": f"{20_000 + number}",
            "product_id": code,
            "lot": lot,
            "quantity": "1",
            "quantity_returned": "1" if sent_back else "0",
            "returned_at": (delivered + timedelta(hours=20)).isoformat() if sent_back else "",
        },
        "faulty" if faulty else "other",
    )


def _write(path: Path, rows: Sequence[dict[str, str]] | Iterable[dict[str, str]]) -> None:
    listed = list(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)
