"""What is open now, read from the tables when metrics are collected: no call pays for it, and nothing drifts."""

from collections import Counter
from collections.abc import Iterable
from typing import Final
from weakref import WeakKeyDictionary, ref

from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.trace import set_span_in_context

from rlm_otel import semconv as sc
from rlm_otel.clock import SYSTEM_CLOCK
from rlm_otel.events import Link
from rlm_otel.fence import failures
from rlm_otel.instruments import Instrument
from rlm_otel.otel.histogram import Exemplars, FastHistogram
from rlm_otel.otel.links import span_of
from rlm_otel.otel.operations import Open, OpenOperations, Series

# Beyond this the SDK folds series into one as well.
_SERIES_LIMIT: Final = 2000

# Not held here: by its histograms it leads to the meter. The instruments that it answers for hold it.
_observers: Final[WeakKeyDictionary[Meter, ref["Observer"]]] = WeakKeyDictionary()


def observer_of(meter: Meter) -> "Observer":
    """The one of this meter, for all callbacks: the SDK drops the functions of an instrument that exists already."""
    known = _observers.get(meter)
    observer = known() if known is not None else None
    if observer is None:
        observer = Observer()
        _observers[meter] = ref(observer)
    return observer


class Observer:
    """Answers for the observable instruments of one meter, from the tables of all callbacks that record there."""

    def __init__(self) -> None:
        self._tables: list[ref[OpenOperations]] = []
        self._seen: dict[Series, Link | None] = {}
        """The latest call of each series. They go on as 0: a vanished series would show its last value for minutes."""
        self._histograms: dict[str, FastHistogram] = {}
        self._exemplars = Exemplars()

    def histogram(self, meter: Meter, instrument: Instrument) -> FastHistogram:
        """The one of this instrument, for all callbacks: what it has counted outlives each of them."""
        if instrument.name not in self._histograms:
            made = meter.create_histogram(
                instrument.name,
                instrument.unit,
                instrument.description,
                explicit_bucket_boundaries_advisory=instrument.buckets,
            )
            self._histograms[instrument.name] = FastHistogram(made, self._exemplars)
        return self._histograms[instrument.name]

    def watch(self, operations: OpenOperations) -> None:
        """Includes a callback's table; it is not kept alive by this."""
        self._tables = [table for table in self._tables if table() is not None] + [ref(operations)]

    def see(self, series: Series, link: Link | None) -> None:
        """Notes that a call of this series began, however short it will be."""
        if len(self._seen) < _SERIES_LIMIT or series in self._seen:
            self._seen[series] = link

    def active(self, _options: CallbackOptions) -> Iterable[Observation]:
        """Model calls in flight; the exemplar is the latest one.

        The SDK asks all such functions before it collects sums, so what histograms have counted is added here.
        """
        for histogram in list(self._histograms.values()):
            histogram.merge()
        self._exemplars.forget()
        latest = dict(self._seen)
        counts = Counter(dict.fromkeys(latest, 0))
        for series, call in self._open():
            counts[series] += 1
            latest.setdefault(series, call.link)
        return [Observation(count, dict(series), _context(latest[series])) for series, count in counts.items()]

    def oldest_active(self, _options: CallbackOptions) -> Iterable[Observation]:
        """Seconds since the oldest model call in flight began; that one is the exemplar."""
        now = SYSTEM_CLOCK.monotonic_ns()
        oldest = {series: (0.0, link) for series, link in dict(self._seen).items()}
        for series, call in self._open():
            age = (now - call.started.monotonic_ns) / 1e9
            if series not in oldest or age > oldest[series][0]:
                oldest[series] = (age, call.link)
        return [Observation(age, dict(series), _context(link)) for series, (age, link) in oldest.items()]

    @staticmethod
    def callback_failures(_options: CallbackOptions) -> Iterable[Observation]:
        """What the fence has swallowed in this process."""
        return [
            Observation(count, {sc.RLM_CALLBACK: callback, sc.RLM_HOOK: hook})
            for (callback, hook), count in failures().items()
        ]

    def _open(self) -> list[tuple[Series, Open]]:
        tables = [table for watched in self._tables if (table := watched()) is not None]
        calls = [call for table in tables for call in table.all()]
        return [(call.series, call) for call in calls if call.series is not None]


def _context(link: Link | None) -> Context | None:
    return None if link is None else set_span_in_context(span_of(link), Context())
