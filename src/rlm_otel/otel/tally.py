"""Counters and gauges as tallies of our own, read when metrics are collected: a tenth of the price of an SDK record."""

import os
import threading
from collections.abc import Iterable
from functools import cache
from typing import Final
from weakref import WeakKeyDictionary, WeakSet

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, Observation

from rlm_otel.values import Attributes, Value

_Series = tuple[tuple[str, Value], ...]

# The SDK's own limit and its name for what is beyond.
_SERIES_LIMIT: Final = 2000
_MOST_KNOWN: Final = 256
_OVERFLOW: Final[_Series] = (("otel.metric.overflow", True),)

_by_meter: Final[WeakKeyDictionary[Meter, dict[str, "Tally"]]] = WeakKeyDictionary()
_tallies: Final[WeakSet["Tally"]] = WeakSet()


def tally_of(meter: Meter, name: str) -> "Tally":
    """The one of this instrument, for all callbacks that record there: an instrument is observed by one function."""
    tallies = _by_meter.setdefault(meter, {})
    if name not in tallies:
        tallies[name] = Tally()
    return tallies[name]


class _Cell:
    """One series: an object, so that a measurement looks its series up once."""

    __slots__ = ("context", "value")

    def __init__(self) -> None:
        self.value: int | float = 0
        self.context: Context | None = None


class Tally:
    """The sum, or the latest value, of each series of one instrument, with the context of its latest measurement.

    Attributes are never changed once they were given: the very same object is the same series.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cells: dict[_Series, _Cell] = {}
        # By the id of the attributes, held here so that it stays theirs: the hash of a tuple is made anew each time.
        self._known: dict[int, tuple[Attributes, _Cell]] = {}
        _tallies.add(self)
        _watch_forks()

    def add(self, value: int | float, attributes: Attributes | None = None, context: Context | None = None) -> None:
        """Adds to a series; the context is for its exemplar."""
        with self._lock:
            cell = self._cell(attributes)
            cell.value += value
            if context is not None:
                cell.context = context

    def set(self, value: int | float, attributes: Attributes | None = None, context: Context | None = None) -> None:
        """Replaces the value of a series."""
        with self._lock:
            cell = self._cell(attributes)
            cell.value = value
            if context is not None:
                cell.context = context

    def _cell(self, attributes: Attributes | None) -> _Cell:
        known = self._known.get(id(attributes))
        if known is not None:
            return known[1]
        series = tuple(attributes.items()) if attributes else ()
        cell = self._cells.get(series)
        if cell is None:
            cell = self._cells.setdefault(series if len(self._cells) < _SERIES_LIMIT else _OVERFLOW, _Cell())
        if attributes is not None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            self._known[id(attributes)] = (attributes, cell)
        return cell

    def observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        """All series, for a collection; an exemplar is given once."""
        with self._lock:
            observed = [Observation(cell.value, dict(series), cell.context) for series, cell in self._cells.items()]
            for cell in self._cells.values():
                cell.context = None
        return observed

    def forget(self) -> None:
        """In a forked child, which is a series of its own: what was counted before is the parent's."""
        self._lock = threading.Lock()
        self._cells = {}
        self._known = {}


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget_all)


def _forget_all() -> None:
    for tally in list(_tallies):
        tally.forget()
