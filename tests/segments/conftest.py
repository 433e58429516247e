"""A small company to ask questions about."""

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy.orm import Session

from outreach import models
from outreach.models import Customer, Order, OrderItem, Problem, Product, Ticket

NOW = datetime(2026, 3, 20, 12, tzinfo=UTC)


class Company:
    """Makes rows; every verb returns what it made."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._count = 0

    def _add(self, row: Any) -> Any:
        self.session.add(row)
        self.session.flush()
        return row

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}-{self._count}"

    def customer(self, **values: Any) -> Customer:
        return self._add(Customer(**{"external_id": self._name("c"), "email": f"{self._count}@example.com"} | values))

    def product(self, external_id: str, **values: Any) -> Product:
        return self._add(Product(external_id=external_id, **values))

    def item(self, customer: Customer | None, product: Product | None = None, **values: Any) -> OrderItem:
        order = self._add(Order(external_id=self._name("o"), customer_id=customer.id if customer else None))
        return self._add(
            OrderItem(
                **{
                    "external_id": self._name("i"),
                    "order_id": order.id,
                    "customer_id": customer.id if customer else None,
                    "product_id": product.id if product else None,
                }
                | values
            )
        )

    def order(self, customer: Customer | None, **values: Any) -> Order:
        given = {"external_id": self._name("o"), "customer_id": customer.id if customer else None}
        return self._add(Order(**given | values))

    def problem(self, key: str = "P-1", **values: Any) -> Problem:
        return self._add(Problem(key=key, title=key, **values))

    def ticket(self, customer: Customer | None, problem: Problem | None = None, **values: Any) -> Ticket:
        return self._add(
            Ticket(
                **{
                    "desk": "test",
                    "external_id": self._name("t"),
                    "customer_id": customer.id if customer else None,
                    "problem_id": problem.id if problem else None,
                    "opened_at": NOW,
                }
                | values
            )
        )

    def add(self, row: models.Base) -> Any:
        return self._add(row)


@pytest.fixture
def company(session: Session) -> Company:
    return Company(session)


@pytest.fixture
def now() -> datetime:
    return NOW
