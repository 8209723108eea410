"""Histograms that count here, and are added to the SDK's when metrics are collected: a fifth of what `record` costs."""

import math
import os
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any, Final
from weakref import WeakSet

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.trace import INVALID_SPAN, NonRecordingSpan, SpanContext, get_current_span, set_span_in_context

from rlm_otel.otel.known import uses_only
from rlm_otel.values import Attributes

_MOST_KNOWN: Final = 2000
_STEPS: Final = frozenset(
    {"_lock", "_value", "_get_empty_bucket_counts", "value", "_sum", "_record_min_max", "min", "_min", "max", "_max"}
    | {"bisect_left", "_boundaries", "_sample_exemplar"}
)
"""The names in the SDK's own `aggregate`."""

_Storages = Mapping[Any, Any]
"""The SDK's, by reader: another object whenever a reader comes or goes."""

_histograms: Final[WeakSet["FastHistogram"]] = WeakSet()


class FastHistogram:
    """Records as the SDK's `Histogram.record` does, where `merge` is called before each collection.

    A series that was met before is counted here: most of the price of the SDK's way is to find it again. That takes
    names that are private to the SDK. Where one of them is missing, or something is unusual (deltas, a view of the
    application's, too many series, no SDK), each record takes the public way.
    Attributes are never changed once they were given: the very same object is the same series.
    """

    def __init__(self, histogram: Histogram, exemplars: "Exemplars | None" = None) -> None:
        self._histogram = histogram
        self._exemplars = exemplars or Exemplars()
        self._consumer: Any = getattr(histogram, "_measurement_consumer", None)
        self._is_enabled: Callable[[], bool] = getattr(histogram, "_is_enabled", bool)  # the SDK's, not the API's
        self._learning = threading.Lock()
        self._known: dict[int, _Series] = {}
        """By the id of the attributes, which a series holds so that it stays theirs."""
        _histograms.add(self)
        _watch_forks()

    def record(self, value: int | float, attributes: Attributes | None = None, context: Context | None = None) -> None:
        """Records a value; the context is for its exemplar."""
        series = self._known.get(id(attributes))
        if series is None or series.storages is not self._consumer._reader_storages:
            if series is not None:
                series.merge(last=True)  # it came first, and is none of a new reader's business
            self._histogram.record(value, attributes, context)
            if attributes is not None and self._consumer is not None:
                self._learn(attributes)
        elif not self._is_enabled():
            self.merge()  # nobody asks for it any more
            self._histogram.record(value, attributes, context)
        elif context is None or not 0 <= value < math.inf or not series.add(value, self._exemplars.span_in(context)):
            self._histogram.record(value, attributes, context)

    def merge(self) -> None:
        """Adds what was counted since the last time to the SDK's sums."""
        for series in list(self._known.values()):
            series.merge()

    def forget(self) -> None:
        """In a forked child: what was counted is the parent's, which adds it itself."""
        self._learning = threading.Lock()
        self._known = {}

    def _learn(self, attributes: Attributes) -> None:
        """Finds where the value of this series, recorded just now, went."""
        # Not waited for: a finalizer may come by in the midst of it, and a later record is as good.
        if not self._learning.acquire(blocking=False):
            return
        try:
            if len(self._known) >= _MOST_KNOWN:
                self._known, gone = {}, list(self._known.values())
            else:
                gone = [series] if (series := self._known.pop(id(attributes), None)) is not None else []
            for series in gone:
                series.merge(last=True)
            try:
                storages = self._consumer._reader_storages
                are_known = self._exemplars.follow(self._consumer._sdk_config.exemplar_filter)
                aggregations = _aggregations(self._histogram, storages, attributes) if are_known else ()
            except (AttributeError, ImportError):
                self._consumer = None  # another SDK than the one that this was written for
                self._known = {}
            else:
                self._known[id(attributes)] = _Series(attributes, storages, aggregations)
        finally:
            self._learning.release()


class Exemplars:
    """Which spans the exemplars of one meter's histograms lead to."""

    def __init__(self) -> None:
        self._wanted: Callable[[SpanContext], bool] | None = None
        self._latest: tuple[Context | None, SpanContext | None] = None, None

    def follow(self, exemplar_filter: object) -> bool:
        """Does as the SDK's filter; False for one that does not look at the span alone."""
        if self._wanted is None:
            self._wanted = _wanted_by(exemplar_filter)
        return self._wanted is not None

    def span_in(self, context: Context) -> SpanContext | None:
        """The span that is current there; None where there is to be no exemplar.

        Kept until the next one: it is asked for all values of one operation.
        """
        known, span = self._latest
        if known is not context:
            own = get_current_span(context).get_span_context()
            span = own if self._wanted is not None and self._wanted(own) else None
            self._latest = context, span
        return span

    def forget(self) -> None:
        """What is in a context is the application's, and not to be kept."""
        self._latest = None, None


class _Series:
    """What was counted of one series since the latest collection, and the SDK's sums that it goes to.

    Without any of these, and once it was merged for the last time, it takes nothing.
    """

    __slots__ = (
        "_aggregations",
        "_attributes",
        "_bounds",
        "_counts",
        "_exemplars",
        "_least",
        "_lock",
        "_most",
        "_sum",
        "_takes",
        "storages",
    )

    def __init__(self, attributes: Attributes, storages: _Storages, aggregations: Sequence[Any]) -> None:
        self.storages = storages
        self._attributes = attributes
        self._aggregations = aggregations
        self._takes = bool(aggregations)
        self._bounds: tuple[float, ...] = aggregations[0]._boundaries if aggregations else ()
        self._lock = threading.Lock()
        self._sum: int | float = 0
        self._least: int | float = math.inf
        self._most: int | float = -math.inf
        self._exemplars: dict[int, tuple[int | float, int, SpanContext]] = {}
        self._counts = [0] * (len(self._bounds) + 1)

    def add(self, value: int | float, exemplar: SpanContext | None) -> bool:
        """Counts a value, with the span that an exemplar leads to; whether it was taken."""
        bucket = bisect_left(self._bounds, value)
        latest = None if exemplar is None else (value, time.time_ns(), exemplar)
        # Nothing inside makes the collector run: a finalizer that comes here again would wait for ever.
        with self._lock:
            if not self._takes:
                return False
            self._counts[bucket] += 1
            self._sum += value
            if value < self._least:
                self._least = value
            if value > self._most:
                self._most = value
            if latest is not None:
                self._exemplars[bucket] = latest
        return True

    def merge(self, *, last: bool = False) -> None:
        """Adds what is there to the SDK's sums. The exemplars are what the SDK keeps: the latest of each bucket."""
        empty, none = [0] * len(self._counts), dict[int, tuple[int | float, int, SpanContext]]()
        with self._lock:
            self._takes = self._takes and not last
            counts, self._counts = self._counts, empty
            exemplars, self._exemplars = self._exemplars, none
            total, self._sum = self._sum, 0
            least, self._least = self._least, math.inf
            most, self._most = self._most, -math.inf
        if not any(counts):
            return
        for aggregation in self._aggregations:
            new = list(counts)
            with aggregation._lock:
                for bucket in range(len(aggregation._value or ())):
                    new[bucket] += aggregation._value[bucket]
                aggregation._value = new
                aggregation._sum += total
                if aggregation._record_min_max:
                    aggregation._min = min(aggregation._min, least)
                    aggregation._max = max(aggregation._max, most)
            for value, time_ns, span in exemplars.values():
                aggregation._reservoir.offer(value, time_ns, self._attributes, _context(span))


def _aggregations(histogram: Any, storages: _Storages, attributes: Attributes) -> Sequence[Any]:
    """What adds up the series, one a reader; none where something is unusual."""
    from opentelemetry.sdk.metrics._internal._view_instrument_match import _hash_attributes
    from opentelemetry.sdk.metrics._internal.aggregation import _ExplicitBucketHistogramAggregation
    from opentelemetry.sdk.metrics._internal.exemplar import AlignedHistogramBucketExemplarReservoir

    histogram._is_enabled  # noqa: B018 - without it all would be taken as switched off
    if not uses_only(_ExplicitBucketHistogramAggregation.aggregate, _STEPS):
        return ()
    key, found = _hash_attributes(dict(attributes)), list[Any]()
    for storage in storages.values():
        for match in storage._get_or_init_view_instrument_match(histogram):
            aggregation = match._attributes_aggregation.get(key)
            if (
                match._reset_on_collect
                or match._view._attribute_keys is not None
                or type(aggregation) is not _ExplicitBucketHistogramAggregation
                or type(aggregation._reservoir) is not AlignedHistogramBucketExemplarReservoir
            ):
                return ()
            found.append(aggregation)
    return found if len({aggregation._boundaries for aggregation in found}) == 1 else ()


def _wanted_by(exemplar_filter: object) -> Callable[[SpanContext], bool] | None:
    from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, AlwaysOnExemplarFilter, TraceBasedExemplarFilter

    ways: dict[type, Callable[[SpanContext], bool]] = {
        TraceBasedExemplarFilter: lambda span: span.trace_flags.sampled,
        AlwaysOnExemplarFilter: lambda _span: True,
        AlwaysOffExemplarFilter: lambda _span: False,
    }
    return ways.get(type(exemplar_filter))


def _context(span: SpanContext) -> Context:
    return set_span_in_context(NonRecordingSpan(span) if span.is_valid else INVALID_SPAN, Context())


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget_all)


def _forget_all() -> None:
    for histogram in list(_histograms):
        histogram.forget()
