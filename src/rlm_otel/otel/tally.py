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
_OVERFLOW: Final[_Series] = (("otel.metric.overflow", True),)

_by_meter: Final[WeakKeyDictionary[Meter, dict[str, "Tally"]]] = WeakKeyDictionary()
_tallies: Final[WeakSet["Tally"]] = WeakSet()


def tally_of(meter: Meter, name: str) -> "Tally":
    """The one of this instrument, for all callbacks that record there: an instrument is observed by one function."""
    tallies = _by_meter.setdefault(meter, {})
    if name not in tallies:
        tallies[name] = Tally()
    return tallies[name]


class Tally:
    """The sum, or the latest value, of each series of one instrument, with the context of its latest measurement."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: dict[_Series, int | float] = {}
        self._contexts: dict[_Series, Context] = {}
        _tallies.add(self)
        _watch_forks()

    def add(self, value: int | float, attributes: Attributes | None = None, context: Context | None = None) -> None:
        """Adds to a series; the context is for its exemplar."""
        series = tuple(attributes.items()) if attributes else ()
        with self._lock:
            series = self._within_limit(series)
            self._values[series] = self._values.get(series, 0) + value
            if context is not None:
                self._contexts[series] = context

    def set(self, value: int | float, attributes: Attributes | None = None, context: Context | None = None) -> None:
        """Replaces the value of a series."""
        series = tuple(attributes.items()) if attributes else ()
        with self._lock:
            series = self._within_limit(series)
            self._values[series] = value
            if context is not None:
                self._contexts[series] = context

    def _within_limit(self, series: _Series) -> _Series:
        return series if series in self._values or len(self._values) < _SERIES_LIMIT else _OVERFLOW

    def observe(self, _options: CallbackOptions) -> Iterable[Observation]:
        """All series, for a collection; an exemplar is given once."""
        with self._lock:
            values, contexts = self._values.copy(), self._contexts
            self._contexts = {}
        return [Observation(value, dict(series), contexts.get(series)) for series, value in values.items()]

    def forget(self) -> None:
        """In a forked child, which is a series of its own: what was counted before is the parent's."""
        self._lock = threading.Lock()
        self._values, self._contexts = {}, {}


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget_all)


def _forget_all() -> None:
    for tally in list(_tallies):
        tally.forget()
