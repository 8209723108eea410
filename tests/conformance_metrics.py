"""Holds metrics against the registry, and those under `rlm.` against the table of our own."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from opentelemetry.sdk.metrics.export import (
    ExponentialHistogram,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    Sum,
)

from tests.conformance_attributes import REGISTRY, attribute_violations

IDENTITY: Final = {
    "gen_ai.operation.name",
    "gen_ai.provider.name",
    "gen_ai.request.model",
    "gen_ai.response.model",
    "gen_ai.agent.name",
    "gen_ai.tool.name",
    "gen_ai.tool.type",
}
"""What metrics of our own may carry of the conventions' names: no server, no ids, no text."""

# name: instrument, unit, value type, attributes beside the identity and declared labels
OWN: Final[dict[str, tuple[str, str, str, set[str]]]] = {
    "rlm.client.operations": ("counter", "{call}", "int", {"rlm.outcome"}),
    "rlm.client.attempts": ("counter", "{attempt}", "int", {"error.type"}),
    "rlm.client.active": ("updowncounter", "{call}", "int", set()),
    "rlm.client.oldest_active": ("gauge", "s", "double", set()),
    "rlm.client.time_to_first_token": ("histogram", "s", "double", set()),
    "rlm.client.cost": ("counter", "{USD}", "double", {"rlm.cost.source"}),
    "rlm.client.unpriced": ("counter", "{call}", "int", {"rlm.reason"}),
    "rlm.client.ratelimit.remaining": ("gauge", "{item}", "int", {"rlm.ratelimit.kind"}),
    "rlm.client.ratelimit.limit": ("gauge", "{item}", "int", {"rlm.ratelimit.kind"}),
    "rlm.feedback": ("histogram", "1", "double", {"gen_ai.evaluation.name", "gen_ai.evaluation.score.label"}),
    "rlm.run.depth": ("histogram", "{level}", "int", set()),
    "rlm.callback.failures": ("counter", "{failure}", "int", {"rlm.callback", "rlm.hook"}),
    "rlm.telemetry.dropped": ("counter", "{item}", "int", {"rlm.reason"}),
}

# By choice the runs' buckets go on where the conventions stop at seven minutes.
LONGER: Final = {"gen_ai.invoke_agent.duration": [819.2, 1638.4, 3276.8, 7200]}

INFERENCE: Final = REGISTRY["spans"]["gen_ai.client.inference"]["operations"]


def metric_violations(metric: Metric, *, legacy: bool) -> Iterator[str]:
    """Each broken rule of one metric and its points; `legacy` admits the older names."""
    if metric.name.startswith("rlm."):
        yield from _own(metric)
        return
    definition = REGISTRY["metrics"].get(metric.name)
    if definition is None and legacy:
        definition = REGISTRY["legacy_metrics"].get(metric.name)
    if definition is None or "instrument" not in definition:
        yield "not a metric of the conventions, and not under rlm."
        return
    yield from _form(metric, definition["instrument"], definition["unit"], definition.get("value_type", "double"))
    buckets = definition.get("buckets")
    for point in metric.data.data_points:
        if isinstance(point, HistogramDataPoint) and buckets:
            expected = [float(bound) for bound in (*buckets, *LONGER.get(metric.name, ()))]
            if list(point.explicit_bounds) != expected:
                yield f"buckets {list(point.explicit_bounds)}, not {expected}"
        yield from _attributes(metric.name, point.attributes or {}, definition["attributes"], legacy=legacy)


def _attributes(name: str, attributes: Mapping[str, Any], rules: Mapping[str, Any], *, legacy: bool) -> Iterator[str]:
    yield from (f"{key}: only on metrics under rlm." for key in attributes if key.startswith("rlm."))
    token_type = {"gen_ai.token.type"} & rules.keys()  # the registry knows this one only here
    for key in token_type & attributes.keys():
        if attributes[key] not in rules[key]["enum"]:
            yield f"{key}: {attributes[key]!r} is not one of {rules[key]['enum']}"
    rest = {key: value for key, value in attributes.items() if key not in token_type}
    yield from attribute_violations(rest, rules.keys() | _vendor(name, attributes), user=False)
    for key, rule in rules.items():
        if rule["requirement"] == "required" and key not in attributes:
            yield f"{key} is missing"
    if (
        name == "gen_ai.client.operation.duration"
        and attributes.get("gen_ai.operation.name") in INFERENCE
        and not legacy
    ):
        yield "inference is measured by gen_ai.client.inference.duration"


def _vendor(name: str, attributes: Mapping[str, Any]) -> set[str]:
    vendor = attributes.get("gen_ai.provider.name")
    refinements = REGISTRY["metric_refinements"].values()
    mine = [r for r in refinements if r["refines"] == name and r["provider"] == vendor]
    return {key for refinement in mine for key in refinement["extra_attributes"]}


def _own(metric: Metric) -> Iterator[str]:
    if metric.name not in OWN:
        yield "not in the table of our own metrics"
        return
    instrument, unit, value_type, extra = OWN[metric.name]
    yield from _form(metric, instrument, unit, value_type)
    for point in metric.data.data_points:
        attributes = point.attributes or {}
        yield from attribute_violations(attributes, IDENTITY | extra, user=False)
        for key in attributes:
            if key.startswith("rlm.") and key not in extra and not key.startswith("rlm.label."):
                yield f"{key}: not declared here"


def _form(metric: Metric, instrument: str, unit: str, value_type: str) -> Iterator[str]:
    actual = _instrument(metric)
    if actual != instrument:
        yield f"a {actual}, not a {instrument}"
    if metric.unit not in unit.split("|"):
        yield f"unit {metric.unit!r}, not {unit!r}"
    for point in metric.data.data_points:
        value = point.value if isinstance(point, NumberDataPoint) else point.sum
        # The sum of a histogram starts as an int in the SDK and leaves as a double anyway.
        exact = value_type == "int" or isinstance(point, NumberDataPoint)
        expected = int if value_type == "int" else float
        if isinstance(value, bool) or (exact and not isinstance(value, expected)):
            yield f"value {value!r} is {type(value).__name__}, not {value_type}"


def _instrument(metric: Metric) -> str:
    match metric.data:
        case Sum(is_monotonic=True):
            return "counter"
        case Sum():
            return "updowncounter"
        case Gauge():
            return "gauge"
        case Histogram() | ExponentialHistogram():
            return "histogram"
