"""Attribute values as OTLP can carry them: one that it cannot would cost the exporter its whole batch."""

from collections.abc import Iterable
from typing import Final

from rlm_otel.content import encodable

Value = str | bool | int | float | tuple[str, ...]
Attributes = dict[str, Value]
Known = dict[str, Value | None]
"""Values by name; what is not known is None."""

LEAST_INT: Final = -(2**63)
LARGEST_INT: Final = 2**63 - 1
"""OTLP has room for whole numbers from one to the other. No `range`: that one would count up to an `IntEnum`."""


def present(pairs: Iterable[tuple[str, Value | None]]) -> Attributes:
    """The pairs that have a value, lone surrogates replaced and numbers beyond 64 bits left out."""
    found: Attributes = {}
    for name, value in pairs:
        if value is None:
            continue
        if isinstance(value, str):
            if not value.isascii():
                value = encodable(value)
        elif isinstance(value, int):
            if not LEAST_INT <= value <= LARGEST_INT:
                continue
        elif isinstance(value, tuple):
            value = tuple(map(encodable, value))
        found[name] = value
    return found


def double(number: float | None) -> float | None:
    """The number as a float: an int that a caller gave would make the attribute's type vary."""
    return None if number is None else float(number)
