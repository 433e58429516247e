"""Two problems in real data, from the import to the last message, judged by plain Python over the raw files."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from campaigns import ledger
from campaigns.dispatch import dispatch
from campaigns.envelopes import sender_for
from campaigns.fallbacks import fall_back
from campaigns.lifecycle import find, open_campaign
from campaigns.playbooks import install_defaults
from campaigns.sweeps import plan_all
from outreach import clock, problems
from outreach.db import transaction
from outreach.imports import run_import
from outreach.vocabulary import CampaignKind, Channel, Grade, NoticeClass
from segments import audiences, rules
from segments.previews import preview
from tests.installation import Installation
from tests.raw_files import returned_last_bought_first, rows_of
from webhooks.tasks import apply_inbox

EXAMPLES = Path(__file__).parents[2] / "examples"
RECALLED = "22423"
FIRST, LAST = "2011-01-01", "2011-06-30"


@pytest.fixture
def installation(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    running = Installation(tmp_path, monkeypatch)
    running.serve_api()
    yield running
    running.stop()


def members(session: Session, segment_id: int) -> dict[str, set[str]]:
    """The audience as it stands: grade → customer numbers."""
    found: dict[str, set[str]] = defaultdict(set)
    for grade, number in session.execute(
        text(
            "SELECT m.grade, c.external_id FROM audience_members m JOIN customers c ON c.id = m.customer_id "
            "WHERE m.segment_id = :id AND m.left_at IS NULL"
        ),
        {"id": segment_id},
    ):
        found[grade].add(number)
    return found


def send_everything(installation: Installation) -> None:
    """Dispatch, let the webhooks come back and apply them, until nothing is under way any more."""
    for _ in range(3):
        for channel in Channel:
            dispatch(channel=channel, sender=sender_for(channel), owner="test")
        installation.wait_until_idle()
        apply_inbox()
        with transaction() as session:
            fall_back(session, now=clock.now(session))


def test_a_recall_in_uci_tells_every_buyer_once_and_clears_who_sent_all_back(
    installation: Installation, some_of_uci: Path, tmp_path: Path
) -> None:
    lines = list(rows_of(some_of_uci / "online_retail_2010_12_to_2011_12.csv.gz"))
    sold = [
        line
        for line in lines
        if line["StockCode"] == RECALLED
        and FIRST <= line["InvoiceDate"][:10] <= LAST
        and not line["InvoiceNo"].startswith("C")
        and int(line["Quantity"]) > 0
    ]
    bought: dict[str, Counter[str]] = defaultdict(Counter)
    for line in sold:
        if line["CustomerID"]:
            bought[line["CustomerID"]][line["InvoiceNo"]] += int(line["Quantity"])
    back = returned_last_bought_first(lines)
    sent_all_back = {
        customer
        for customer, invoices in bought.items()
        if all(back.get((invoice, RECALLED), (0, ""))[0] >= units for invoice, units in invoices.items())
    }
    assert len(bought) > 500
    assert sent_all_back  # or the test would show nothing
    assert max(len(invoices) for invoices in bought.values()) > 5

    run_import(EXAMPLES / "uci_online_retail", data=some_of_uci, rejects=tmp_path / "rejects.csv")
    definition = rules.parse_definition(json.loads((EXAMPLES / "uci_online_retail" / "recall.json").read_text()))
    with transaction() as session:
        now = clock.now(session)
        install_defaults(session)
        problem = problems.report(session, title="Cake stands break", author="test", now=now)
        segment = audiences.save(
            session, key="recall", name="Recall", definition=definition, author="test", problem_id=problem.id
        ).segment_id
        audiences.refresh(session, segment_id=segment, now=now)
        found = members(session, segment)
        seen = preview(session, definition=definition, now=now)
        evidence = session.execute(
            text(
                "SELECT c.external_id, bool_and(i.quantity_returned >= i.quantity), count(*) FROM audience_members m "
                "JOIN customers c ON c.id = m.customer_id JOIN order_items i ON i.id = ANY(m.evidence_items) "
                "WHERE m.grade = 'cleared' GROUP BY 1"
            )
        ).all()
        campaign = open_campaign(
            session,
            name="Recall",
            kind=CampaignKind.KNOWN,
            notice_class=NoticeClass.SERVICE,
            template_key="problem-known",
            ladder=[{"channel": "email"}, {"channel": "sms", "after_hours": 24}, {"channel": "postcard"}],
            segment_id=segment,
            problem_id=problem.id,
            author="test",
            approved=True,
            now=now,
        )
        key, campaign_id = campaign.key, campaign.id

    assert found == {"affected": set(bought) - sent_all_back, "cleared": sent_all_back}
    assert seen.counts[Grade.AFFECTED] == len(bought) - len(sent_all_back)
    assert {row[0] for row in evidence} == sent_all_back
    assert all(all_back and items for _, all_back, items in evidence)
    nobody = [line for line in sold if not line["CustomerID"]]
    assert [(w.related, w.rows, w.orders) for w in seen.without_customer] == [
        ("order_items", len(nobody), len({line["InvoiceNo"] for line in nobody}))
    ]
    assert nobody

    plan_all(campaign_id)
    send_everything(installation)
    with transaction() as session:
        account = ledger.verify(session, campaign=find(session, key))
        told = session.execute(
            text(
                "SELECT c.external_id, count(*) FROM messages m JOIN customers c ON c.id = m.customer_id "
                "WHERE m.delivery_rank = 50 GROUP BY 1"
            )
        ).all()
    assert account.discrepancies == []
    assert {number for number, _ in told} == found["affected"]
    assert {times for _, times in told} == {1}
    counts = installation.sandbox("counts")
    assert counts["duplicates"] in (0, [])
    accepted = installation.sandbox("accepted?limit=5000")["accepted"]
    assert len(accepted) == len(found["affected"])


def test_late_deliveries_in_olist_part_those_overdue_from_those_not_yet_due(
    database: str, shared_data: Path, tmp_path: Path
) -> None:
    data = shared_data / "olist"
    today = "2018-03-20"
    home = {row["customer_id"]: row for row in rows_of(data / "olist_customers_dataset.csv.gz")}
    overdue, waiting = set(), set()
    for order in rows_of(data / "olist_orders_dataset.csv.gz"):
        customer = home[order["customer_id"]]
        delivered = order["order_delivered_customer_date"]
        under_way = "2018-02-01" <= order["order_purchase_timestamp"][:10] < today and (
            not delivered or delivered[:10] >= today
        )
        # A cancelled order has no time of its own; it counts from the last that is known of it.
        last_known = max(
            order["order_purchase_timestamp"], order["order_approved_at"], order["order_delivered_carrier_date"]
        )
        cancelled = order["order_status"] == "canceled" and last_known[:10] < today
        if customer["customer_state"] == "RJ" and under_way and not cancelled:
            late = order["order_estimated_delivery_date"][:10] < today
            (overdue if late else waiting).add(customer["customer_unique_id"])
    assert overdue
    assert waiting - overdue

    run_import(EXAMPLES / "olist", data=data, rejects=tmp_path / "rejects.csv")
    definition = rules.parse_definition(json.loads((EXAMPLES / "olist" / "late-deliveries.json").read_text()))
    with transaction() as session:
        now = datetime(2018, 3, 20, tzinfo=UTC)
        segment = audiences.save(session, key="late", name="Late", definition=definition, author="test").segment_id
        audiences.refresh(session, segment_id=segment, now=now)
        found = members(session, segment)
        evidence = session.execute(
            text(
                "SELECT count(*) FROM audience_members m JOIN orders o ON o.id = ANY(m.evidence_orders) "
                "WHERE m.grade = 'affected' AND o.promised_at < :now AND o.region = 'RJ'"
            ),
            {"now": now},
        ).scalar_one()
    assert found == {"affected": overdue, "likely": waiting - overdue}
    assert evidence >= len(overdue)
