"""The two example mappings against counts made here from the raw files by plain Python."""

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from outreach.imports import run_import
from tests.raw_files import returned_last_bought_first, rows_of

Ask = Callable[..., Any]


def test_uci_lines_become_items_returns_or_are_named_and_change_nothing_when_they_come_again(
    ask: Ask, examples: Path, some_of_uci: Path, rejects: Path
) -> None:
    report = run_import(examples / "uci_online_retail", data=some_of_uci, rejects=rejects)

    lines = list(rows_of(some_of_uci / "online_retail_2010_12_to_2011_12.csv.gz"))
    kept = [line for line in lines if not line["InvoiceNo"].startswith("C")]
    sold = [line for line in kept if int(line["Quantity"]) > 0]
    expected = {
        "customers": len({line["CustomerID"] for line in lines} - {""}),
        "products": len({line["StockCode"] for line in lines}),
        "orders": len({line["InvoiceNo"] for line in kept}),
        "items": len(sold),
    }
    assert {kind: counts.inserted for kind, counts in report.tables.items()} == expected
    assert {kind: counts.rejected + counts.values_dropped for kind, counts in report.tables.items()} == dict.fromkeys(
        expected, 0
    )
    assert report.tables["items"].without_customer == sum(not line["CustomerID"] for line in sold)
    assert report.tables["orders"].without_customer == len({x["InvoiceNo"] for x in kept if not x["CustomerID"]})
    nobody = sum(not line["CustomerID"] for line in lines)
    assert f"{nobody} of the lines have no customer: they cannot be reached." in report.notes

    stored = ask(
        "SELECT o.external_id, p.external_id, sum(i.quantity_returned), "
        "to_char(max(i.returned_at), 'YYYY-MM-DD HH24:MI:SS') "
        "FROM order_items i JOIN orders o ON o.id = i.order_id JOIN products p ON p.id = i.product_id "
        "WHERE i.quantity_returned > 0 GROUP BY 1, 2"
    )
    found = {(invoice, code): (int(units), at) for invoice, code, units, at in stored}
    assert found == returned_last_bought_first(lines)
    assert ask("SELECT sum(quantity), sum(quantity) FILTER (WHERE customer_id IS NULL) FROM order_items") == [
        (
            sum(int(line["Quantity"]) for line in sold),
            sum(int(line["Quantity"]) for line in sold if not line["CustomerID"]),
        )
    ]
    # Every customer can be reached on some channel, and no two share a number.
    assert ask("SELECT count(*) FROM customers WHERE coalesce(email, phone, address_line1) IS NULL") == [(0,)]
    assert ask("SELECT count(phone) = count(DISTINCT phone) AND count(phone) > 2000 FROM customers") == [(True,)]

    again = run_import(examples / "uci_online_retail", data=some_of_uci, rejects=rejects)
    assert min(expected.values()) > 100
    assert {kind: (c.inserted, c.updated, c.unchanged) for kind, c in again.tables.items()} == {
        kind: (0, 0, n) for kind, n in expected.items()
    }


def test_olist_keeps_every_order_with_its_person_promise_and_items(
    ask: Ask, examples: Path, shared_data: Path, rejects: Path
) -> None:
    data = shared_data / "olist"
    report = run_import(examples / "olist", data=data, rejects=rejects)

    orders = list(rows_of(data / "olist_orders_dataset.csv.gz"))
    person = {r["customer_id"]: r["customer_unique_id"] for r in rows_of(data / "olist_customers_dataset.csv.gz")}
    items = Counter(r["order_id"] for r in rows_of(data / "olist_order_items_dataset.csv.gz"))
    reviews = list(rows_of(data / "olist_order_reviews_dataset.csv.gz"))
    complaints = [r for r in reviews if int(r["review_score"]) <= 2 and r["review_comment_message"].strip()]
    assert {kind: (c.inserted, c.rejected) for kind, c in report.tables.items()} == {
        "customers": (len(set(person.values())), 0),
        "products": (sum(1 for _ in rows_of(data / "olist_products_dataset.csv.gz")), 0),
        "orders": (len(orders), 0),
        "items": (items.total(), 0),
        "tickets": (len(complaints), 0),
        "events": (len(reviews), 0),
    }
    stored = ask(
        "SELECT o.external_id, c.external_id, o.status, to_char(o.promised_at, 'YYYY-MM-DD HH24:MI:SS'), "
        "coalesce(to_char(o.delivered_at, 'YYYY-MM-DD HH24:MI:SS'), ''), "
        "(SELECT count(*) FROM order_items i WHERE i.order_id = o.id AND i.customer_id = c.id) "
        "FROM orders o JOIN customers c ON c.id = o.customer_id"
    )
    assert {row[0]: row[1:] for row in stored} == {
        r["order_id"]: (
            person[r["customer_id"]],
            r["order_status"],
            r["order_estimated_delivery_date"].replace("00:00:00", "23:59:59"),
            r["order_delivered_customer_date"],
            items[r["order_id"]],
        )
        for r in orders
    }
    assert ask("SELECT count(*) FROM orders WHERE (status = 'canceled') <> (cancelled_at IS NOT NULL)") == [(0,)]
    assert ask("SELECT count(*) FROM customers WHERE phone IS NULL AND email IS NULL AND address_line1 IS NULL") == [
        (0,)
    ]


def test_american_dates_and_the_same_orders_again(ask: Ask, examples: Path, shared_data: Path, tmp_path: Path) -> None:
    run_import(examples / "olist", data=shared_data / "olist", rejects=tmp_path / "a.csv")
    other = shared_data / "olist_sample_b"
    plain = tmp_path / "orders.csv"
    known = {row[0] for row in ask("SELECT external_id FROM orders")}
    with plain.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["order_id", "ordered_at", "promised_at"])
        for row in rows_of(other / "olist_orders_dataset.csv.gz"):
            writer.writerow([row["order_id"], row["order_purchase_timestamp"], row["order_estimated_delivery_date"]])
    before = dict(ask("SELECT external_id, ordered_at FROM orders"))
    counts = run_import(plain, rejects=tmp_path / "b.csv").tables["orders"]
    shared = {row["order_id"] for row in rows_of(other / "olist_orders_dataset.csv.gz")} & known
    assert (counts.read, counts.rejected, counts.inserted) == (5000, 0, 5000 - len(shared))
    after = dict(ask("SELECT external_id, ordered_at FROM orders"))
    # The other file has no seconds.
    assert all(after[order] == before[order].replace(second=0) for order in shared)


def test_support_tickets_come_in_through_one_statement(ask: Ask, shared_data: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "desk"
    mapping.mkdir()
    (mapping / "tickets.sql").write_text(
        "SELECT TicketID AS ticket_id, 'support' AS desk, CustomerEmail AS requester_email, TicketSubject AS subject, "
        "TicketDescription AS body, lower(TicketStatus) AS status, lower(TicketPriority) AS priority, ProductPurchased "
        "FROM read_csv('customer_support_tickets.csv.gz', header = true, all_varchar = true)"
    )
    data = shared_data / "support_tickets_synthetic"
    report = run_import(mapping, data=data, rejects=tmp_path / "rejects.csv")
    raw = list(rows_of(data / "customer_support_tickets.csv.gz"))
    assert report.tables["tickets"].inserted == len(raw)
    assert report.tables["tickets"].without_customer == len(raw)
    assert ask("SELECT count(DISTINCT requester_email) FROM tickets") == [
        (len({row["CustomerEmail"].lower() for row in raw}),)
    ]
