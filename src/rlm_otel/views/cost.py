"""What was spent in a time, grouped by labels, with the calls that could not be priced beside it; from Prometheus."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from rlm_otel import semconv as sc
from rlm_otel.views.coverage import coverage_notes
from rlm_otel.views.durations import told
from rlm_otel.views.prometheus import Prometheus
from rlm_otel.views.promql import counter, exact_increase, label

Group = tuple[str, ...]
"""The value of each label; empty where a series does not have it."""

_LABELS: Final = {
    "model": label(sc.REQUEST_MODEL),
    "provider": label(sc.PROVIDER_NAME),
    "service": "service_name",
    "environment": "deployment_environment_name",
}
"""Names for what is no label of the application's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One group."""

    group: Group
    cost_usd: float | None
    """None where no call of it was priced."""
    calls: int
    unpriced: int
    """How many of the calls the cost leaves out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """The groups, the most expensive first, all of them together, and what has to be known about the figures."""

    by: tuple[str, ...]
    rows: tuple[Row, ...]
    all: Row
    notes: tuple[str, ...] = field(default=())


def spent(prometheus: Prometheus, by: Sequence[str], *, now_s: float, since_s: float) -> Spent:
    """The exact growth of the counters in the last `since_s` seconds."""
    names = [_LABELS.get(key, label(f"{sc.RLM_LABEL}.{key}")) for key in by]

    def grown(metric: str, more: str = "") -> dict[Group, float]:
        grouped = [*names, more] if more else names
        samples = prometheus.at(now_s, exact_increase(counter(metric), f"{round(since_s)}s", grouped))
        return {tuple(sample.labels.get(name, "") for name in grouped): sample.value for sample in samples}

    costs, calls = grown(sc.COST), grown(sc.OPERATIONS)
    reasons: Counter[str] = Counter()
    unpriced: Counter[Group] = Counter()
    for (*group, reason), count in grown(sc.UNPRICED, label(sc.RLM_REASON)).items():
        reasons[reason] += round(count)
        unpriced[tuple(group)] += round(count)
    rows = [
        Row(group=group, cost_usd=costs.get(group), calls=round(calls.get(group, 0)), unpriced=unpriced[group])
        for group in {*costs, *calls, *unpriced}
    ]
    rows = sorted(
        (row for row in rows if row.cost_usd or row.calls or row.unpriced),
        key=lambda row: (-(row.cost_usd or 0), -row.calls, row.group),
    )
    notes = [*_unpriced_note(reasons), *_label_notes(by, names, rows), *coverage_notes(prometheus, now_s, since_s)]
    if not rows:
        notes.insert(0, _nothing(since_s))
    return Spent(by=tuple(by), rows=tuple(rows), all=_sum(rows, len(by)), notes=(*notes, *prometheus.warnings))


def _sum(rows: Sequence[Row], labels: int) -> Row:
    priced = [row.cost_usd for row in rows if row.cost_usd is not None]
    return Row(
        group=("",) * labels,
        cost_usd=sum(priced) if priced else None,
        calls=sum(row.calls for row in rows),
        unpriced=sum(row.unpriced for row in rows),
    )


def _unpriced_note(reasons: Mapping[str, int]) -> list[str]:
    known = {reason: count for reason, count in reasons.items() if count}
    if not known:
        return []
    told_reasons = ", ".join(f"{count} {_REASONS.get(reason, reason)}" for reason, count in sorted(known.items()))
    count = sum(known.values())
    return [f"the cost leaves out {count} call{'s' if count > 1 else ''}: {told_reasons}"]


_REASONS: Final = {
    "no_price": "with a model that no price is known of (OTelCallback(prices=...) can name one)",
    "no_usage": "whose reply had no token usage",
}


def _label_notes(by: Sequence[str], names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """A key that nothing has is a mistake, here or in the service."""
    return [
        f"nothing has a {key} (label {name} in Prometheus)"
        + ("" if key in _LABELS else f": a service declares it with OTelCallback(labels={{'{key}': (...)}})")
        for column, (key, name) in enumerate(zip(by, names, strict=True))
        if rows and not any(row.group[column] for row in rows)
    ]


def _nothing(since_s: float) -> str:
    return (
        f"no model call was recorded in the last {told(since_s)}. Check that the service sends metrics "
        "(`rlm-otel doctor` there), that they reach this Prometheus (--prometheus URL), and --since"
    )
