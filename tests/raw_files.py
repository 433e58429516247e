"""The real files read by plain Python, so that tests compare with a count that our code had no part in."""

import csv
import gzip
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32


def rows_of(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a packed CSV file."""
    with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as file:
        yield from csv.DictReader(file)


def copy_of_some_products(source: Path, target: Path, *, one_in: int, always: str) -> None:
    """Write the lines of every so many-th product, of one more, and of all odd ones (postage, fees, gift cards).

    Returns stay with what they return.
    """
    with (
        gzip.open(source, "rt", encoding="utf-8-sig", newline="") as file,
        gzip.open(target, "wt", encoding="utf-8", newline="", compresslevel=1) as copy,
    ):
        lines, writer = csv.reader(file), csv.writer(copy)
        heading = next(lines)
        writer.writerow(heading)
        code = heading.index("StockCode")
        writer.writerows(
            line
            for line in lines
            if line[code] == always or not line[code][:1].isdigit() or crc32(line[code].encode()) % one_in == 0
        )


def returned_last_bought_first(lines: list[dict[str, str]]) -> dict[tuple[str, str], tuple[int, str]]:
    """Walk through all purchases and returns in time: (invoice, code) → units that came back, and when the last did."""
    steps = [
        line
        for line in lines
        if line["CustomerID"] and (int(line["Quantity"]) > 0) != line["InvoiceNo"].startswith("C")
    ]
    steps.sort(key=lambda line: (line["InvoiceDate"], line["InvoiceNo"].startswith("C"), line["InvoiceNo"]))
    piles: dict[tuple[str, str], list[list[Any]]] = defaultdict(list)
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for line in steps:
        pile = piles[line["CustomerID"], line["StockCode"]]
        units = int(line["Quantity"])
        if units > 0:
            pile.append([line["InvoiceNo"], units])
            continue
        back = -units
        while back and pile:
            invoice, held = pile[-1]
            taken = min(back, held)
            before = found.get((invoice, line["StockCode"]), (0, ""))[0]
            found[invoice, line["StockCode"]] = (before + taken, line["InvoiceDate"])
            back -= taken
            pile[-1][1] -= taken
            if not pile[-1][1]:
                pile.pop()
    return found
