"""Value objects that are made for every message."""

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value_object(cls: type[T]) -> type[T]:
    """Make a dataclass that the type checker keeps frozen, and nothing at run time.

    Setting a field of a frozen dataclass costs five times as much, for a message some 10 of 100 microseconds.
    """
    return dataclass(slots=True)(cls)
