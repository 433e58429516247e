"""What customers hold and do: products, orders, their items, and usage events.

No foreign keys on the bulk tables: rows come only from the set-based import, which resolves them
(two keys cost a factor of three on insert). Orders and items may lack a customer: such lines
count as unreachable, they are never dropped.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import Index

from outreach.models.base import Base, Mapped, bigint_key, created, json_object, mapped_column


class Product(Base):
    """Something that is sold; `external_id` is its stock code."""

    __tablename__ = "products"

    id: Mapped[int] = bigint_key()
    external_id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str | None]
    category: Mapped[str | None]
    attributes: Mapped[dict[str, Any]] = json_object()
    created_at: Mapped[datetime] = created()
    updated_at: Mapped[datetime] = created()


class Order(Base):
    """A purchase; it may have no items."""

    __tablename__ = "orders"

    id: Mapped[int] = bigint_key()
    external_id: Mapped[str] = mapped_column(unique=True)
    customer_id: Mapped[int | None] = mapped_column(index=True)
    status: Mapped[str | None]
    ordered_at: Mapped[datetime | None] = mapped_column(index=True)
    promised_at: Mapped[datetime | None]
    shipped_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]
    carrier: Mapped[str | None]
    site: Mapped[str | None]
    city: Mapped[str | None]
    region: Mapped[str | None]
    postal_code: Mapped[str | None]
    country: Mapped[str | None]
    attributes: Mapped[dict[str, Any]] = json_object()
    created_at: Mapped[datetime] = created()
    updated_at: Mapped[datetime] = created()


class OrderItem(Base):
    """One line of an order; the times are those of the line, filled from its order where the import has none."""

    __tablename__ = "order_items"

    id: Mapped[int] = bigint_key()
    external_id: Mapped[str] = mapped_column(unique=True)
    order_id: Mapped[int] = mapped_column(index=True)
    product_id: Mapped[int | None]
    customer_id: Mapped[int | None] = mapped_column(index=True)
    lot: Mapped[str | None]
    serial: Mapped[str | None]
    version: Mapped[str | None]
    seller: Mapped[str | None]
    quantity: Mapped[int] = mapped_column(server_default="1", default=1)
    quantity_returned: Mapped[int] = mapped_column(server_default="0", default=0)
    ordered_at: Mapped[datetime | None]
    promised_at: Mapped[datetime | None]
    shipped_at: Mapped[datetime | None]
    delivered_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]
    returned_at: Mapped[datetime | None]
    attributes: Mapped[dict[str, Any]] = json_object()
    updated_at: Mapped[datetime] = created()

    __table_args__ = (
        Index(
            "ix_order_items_product_id_lot",
            "product_id",
            "lot",
            postgresql_include=[
                "customer_id",
                "ordered_at",
                "delivered_at",
                "cancelled_at",
                "quantity",
                "quantity_returned",
            ],
        ),
    )


class UsageEvent(Base):
    """Something a customer did or a device reported."""

    __tablename__ = "usage_events"

    id: Mapped[int] = bigint_key()
    external_id: Mapped[str] = mapped_column(unique=True)
    customer_id: Mapped[int | None]
    name: Mapped[str]
    occurred_at: Mapped[datetime]
    attributes: Mapped[dict[str, Any]] = json_object()

    __table_args__ = (Index("ix_usage_events_customer_id_name", "customer_id", "name", "occurred_at"),)
