"""Histograms record the same with series looked up once as the SDK's own `record` does, whatever the SDK is set to."""

from collections.abc import Mapping
from typing import Any, Final

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import Histogram as SdkHistogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import DropAggregation, View
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from rlm_otel.otel.histogram import FastHistogram
from rlm_otel.values import Attributes

CHAT: Final[Attributes] = {"gen_ai.operation.name": "chat", "server.port": 443}
EMBEDDINGS: Final[Attributes] = {"gen_ai.operation.name": "embeddings"}
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
                "counts": tuple(point.bucket_counts),  # type: ignore[union-attr]
                "sum": point.sum,  # type: ignore[union-attr]
                "range": (point.min, point.max),  # type: ignore[union-attr]
                "exemplars": [(e.value, e.span_id, e.filtered_attributes) for e in point.exemplars],
            }
            for point in metric.data.data_points
        ]
        for metric in (data.resource_metrics[0].scope_metrics[0].metrics if data else ())
    }


def record_both(meters: MeterProvider, where: Context | None) -> tuple[FastHistogram, Histogram]:
    """The same values into `fast`, by ours, and into `sdk`, by the SDK's own method."""
    meter = meters.get_meter("tests")
    sdk = meter.create_histogram("sdk", explicit_bucket_boundaries_advisory=[0, 1, 2])
    fast = FastHistogram(meter.create_histogram("fast", explicit_bucket_boundaries_advisory=[0, 1, 2]))
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
    assert sorted(first) == ([] if views == "dropped" else ["fast", "sdk"])
    assert first.get("fast") == first.get("sdk")
    fast.record(1.5, CHAT, where)
    sdk.record(1.5, CHAT, where)
    second = points(reader)
    assert second.get("fast") == second.get("sdk")


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
