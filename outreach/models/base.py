"""What all tables share: naming, keys, times and words."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, DateTime, Enum, Identity, MetaData, Text, func
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, MappedColumn, mapped_column


class Base(DeclarativeBase):
    """The root of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        int: BigInteger(),
        str: Text(),
        datetime: DateTime(timezone=True),
        dict[str, Any]: JSONB(),
        list[Any]: JSONB(),
    }


def bigint_key() -> MappedColumn[int]:
    """Return the primary key of a table whose ids never leave the system."""
    return mapped_column(BigInteger, Identity(), primary_key=True)


def word(kind: type[StrEnum], **options: Any) -> MappedColumn[Any]:
    """Return a text column that holds only the words of `kind`."""
    column_type = Enum(
        kind,
        name=None,  # so that the naming convention names the check after its column
        native_enum=False,
        create_constraint=True,
        length=32,
        values_callable=lambda words: [w.value for w in words],
    )
    return mapped_column(column_type, **options)


def created() -> MappedColumn[datetime]:
    """Return the time of insertion, filled by the database."""
    return mapped_column(DateTime(timezone=True), server_default=func.now())


def json_object() -> MappedColumn[dict[str, Any]]:
    """Return a JSONB object that is empty unless told otherwise."""
    return mapped_column(JSONB, server_default="{}", default=dict)


__all__ = ["Base", "Mapped", "bigint_key", "created", "json_object", "mapped_column", "word"]
