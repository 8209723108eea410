"""The four kinds of panels, each with what every panel must have: title, description, unit, data source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import common
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import heatmap as heatmaps
from grafana_foundation_sdk.builders import prometheus as queries
from grafana_foundation_sdk.builders import stat as stats
from grafana_foundation_sdk.builders import table as tables
from grafana_foundation_sdk.builders import timeseries as series
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.build.frame import PROMETHEUS
from grafana.build.units import COUNT

Panel = Builder[models.Panel]
Links = list[Builder[models.DashboardLink]]
Steps = Sequence[tuple[float | None, str]]
"""Thresholds: from which value (None: the lowest) which colour."""

T = TypeVar("T")

BAD_SHARE: Final[Steps] = ((None, "green"), (0.01, "orange"), (0.05, "red"))
OUTCOMES: Final = {
    "completed": "green",
    "closed": "blue",
    "abandoned": "purple",
    "cancelled": "orange",
    "failed": "red",
}
"""The colours of `rlm.outcome`."""
BAD_COUNT: Final[Steps] = ((None, "green"), (1, "orange"))


@dataclass(frozen=True)
class Query:
    """One expression of a panel; `legend` names its series, with labels as `{{label}}`."""

    expr: str
    legend: str
    exemplar: bool = False


def lines(
    title: str,
    description: str,
    unit: str,
    *asked: Query,
    links: Links | None = None,
    stacked: bool = False,
    daily: bool = False,
    top: float | None = None,
    colors: Mapping[str, str] | None = None,
) -> series.Panel:
    """A time series; `stacked`: as bars upon one another, `daily`: one bar a day, `top`: the axis ends there.

    `colors`: of series, by their names in the legend.
    """
    panel = (
        series.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .min(0)
        .show_points(shapes.VisibilityMode.AUTO)
        .span_nulls(False)
        .line_width(1)
        .fill_opacity(80 if stacked or daily else 8)
        .tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING))
        .legend(
            common.VizLegendOptions()
            .display_mode(shapes.LegendDisplayMode.LIST)
            .placement(shapes.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
    )
    if stacked or daily:
        panel.draw_style(shapes.GraphDrawStyle.BARS).stacking(
            common.StackingConfig().mode(shapes.StackingMode.NORMAL).group("A")
        )
    if daily:
        panel.interval("1d")
    if top is not None:
        panel.max(top)
    if links:
        panel.data_links(links)
    for name, color in (colors or {}).items():
        panel.override_by_name(name, [_property("color", {"mode": "fixed", "fixedColor": color})])
    for ref, query in _lettered(asked):
        panel.with_target(_target(ref, query).range())
    return panel


def stat(title: str, description: str, unit: str, query: Query, *, steps: Steps | None = None) -> stats.Panel:
    """One number, of an instant query; `steps` colour it."""
    panel = (
        stats.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .no_value("none")
        .graph_mode(shapes.BigValueGraphMode.NONE)
        .color_mode(shapes.BigValueColorMode.VALUE)
        .thresholds(_thresholds(steps or ((None, "blue"),)))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    )
    for ref, one in _lettered((query,)):
        panel.with_target(_target(ref, one).instant())
    return panel


def heatmap(title: str, description: str, unit: str, query: Query, *, repeat: str | None = None) -> heatmaps.Panel:
    """The buckets of a histogram over time, the query grouped by `le`; `repeat`: once for each value of a variable."""
    panel = (
        heatmaps.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(unit)
        .calculate(False)
        .cell_gap(1)
        .y_axis(heatmaps.YAxisConfig().unit(unit).axis_placement(shapes.AxisPlacement.LEFT))
        .color(
            heatmaps.HeatmapColorOptions()
            .mode(heat.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .scale(heat.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .filter_values(heatmaps.FilterValueRange().le(1e-9))
        .show_legend()
    )
    if repeat is not None:
        panel.repeat(repeat).repeat_direction("h").max_per_row(3)
    for ref, one in _lettered((query,)):
        panel.with_target(_target(ref, one).format(PromQueryFormat.HEATMAP).range())
    return panel


@dataclass(frozen=True)
class Column:
    """A column of numbers: all expressions of a table are grouped by the same labels."""

    title: str
    unit: str
    expr: str
    steps: Steps | None = None


def table(
    title: str,
    description: str,
    by: Mapping[str, str],
    *columns: Column,
    sort: str,
    links: Links | None = None,
) -> tables.Panel:
    """One row for each combination of the labels `by` (label to title), one column for each expression."""
    panel = (
        tables.Panel()
        .title(title)
        .description(description)
        .datasource(PROMETHEUS)
        .unit(COUNT)
        .no_value("")
        .filterable(True)
        .sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
        .transformations([models.DataTransformerConfig(id_val="merge", options={}), _order(list(by), len(columns))])
    )
    for label, name in by.items():
        panel.override_by_name(label, [_property("displayName", name), *_linked(links)])
    for ref, column in _lettered(columns):
        panel.with_target(_target(ref, Query(column.expr, column.title)).format(PromQueryFormat.TABLE).instant())
        panel.override_by_name(f"Value #{ref}", _column(column))
    return panel


def _order(labels: list[str], columns: int) -> models.DataTransformerConfig:
    fields = [*labels, *(f"Value #{chr(ord('A') + index)}" for index in range(columns))]
    indexes = {name: index for index, name in enumerate(fields)}
    return models.DataTransformerConfig(
        id_val="organize", options={"excludeByName": {"Time": True}, "indexByName": indexes, "renameByName": {}}
    )


def _column(column: Column) -> list[models.DynamicConfigValue]:
    properties = [_property("displayName", column.title), _property("unit", column.unit)]
    if column.steps is not None:
        properties.append(_property("thresholds", _thresholds(column.steps).build()))
        properties.append(_property("custom.cellOptions", {"type": "color-text"}))
    return properties


def _property(name: str, value: object) -> models.DynamicConfigValue:
    return models.DynamicConfigValue(id_val=name, value=value)


def _linked(links: Links | None) -> list[models.DynamicConfigValue]:
    if not links:
        return []
    return [_property("links", [{"title": link.title, "url": link.url, "targetBlank": True} for link in _built(links)])]


def _built(links: Links) -> list[models.DashboardLink]:
    return [link.build() for link in links]


def _thresholds(steps: Steps) -> builders.ThresholdsConfig:
    return (
        builders.ThresholdsConfig()
        .mode(models.ThresholdsMode.ABSOLUTE)
        .steps([models.Threshold(value=value, color=color) for value, color in steps])
    )


def _lettered(items: Sequence[T]) -> list[tuple[str, T]]:
    return [(chr(ord("A") + index), item) for index, item in enumerate(items)]


def _target(ref: str, query: Query) -> queries.Dataquery:
    target = queries.Dataquery().ref_id(ref).expr(query.expr).legend_format(query.legend).datasource(PROMETHEUS)
    return target.exemplar(True) if query.exemplar else target
