"""What the dashboards share: data sources and other variables, links, and the grid of rows."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import DataSourceRef

from grafana.build import names
from rlm_otel import semconv as sc

PROMETHEUS: Final = DataSourceRef(type_val="prometheus", uid="${prometheus}")
TAG: Final = "rlm-otel"
_COLUMNS: Final = 24
_JAEGER_UI: Final = "http://localhost:16686"

OPERATIONS: Final = names.series(sc.OPERATIONS)
_SCOPE: Final = f'{names.SERVICE}=~"$service", {names.ENVIRONMENT}=~"$environment"'


@dataclass(frozen=True)
class Row:
    """A titled row of panels of one height, as wide as they say, from left to right."""

    title: str
    height: int
    panels: tuple[tuple[int, Builder[models.Panel]], ...]


def row(title: str, height: int, *panels: tuple[int, Builder[models.Panel]]) -> Row:
    """A row; each panel comes with its width, of 24; what does not fit begins a new line."""
    return Row(title, height, panels)


def dashboard(
    uid: str, title: str, description: str, *, since: str, rows: list[Row], more: tuple[str, ...] = ()
) -> models.Dashboard:
    """A whole dashboard; `more`: variables beyond the common ones, of those in `_OWN`."""
    made = (
        builders.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([TAG, "llm"])
        .editable()
        .timezone("browser")
        .time(since, "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
    )
    for variable in _variables(more):
        made.with_variable(variable)
    result = made.build()
    result.panels = list(_placed(rows))
    result.links = [link.build() for link in _links()]
    for one in result.links:
        one.placement = ""  # in the open, not in a menu
    return result


def _placed(rows: list[Row]) -> list[models.Panel | models.RowPanel]:
    placed: list[models.Panel | models.RowPanel] = []
    y = 0
    for line in rows:
        place = models.GridPos(h=1, w=_COLUMNS, x=0, y=y)
        placed.append(
            models.RowPanel(title=line.title, id_val=len(placed) + 1, grid_pos=place, panels=[], collapsed=False)
        )
        x, y = 0, y + 1
        for width, builder in line.panels:
            if x + width > _COLUMNS:
                x, y = 0, y + line.height
            panel = builder.build()
            panel.id_val = len(placed) + 1
            panel.grid_pos = models.GridPos(h=line.height, w=width, x=x, y=y)
            placed.append(panel)
            x += width
        y += line.height
    return placed


# Variables ---------------------------------------------------------------------------------------------------------


def _variables(more: tuple[str, ...]) -> list[Builder[models.VariableModel]]:
    asked = f'{_SCOPE}, {names.PROVIDER}=~"$provider"'
    return [
        builders.DatasourceVariable("prometheus").label("Metrics").type("prometheus"),
        builders.DatasourceVariable("jaeger").label("Traces").type("jaeger"),
        _values("service", "Service", OPERATIONS, names.SERVICE),
        _values("environment", "Environment", f'{OPERATIONS}{{{names.SERVICE}=~"$service"}}', names.ENVIRONMENT),
        _values("provider", "Provider", f"{OPERATIONS}{{{_SCOPE}}}", names.PROVIDER),
        _values("model", "Model", f"{OPERATIONS}{{{asked}}}", names.MODEL),
        *(_values(name, name.capitalize(), *_OWN[name]) for name in more),
        builders.TextBoxVariable("jaeger_ui")
        .label("Jaeger UI")
        .description("Where your browser finds Jaeger: links to traces begin with it.")
        .default_value(_JAEGER_UI)
        .current(models.VariableOption(text=_JAEGER_UI, value=_JAEGER_UI, selected=True)),
    ]


_RUNS: Final = f"{names.series(sc.AGENT_DURATION, '_count')}{{{_SCOPE}}}"
_OWN: Final = {
    "agent": (_RUNS, names.AGENT),
    "team": (f"{OPERATIONS}{{{_SCOPE}}}", names.TEAM),
    "feature": (f"{OPERATIONS}{{{_SCOPE}}}", names.FEATURE),
}


def _values(name: str, title: str, selector: str, label: str) -> builders.QueryVariable:
    # `.*` for All also takes what has no such label, e.g. where no environment is set.
    return (
        builders.QueryVariable(name)
        .label(title)
        .datasource(PROMETHEUS)
        .query(f"label_values({selector}, {label})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(text="All", value="$__all", selected=True))
    )


# Links -------------------------------------------------------------------------------------------------------------


def _links() -> list[builders.DashboardLink]:
    explore = (
        '{"a":{"datasource":"${jaeger}","queries":[{"refId":"A","datasource":{"type":"jaeger","uid":"${jaeger}"},'
        '"queryType":"search","service":"${service:text}","limit":20}],"range":{"from":"${__from}","to":"${__to}"}}}'
    )
    return [
        builders.DashboardLink("LLM dashboards")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True),
        _web("Search traces in Jaeger", "Of the chosen service (one) and time.", search("${service:text}")),
        _web(
            "Failed traces in Jaeger",
            "Of the chosen service (one) and time.",
            search("${service:text}", {"error": "true"}),
        ),
        _web(
            "Search traces in Explore",
            "Needs the right to use Explore.",
            f"/explore?schemaVersion=1&panes={_encoded(explore)}",
        ),
    ]


def _web(title: str, tooltip: str, url: str) -> builders.DashboardLink:
    return (
        builders.DashboardLink(title)
        .type(models.DashboardLinkType.LINK)
        .icon("external link")
        .tooltip(tooltip)
        .url(url)
        .target_blank(True)
    )


def search(service: str, tags: Mapping[str, str] | None = None) -> str:
    """The address of a search in Jaeger's own pages, in the dashboard's time range; `tags`: span attribute to value."""
    pairs = ",".join(f'"{name}":"{value}"' for name, value in (tags or {}).items())
    found = f"&tags={_encoded('{' + pairs + '}')}" if pairs else ""
    # Jaeger counts microseconds, Grafana milliseconds.
    return f"${{jaeger_ui}}/search?service={service}&lookback=custom&start=${{__from}}000&end=${{__to}}000{found}"


def _encoded(text: str) -> str:
    """Percent-encoded, but for the references to variables."""
    parts = re.split(r"(\$\{[^{}]*\})", text)
    return "".join(part if part.startswith("${") else quote(part, safe="") for part in parts)


def traces(
    tags: Mapping[str, str], *, place: str = "__field.labels", failed: bool = False
) -> list[Builder[models.DashboardLink]]:
    """Data links of a panel whose series (`__field.labels`) or rows (`__data.fields`) have a service and these labels.

    `tags`: span attribute to the label that has its value.
    """
    asked = {name: f"${{{place}.{label}}}" for name, label in tags.items()} | ({"error": "true"} if failed else {})
    url = search(f"${{{place}.{names.SERVICE}}}", asked)
    return [builders.DashboardLink("Such traces in Jaeger").url(url).target_blank(True)]
