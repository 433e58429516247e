from collections.abc import Callable
from typing import Any

from sqlalchemy import text

from outreach.db import transaction
from outreach.imports import ImportReport

Bring = Callable[..., ImportReport]
Ask = Callable[..., Any]

CUSTOMERS = "customer_id,name,email,tier\n1,Ann,ann@example.com,gold\n2,Bob,bob@example.com,\n"
ORDERS = (
    "order_id,customer_id,ordered_at,delivered_at\n"
    "o1,1,2026-01-01 10:00,2026-01-05 10:00\no2,9,2026-01-02 10:00,\no3,,2026-01-03 10:00,\n"
)
ITEMS = "item_id,order_id,product_id,lot,quantity\ni1,o1,p1,L7,2\ni2,o2,p1,L7,1\ni3,nowhere,p1,L7,1\n"


def test_a_second_import_of_the_same_files_changes_nothing(bring: Bring, ask: Ask) -> None:
    files = [("customers", CUSTOMERS), ("orders", ORDERS), ("items", ITEMS)]
    for kind, content in files:
        bring(kind, content)
    seen = "SELECT ctid::text, xmin::text FROM {}"
    before = [ask(seen.format(table)) for table in ("customers", "products", "orders", "order_items")]
    for kind, content in files:
        counts = bring(kind, content).tables[kind]
        assert (counts.inserted, counts.updated) == (0, 0)
        assert counts.unchanged == counts.read - counts.rejected
    assert [ask(seen.format(table)) for table in ("customers", "products", "orders", "order_items")] == before


def test_what_differs_is_updated_and_only_in_the_columns_that_were_given(bring: Bring, ask: Ask) -> None:
    bring("customers", CUSTOMERS)
    report = bring("customers", "customer_id,name,points\n1,Anna,7\n2,Bob,\n")
    assert (report.tables["customers"].updated, report.tables["customers"].unchanged) == (1, 1)
    assert ask("SELECT name, email, attributes FROM customers WHERE external_id = '1'") == [
        ("Anna", "ann@example.com", {"tier": "gold", "points": "7"})
    ]


def test_the_last_of_two_rows_with_one_key_wins_and_is_counted(bring: Bring, ask: Ask) -> None:
    counts = bring("customers", "customer_id,name\n1,Ann\n2,Bob\n1,Anna\n").tables["customers"]
    assert (counts.inserted, counts.repeated) == (2, 1)
    assert ask("SELECT name FROM customers WHERE external_id = '1'") == [("Anna",)]


def test_a_dry_run_says_what_would_happen_and_changes_nothing(bring: Bring, ask: Ask) -> None:
    report = bring("customers", CUSTOMERS, dry_run=True)
    assert report.tables["customers"].inserted == 2
    assert ask("SELECT count(*) FROM customers") == [(0,)]


def test_an_erased_customer_is_not_brought_back(bring: Bring, ask: Ask) -> None:
    bring("customers", CUSTOMERS)
    with transaction() as session:
        session.execute(
            text("UPDATE customers SET email = NULL, name = NULL, erased_at = now() WHERE external_id = '1'")
        )
    counts = bring("customers", CUSTOMERS).tables["customers"]
    assert (counts.erased, counts.unchanged) == (1, 1)
    assert ask("SELECT name, email FROM customers WHERE external_id = '1'") == [(None, None)]


def test_orders_without_a_known_customer_go_in_and_are_counted(bring: Bring, ask: Ask) -> None:
    bring("customers", CUSTOMERS)
    counts = bring("orders", ORDERS).tables["orders"]
    assert (counts.inserted, counts.without_customer) == (3, 2)
    assert ask("SELECT external_id, attributes FROM orders WHERE customer_id IS NULL ORDER BY 1") == [
        ("o2", {"unknown_customer": "9"}),
        ("o3", {}),
    ]


def test_an_order_finds_its_customer_when_she_arrives_later(bring: Bring, ask: Ask) -> None:
    bring("orders", ORDERS)
    bring("items", ITEMS)
    bring("customers", CUSTOMERS)
    bring("customers", "customer_id,name\n9,Niamh\n")
    assert ask(
        "SELECT o.external_id, c.external_id, i.external_id FROM orders o JOIN customers c ON c.id = o.customer_id "
        "JOIN order_items i ON i.order_id = o.id AND i.customer_id = c.id ORDER BY 1"
    ) == [("o1", "1", "i1"), ("o2", "9", "i2")]
    assert ask("SELECT count(*) FROM orders WHERE attributes <> '{}'") == [(0,)]
    assert bring("orders", ORDERS).tables["orders"].updated == 0


def test_items_take_customer_and_times_from_their_order(bring: Bring, ask: Ask) -> None:
    bring("customers", CUSTOMERS)
    bring("orders", ORDERS)
    report = bring("items", ITEMS)
    assert (report.tables["items"].rejected, report.tables["items"].without_customer) == (1, 1)
    assert report.notes == ["items: 1 products were not known and were added by their code alone."]
    assert ask(
        "SELECT i.delivered_at = o.delivered_at, c.name, p.external_id, i.quantity, i.quantity_returned "
        "FROM order_items i JOIN orders o ON o.id = i.order_id JOIN customers c ON c.id = i.customer_id "
        "JOIN products p ON p.id = i.product_id"
    ) == [(True, "Ann", "p1", 2, 0)]


def test_items_follow_when_their_order_is_delivered_later(bring: Bring, ask: Ask) -> None:
    bring("orders", ORDERS)
    bring("items", "item_id,order_id,delivered_at\ni1,o1,2026-01-04 10:00\ni2,o2,\n")
    bring("orders", "order_id,delivered_at\no1,2026-01-06\no2,2026-01-09\n")
    assert ask("SELECT delivered_at::date::text FROM order_items ORDER BY external_id") == [
        ("2026-01-04",),
        ("2026-01-09",),
    ]


def test_tickets_find_their_customer_by_number_or_address(bring: Bring, ask: Ask) -> None:
    bring("customers", CUSTOMERS)
    counts = bring(
        "tickets",
        "ticket_id,customer_id,requester_email,subject,problem\n"
        "t1,1,,Broken,\nt2,,Bob@Example.com,Broken,no-such-problem\nt3,,late@example.com,Broken,\n",
    ).tables["tickets"]
    assert (counts.without_customer, counts.values_dropped) == (1, 1)
    bring("customers", "customer_id,email\n3,late@example.com\n")
    assert ask(
        "SELECT t.external_id, c.external_id, t.desk FROM tickets t JOIN customers c ON c.id = t.customer_id ORDER BY 1"
    ) == [("t1", "1", "import"), ("t2", "2", "import"), ("t3", "3", "import")]


def test_the_link_of_a_ticket_to_its_problem_survives_an_import_without_it(bring: Bring, ask: Ask) -> None:
    with transaction() as session:
        session.execute(text("INSERT INTO problems (key, title, state, severity) VALUES ('P1', 'x', 'known', 'low')"))
    bring("tickets", "ticket_id,problem\nt1,P1\n")
    bring("tickets", "ticket_id,problem,status\nt1,,solved\n")
    assert ask("SELECT p.key, t.status FROM tickets t JOIN problems p ON p.id = t.problem_id") == [("P1", "solved")]


def test_events_need_a_name_and_a_time(bring: Bring, ask: Ask) -> None:
    bring("customers", CUSTOMERS)
    counts = bring(
        "events",
        "event_id,customer_id,name,occurred_at,device\n"
        "e1,1,sync_failed,2026-01-01,d7\ne2,1,,2026-01-01,\ne3,1,sync_failed,0001-01-01,\n",
    ).tables["events"]
    assert (counts.inserted, counts.rejected) == (1, 2)
    assert ask("SELECT name, attributes FROM usage_events") == [("sync_failed", {"device": "d7"})]


def test_a_return_below_zero_refuses_the_item_only(bring: Bring, ask: Ask) -> None:
    bring("orders", ORDERS)
    counts = bring("items", "item_id,order_id,quantity\ni1,o1,-3\ni2,o1,3\n").tables["items"]
    assert (counts.inserted, counts.rejected) == (1, 1)
