"""The dashboard for a person who pays: what calls cost, for whom, and how many have no price."""

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.build import panels
from grafana.build.frame import dashboard, row
from grafana.build.names import COST_SOURCE, FEATURE, MODEL, PROVIDER, REASON, TEAM, series
from grafana.build.panels import Column, Panel, Query
from grafana.build.promql import LABELLED, RANGE, exact_rate, or_zero, ratio, select
from grafana.build.units import COUNT, DOLLARS
from rlm_otel import semconv as sc
from rlm_otel.views.promql import exact_increase

_DAY: Final = "1d"

OPERATIONS: Final = select(series(sc.OPERATIONS), *LABELLED)
COST: Final = select(series(sc.COST), *LABELLED)
UNPRICED: Final = select(series(sc.UNPRICED), *LABELLED)

_UNPRICED_TOO: Final = "Unpriced calls are left out: their number is beside it."
_DECLARED: Final = "Needs the label declared where the callback is made, e.g. `labels={{{0!r}: (...)}}`; empty without."


def build() -> Dashboard:
    """The dashboard."""
    return dashboard(
        "rlm-otel-cost",
        "LLM cost",
        "What model calls cost, by team, feature, model and day, with the number of calls that nobody could price.",
        since="now-30d",
        rows=[
            row("In the time range", 4, (6, cost()), (4, unpriced()), (5, per_call()), (5, month()), (4, hour())),
            row("By day", 9, (16, daily("model", MODEL)), (8, daily_unpriced())),
            row("By model", 8, (12, pace()), (12, bill("model", {PROVIDER: "Provider", MODEL: "Model"}))),
            row("By team", 8, (12, daily("team", TEAM)), (12, bill("team", {TEAM: "Team"}))),
            row("By feature", 8, (12, daily("feature", FEATURE)), (12, bill("feature", {FEATURE: "Feature"}))),
            row("All together", 9, (16, whole_bill()), (8, sources())),
        ],
        more=("team", "feature"),
    )


def cost() -> Panel:
    """The sum."""
    return panels.stat("Cost", f"What the priced calls cost. {_UNPRICED_TOO}", DOLLARS, Query(_sum(COST), "cost"))


def unpriced() -> Panel:
    """What the sum leaves out."""
    return panels.stat(
        "Unpriced calls",
        "Calls without a cost: no usage was reported, or there is no price for the model.",
        COUNT,
        Query(or_zero(_sum(UNPRICED), _sum(OPERATIONS)), "unpriced"),
        steps=panels.BAD_COUNT,
    )


def per_call() -> Panel:
    """The mean."""
    priced = f"({_sum(OPERATIONS)} - ({or_zero(_sum(UNPRICED), _sum(OPERATIONS))}))"
    return panels.stat(
        "Cost per priced call",
        "Mean of the calls that have a price.",
        DOLLARS,
        Query(ratio(_sum(COST), priced), "each"),
    )


def month() -> Panel:
    """What it comes to."""
    return panels.stat(
        "30 days at this pace",
        "The cost of the time range, drawn out to 30 days. Quiet hours count as they are.",
        DOLLARS,
        Query(f"{_sum(COST)} / $__range_s * {30 * 86400}", "30 days"),
    )


def hour() -> Panel:
    """What it is just now."""
    return panels.stat(
        "The last hour",
        f"What the calls of the last hour cost, whatever the time range. {_UNPRICED_TOO}",
        DOLLARS,
        Query(exact_increase(COST, "1h"), "hour"),
    )


def daily(what: str, label: str) -> Panel:
    """Bars of days."""
    about = "" if label == MODEL else " " + _DECLARED.format(what)
    return panels.lines(
        f"Cost per day, by {what}",
        f"Each bar is the day that begins there; today's is not complete. {_UNPRICED_TOO}{about}",
        DOLLARS,
        Query(exact_increase(COST, _DAY, (label,), ahead=True), f"{{{{{label}}}}}"),
        daily=True,
    )


def daily_unpriced() -> Panel:
    """What the bars leave out."""
    counted = exact_increase(UNPRICED, _DAY, (REASON,), ahead=True)
    none = exact_increase(OPERATIONS, _DAY, ahead=True)
    return panels.lines(
        "Unpriced calls per day",
        "What the cost leaves out, by reason: `no_usage` was reported, or there is `no_price`.",
        COUNT,
        Query(f'label_replace({or_zero(counted, none)}, "{REASON}", "none", "{REASON}", "")', f"{{{{{REASON}}}}}"),
        daily=True,
    )


def pace() -> Panel:
    """Since when it is expensive."""
    return panels.lines(
        "Cost per hour, by model",
        f"What an hour at this pace costs. {_UNPRICED_TOO}",
        DOLLARS,
        Query(exact_rate(COST, (PROVIDER, MODEL), seconds=3600), f"{{{{{MODEL}}}}} · {{{{{PROVIDER}}}}}"),
    )


def bill(what: str, by: dict[str, str]) -> Panel:
    """A line for each."""
    about = "" if what == "model" else " " + _DECLARED.format(what)
    return panels.table(f"Cost by {what}", f"Of the whole time range.{about}", by, *_columns(tuple(by)), sort="Cost")


def whole_bill() -> Panel:
    """For a spreadsheet."""
    by = {TEAM: "Team", FEATURE: "Feature", MODEL: "Model"}
    return panels.table(
        "Cost by team, feature and model",
        "Of the whole time range; the panel's menu (Inspect, Data) gives it as CSV. Labels that were not declared are "
        "empty.",
        by,
        *_columns(tuple(by)),
        sort="Cost",
    )


def sources() -> Panel:
    """How sure the figures are."""
    return panels.lines(
        "Cost per hour, by source of the price",
        "`provider`: the vendor said so in its reply; `local`: tokens times a price list.",
        DOLLARS,
        Query(exact_rate(COST, (COST_SOURCE,), seconds=3600), f"{{{{{COST_SOURCE}}}}}"),
    )


def _columns(by: tuple[str, ...]) -> list[Column]:
    calls = _sum(OPERATIONS, by)
    return [
        Column("Cost", DOLLARS, or_zero(_sum(COST, by), calls)),
        Column("Calls", COUNT, calls),
        Column("Unpriced calls", COUNT, or_zero(_sum(UNPRICED, by), calls), panels.BAD_COUNT),
    ]


def _sum(selector: str, by: tuple[str, ...] = ()) -> str:
    return exact_increase(selector, RANGE, by)
