"""The two real questions, and a seller that stops shipping, on data that nobody here wrote."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from outreach.db import transaction
from outreach.imports import run_import
from outreach.models import Problem
from outreach.vocabulary import Grade, ProblemState
from segments import audiences, compiler, rules, scopes
from segments.answers import definition_in

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
NOW = datetime(2018, 3, 20, tzinfo=UTC)


@pytest.fixture
def olist(database: str, shared_data: Path) -> None:
    if not (shared_data / "olist").exists():
        pytest.skip("the real data of ../shared/data/olist are not here")
    run_import(EXAMPLES / "olist", data=shared_data / "olist", actor="test")


@pytest.fixture
def uci(database: str, some_of_uci: Path) -> None:
    run_import(EXAMPLES / "uci_online_retail", data=some_of_uci, actor="test")


def test_a_recall_finds_its_buyers_clears_who_sent_all_back_and_counts_the_unknown(uci: None) -> None:
    definition = definition_in((EXAMPLES / "uci_online_retail" / "recall_22423.json").read_bytes())
    sold = """FROM order_items i JOIN products p ON p.id = i.product_id WHERE p.external_id = '22423'
              AND i.ordered_at >= '2011-01-01Z' AND i.ordered_at < '2011-07-01Z'"""
    with transaction() as session:
        buyers = session.execute(text(f"SELECT count(DISTINCT customer_id) {sold}")).scalar_one()
        lines, orders = session.execute(
            text(f"SELECT count(*), count(DISTINCT order_id) {sold} AND customer_id IS NULL")
        ).one()
        back = text(
            f"""SELECT i.customer_id, array_agg(i.id ORDER BY i.id) {sold} AND customer_id IS NOT NULL
                GROUP BY 1 HAVING bool_and(quantity_returned >= quantity)"""
        )
        sent_back: dict[int, list[int]] = dict(session.execute(back).all())
        segment = audiences.save(session, key="r", name="Recall", definition=definition, author="t").segment_id
        result = audiences.refresh(session, segment_id=segment, now=datetime(2011, 12, 10, tzinfo=UTC))
        assert result.counts[Grade.CLEARED] == len(sent_back) > 0
        assert result.counts[Grade.LIKELY] == buyers - len(sent_back) > 500
        cleared = audiences.page(session, segment_id=segment, grade=Grade.CLEARED)
        assert {member.customer_id: member.evidence_items for member in cleared} == sent_back
        (unknown,) = audiences.preview(session, definition=definition, now=NOW).without_customer
        assert (unknown.related, unknown.rows, unknown.orders) == ("order_items", lines, orders)
        assert lines > 100


def test_late_deliveries_to_one_state_are_parted_by_the_promised_date(olist: None) -> None:
    definition = definition_in((EXAMPLES / "olist" / "late_to_rj.json").read_bytes())
    with transaction() as session:
        found = dict(
            session.execute(
                text(
                    """SELECT bool_or(promised_at <= :now), count(*) OVER (PARTITION BY bool_or(promised_at <= :now))
                       FROM orders WHERE region = 'RJ' AND ordered_at >= '2018-02-01Z' AND ordered_at <= :now
                         AND (delivered_at IS NULL OR delivered_at > :now)
                         AND (cancelled_at IS NULL OR cancelled_at > :now)
                       GROUP BY customer_id"""
                ),
                {"now": NOW},
            ).all()
        )
        counts = audiences.preview(session, definition=definition, now=NOW).counts
        assert counts[Grade.AFFECTED] == found[True] > 10
        assert counts[Grade.LIKELY] == found[False] > 10


def seller_and_window(session: Session) -> tuple[str, set[int], set[int]]:
    """Return the busiest seller, who bought from them in their busiest two months, and those who did elsewhere."""
    seller, start = session.execute(
        text(
            """SELECT i.seller, date_trunc('month', o.ordered_at) FROM order_items i JOIN orders o ON o.id = i.order_id
               WHERE i.seller IS NOT NULL GROUP BY 1, 2 ORDER BY count(DISTINCT o.customer_id) DESC LIMIT 1"""
        )
    ).one()
    bought = """SELECT DISTINCT o.customer_id FROM order_items i JOIN orders o ON o.id = i.order_id
                WHERE o.ordered_at >= :start AND o.ordered_at < :start + interval '1 month' AND """
    values = {"start": start, "seller": seller}
    theirs = set(session.scalars(text(bought + "i.seller = :seller"), values))
    others = set(
        session.scalars(
            text(
                bought + "i.seller <> :seller AND i.product_id IN"
                " (SELECT product_id FROM order_items WHERE seller = :seller)"
            ),
            values,
        )
    )
    return seller, theirs, others - theirs


def test_a_seller_that_stops_shipping_is_found_without_naming_other_sellers_buyers(olist: None) -> None:
    with transaction() as session:
        problem = Problem(key="P-1", title="Nothing arrives", state=ProblemState.KNOWN)
        session.add(problem)
        session.flush()
        seller, theirs, others = seller_and_window(session)
        writers = sorted(theirs)[::2]
        session.execute(
            text(
                """INSERT INTO tickets (desk, external_id, customer_id, problem_id, opened_at)
                   SELECT 'test', 'w' || c, c, :problem, :now FROM unnest(CAST(:writers AS bigint[])) c"""
            ),
            {"problem": problem.id, "now": NOW, "writers": writers},
        )
        best = scopes.discover(session, problem_id=problem.id, now=NOW)[0]
        assert f"seller is {seller}" in best.sentence
        assert " date is from " in best.sentence
        named = set(session.scalars(compiler.compile(rules.parse_definition(best.rule), now=NOW, evidence=False)))
        assert len(named & theirs) >= 0.9 * len(theirs)
        assert not named & others


def test_orders_without_items_are_reached_by_facts_of_the_order(olist: None) -> None:
    rule = rules.parse_definition(
        {"related": "orders", "where": {"field": "status", "op": "equals", "value": "unavailable"}}
    )
    with transaction() as session:
        found = set(session.scalars(compiler.compile(rule, now=NOW, evidence=False)))
        bare = set(
            session.scalars(
                text(
                    """SELECT customer_id FROM orders o WHERE status = 'unavailable'
                       AND NOT EXISTS (SELECT 1 FROM order_items i WHERE i.order_id = o.id)"""
                )
            )
        )
        assert len(bare) > 500
        assert bare <= found
