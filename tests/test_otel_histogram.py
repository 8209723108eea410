"""Histograms record the same with series looked up once as the SDK's own `record` does, whatever the SDK is set to."""

import gc
import os
import threading
from collections.abc import Mapping
from typing import Any, Final, cast
from weakref import ref

import pytest
from opentelemetry import trace
from opentelemetry.context import Context, set_value
from opentelemetry.metrics import Histogram, Meter
from opentelemetry.sdk.metrics import (
    AlwaysOffExemplarFilter,
    AlwaysOnExemplarFilter,
    ExemplarFilter,
    MeterProvider,
    SimpleFixedSizeExemplarReservoir,
)
from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics._internal import _disable_meter_configurator
from opentelemetry.sdk.metrics._internal.aggregation import _ExplicitBucketHistogramAggregation
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    DropAggregation,
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
    View,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from rlm_otel.instruments import Instrument
from rlm_otel.otel.histogram import FastHistogram
from rlm_otel.otel.in_flight import observer_of
from rlm_otel.values import Attributes

CHAT: Final[Attributes] = {"gen_ai.operation.name": "chat", "server.port": 443}
EMBEDDINGS: Final[Attributes] = {"gen_ai.operation.name": "embeddings"}
FAST: Final = Instrument("fast", "histogram", "", (), "", (0.0, 1.0, 2.0))
VALUES: Final = (
    (0.5, CHAT),
    (3.0, CHAT),
    (0.25, EMBEDDINGS),
    (3.0, CHAT),
    (0, CHAT),
    (-1.0, CHAT),
    (float("nan"), CHAT),
)


def context(*, sampled: bool = True) -> Context:
    provider = TracerProvider(shutdown_on_exit=False) if sampled else TracerProvider(ALWAYS_OFF, shutdown_on_exit=False)
    return trace.set_span_in_context(provider.get_tracer("tests").start_span("chat"))


def points(reader: InMemoryMetricReader) -> dict[str, list[dict[str, Any]]]:
    """The points by histogram, without their times, which no two share."""
    data = reader.get_metrics_data()
    return {
        metric.name: [
            {
                "attributes": dict(point.attributes or {}),
                "counts": tuple(getattr(point, "bucket_counts", ())) or str(getattr(point, "positive", "")),
                "sum": point.sum,  # type: ignore[union-attr]
                "range": (point.min, point.max),  # type: ignore[union-attr]
                "exemplars": [(e.value, e.span_id, e.filtered_attributes) for e in point.exemplars],
            }
            for point in metric.data.data_points
        ]
        for metric in (data.resource_metrics[0].scope_metrics[0].metrics if data else ())
        if metric.name != "active"
    }


class First(SimpleFixedSizeExemplarReservoir):
    """Keeps the first value, whatever its bucket."""

    def __init__(self, **_: Any) -> None:
        super().__init__()

    def offer(self, *measured: Any) -> None:
        if self._measurements_seen == 0:
            super().offer(*measured)


class Large(ExemplarFilter):
    """One of the application's own, which looks at the value."""

    def should_sample(self, value: float, *_: Any) -> bool:
        return value > 1


def fast_histogram(meter: Meter) -> FastHistogram:
    """One that is merged when metrics are collected, as `OTelCallback` has them."""
    observer = observer_of(meter)
    meter.create_observable_up_down_counter("active", [observer.active])
    return observer.histogram(meter, FAST)


def record_both(meters: MeterProvider, where: Context | None) -> tuple[FastHistogram, Histogram]:
    """The same values into `fast`, by ours, and into `sdk`, by the SDK's own method."""
    meter = meters.get_meter("tests")
    sdk = meter.create_histogram("sdk", explicit_bucket_boundaries_advisory=[0, 1, 2])
    fast = fast_histogram(meter)
    for _ in range(2):
        for value, attributes in VALUES:
            fast.record(value, attributes, where)
            sdk.record(value, attributes, where)
    return fast, sdk


DELTA: Final = {SdkHistogram: AggregationTemporality.DELTA}
VIEWS: Final[Mapping[str, list[View]]] = {
    "default": [],
    "fewer attributes": [View(instrument_name="*", attribute_keys={"server.port"})],
    "dropped": [View(instrument_name="*", aggregation=DropAggregation())],
    "few series": [View(instrument_name="*", aggregation_cardinality_limit=1)],
    "other buckets": [View(instrument_name="*", aggregation=ExplicitBucketHistogramAggregation([0.25, 0.5]))],
    "without extremes": [View(instrument_name="*", aggregation=ExplicitBucketHistogramAggregation([1], False))],
    "exponential": [View(instrument_name="*", aggregation=ExponentialBucketHistogramAggregation())],
    "twice": [View(instrument_name="fast"), View(instrument_name="fast", name="again"), View(instrument_name="sdk")],
    "fewer exemplars": [View(instrument_name="*", exemplar_reservoir_factory=lambda _: cast("Any", First))],
}


@pytest.mark.parametrize("views", VIEWS)
@pytest.mark.parametrize("temporality", [{}, DELTA], ids=["cumulative", "delta"])
@pytest.mark.parametrize("sampled", [True, False])
def test_the_points_are_those_of_the_sdk(
    views: str, temporality: dict[type, AggregationTemporality], *, sampled: bool
) -> None:
    """Counts, sums, extremes and exemplars, in each of two collections."""
    reader = InMemoryMetricReader(preferred_temporality=temporality)
    meters = MeterProvider([reader], views=VIEWS[views], shutdown_on_exit=False)
    where = context(sampled=sampled)
    fast, sdk = record_both(meters, where)
    first = points(reader)
    assert {"fast", "sdk"} - set(first) == ({"fast", "sdk"} if views == "dropped" else set())
    assert first.get("fast") == first.get("sdk")
    for value in (1.25, 1.5):
        fast.record(value, CHAT, where)
        sdk.record(value, CHAT, where)
    second = points(reader)
    assert second.get("fast") == second.get("sdk")
    assert second.get("again") in (None, second.get("fast"))
    third = points(reader)
    assert third.get("fast") == third.get("sdk")


@pytest.mark.parametrize("wanted", [AlwaysOnExemplarFilter(), AlwaysOffExemplarFilter(), Large()], ids=type)
@pytest.mark.parametrize("where", [context(), context(sampled=False), Context()], ids=["sampled", "not", "no span"])
def test_exemplars_are_those_that_the_filter_wants(wanted: ExemplarFilter, where: Context) -> None:
    """Whatever it looks at."""
    reader = InMemoryMetricReader()
    record_both(MeterProvider([reader], exemplar_filter=wanted, shutdown_on_exit=False), where)
    found = points(reader)
    assert found["fast"] == found["sdk"]


def test_what_is_counted_is_what_was_recorded() -> None:
    """The literal, beside the comparison: five values in four buckets, one exemplar a bucket."""
    reader = InMemoryMetricReader()
    where = context()
    record_both(MeterProvider([reader], shutdown_on_exit=False), where)
    span = trace.get_current_span(where).get_span_context().span_id
    assert points(reader)["fast"] == [
        {
            "attributes": CHAT,
            "counts": (2, 2, 0, 4),
            "sum": 13.0,
            "range": (0, 3.0),
            "exemplars": [(0, span, {}), (0.5, span, {}), (3.0, span, {})],
        },
        {
            "attributes": EMBEDDINGS,
            "counts": (0, 2, 0, 0),
            "sum": 0.5,
            "range": (0.25, 0.25),
            "exemplars": [(0.25, span, {})],
        },
    ]


def test_a_reader_that_comes_later_misses_nothing() -> None:
    """Where values go is looked up again when the readers change."""
    early, late = InMemoryMetricReader(), InMemoryMetricReader()
    meters = MeterProvider([early], shutdown_on_exit=False)
    fast, _ = record_both(meters, context())
    meters.add_metric_reader(late)
    for _ in range(3):
        fast.record(0.5, CHAT, context())
    assert points(late)["fast"][0]["counts"] == (0, 3, 0, 0)
    assert points(early)["fast"][0]["counts"] == (2, 5, 0, 4)


def test_a_known_series_does_not_go_through_the_sdks_record(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the private names have changed, and each value costs four times as much."""
    reader = InMemoryMetricReader()
    fast, sdk = record_both(MeterProvider([reader], shutdown_on_exit=False), context())
    monkeypatch.setattr(type(sdk), "record", None)
    fast.record(0.5, CHAT, context())
    assert points(reader)["fast"][0]["counts"] == (2, 3, 0, 4)


def test_an_aggregation_that_does_something_else_is_asked_for_each_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later SDK, or whoever wraps the SDK's method, gets to see all of them."""
    seen: list[float] = []
    plain = _ExplicitBucketHistogramAggregation.aggregate

    def aggregate(self: Any, measurement: Any, should_sample_exemplar: bool = True) -> None:
        seen.append(measurement.value)
        plain(self, measurement, should_sample_exemplar)

    monkeypatch.setattr(_ExplicitBucketHistogramAggregation, "aggregate", aggregate)
    reader = InMemoryMetricReader()
    fast = fast_histogram(MeterProvider([reader], shutdown_on_exit=False).get_meter("tests"))
    for value in (0.5, 1.5, 3.0):
        fast.record(value, CHAT, context())
    assert seen == [0.5, 1.5, 3.0]
    assert points(reader)["fast"][0]["counts"] == (0, 1, 1, 1)


@pytest.fixture
def few_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Series make room all the time."""
    monkeypatch.setattr("rlm_otel.otel.histogram._MOST_KNOWN", 20)


@pytest.mark.usefixtures("few_known")
def test_more_series_than_are_known_lose_nothing() -> None:
    """Those that make room are added to the SDK's before they go."""
    reader = InMemoryMetricReader()
    fast = fast_histogram(MeterProvider([reader], shutdown_on_exit=False).get_meter("tests"))
    series: list[Attributes] = [{"rlm.turn": number} for number in range(50)]
    for _ in range(3):
        for attributes in series[:10] + series:
            fast.record(0.5, attributes, context())
    counts = {point["attributes"]["rlm.turn"]: point["counts"] for point in points(reader)["fast"]}
    assert counts == {number: (0, 6 if number < 10 else 3, 0, 0) for number in range(50)}


def test_a_series_that_has_made_room_takes_nothing_any_more() -> None:
    """A thread that has just found it records in public instead."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    fast, _ = record_both(meters, context())
    found = fast._known[id(CHAT)]
    assert found.add(0.5, None)
    meters.add_metric_reader(InMemoryMetricReader())
    fast.record(0.5, CHAT, context())
    assert not found.add(0.5, None)
    assert points(reader)["fast"][0]["counts"] == (2, 4, 0, 4)


@pytest.mark.usefixtures("few_known")
def test_threads_lose_nothing_while_metrics_are_collected() -> None:
    """Nor while series are met for the first time, make room, or readers come."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    fast = fast_histogram(meters.get_meter("tests"))
    series: list[Attributes] = [{"rlm.turn": number} for number in range(25)]
    where = context()

    def work() -> None:
        for attributes in series * 20:
            fast.record(0.5, attributes, where)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        points(reader)
        meters.add_metric_reader(InMemoryMetricReader())
    for thread in threads:
        thread.join(0.01)
        points(reader)
    for thread in threads:
        thread.join()
    assert sum(sum(point["counts"]) for point in points(reader)["fast"]) == 25 * 20 * 8


def test_a_forked_child_does_not_count_what_its_parent_did() -> None:
    """What waits for the next collection is the parent's: the child would add it a second time."""
    reader = InMemoryMetricReader()
    fast = fast_histogram(MeterProvider([reader], shutdown_on_exit=False).get_meter("tests"))
    for _ in range(3):
        fast.record(0.5, CHAT, context())
    assert points(reader)["fast"][0]["counts"] == (0, 3, 0, 0)
    fast.record(0.5, CHAT, context())
    child = os.fork()
    if child == 0:
        fast.record(1.5, CHAT, context())
        os._exit(0 if points(reader)["fast"][0]["counts"] == (0, 3, 1, 0) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert points(reader)["fast"][0]["counts"] == (0, 4, 0, 0)


class Foreign(Histogram):
    """A histogram of some other SDK."""

    def __init__(self) -> None:
        self.recorded: list[tuple[float, Any, Any]] = []

    def record(self, amount: float, attributes: Any = None, context: Any = None) -> None:
        self.recorded.append((amount, attributes, context))


@pytest.mark.parametrize("consumer", [None, object()])
def test_another_sdk_is_only_asked_in_public(consumer: object) -> None:
    """Nothing private is needed, and a private name of another meaning does no harm."""
    foreign, where = Foreign(), context()
    if consumer is not None:
        foreign._measurement_consumer = consumer  # type: ignore[attr-defined]
    fast = FastHistogram(foreign)
    for _ in range(2):
        fast.record(0.5, CHAT, where)
    assert foreign.recorded == [(0.5, CHAT, where), (0.5, CHAT, where)]


def test_the_latest_exemplar_stays_the_latest_when_a_reader_comes() -> None:
    """What was counted before is added before what follows."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    fast = fast_histogram(meters.get_meter("tests"))
    for value in (1.25, 1.5):
        fast.record(value, CHAT, context())
    meters.add_metric_reader(InMemoryMetricReader())
    fast.record(1.75, CHAT, context())
    assert [value for value, _, _ in points(reader)["fast"][0]["exemplars"]] == [1.75]


class Holding(InMemoryMetricReader):
    """A reader that knows its provider."""

    provider: MeterProvider


class Asked:
    """Something of the application's, put into the context."""


def test_nothing_of_the_application_is_kept() -> None:
    """Neither a provider that is gone, nor what was in the context of the latest call."""
    reader = Holding()
    reader.provider = MeterProvider([reader], shutdown_on_exit=False)
    fast, asked = fast_histogram(reader.provider.get_meter("tests")), Asked()
    for _ in range(2):
        fast.record(0.5, CHAT, set_value("asked", asked, context()))
    seen, provider = ref(asked), ref(reader.provider)
    points(reader)
    del asked
    gc.collect()
    assert seen() is None
    del reader, fast
    gc.collect()
    assert provider() is None


def test_a_meter_that_is_switched_off_shows_what_was_counted_before() -> None:
    """With the next value, which is none of it."""
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader], shutdown_on_exit=False)
    fast = fast_histogram(meters.get_meter("tests"))
    for _ in range(3):
        fast.record(0.5, CHAT, context())
    meters._set_meter_configurator(meter_configurator=_disable_meter_configurator)
    fast.record(0.5, CHAT, context())
    assert points(reader)["fast"][0]["counts"] == (0, 3, 0, 0)
