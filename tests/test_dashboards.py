"""The dashboards: reproduced from their code, tidy, and asking only for what we really emit."""

import itertools
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from grafana.build.expressions import Expression, all_expressions, fill_in
from grafana.build.names import labels_by_series, series
from grafana.build.promql import quantile, ratio
from rlm_otel import semconv as sc
from rlm_otel.views.promql import exact_increase

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
BOARDS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in FILES}

# Of the stack's own programs, not of ours; Prometheus makes ALERTS and up itself.
FOREIGN = re.compile(r"otelcol_(exporter|receiver)_\w+(\(_total\)\?)?|up|ALERTS")
EXPRESSIONS = all_expressions()
KNOWN = labels_by_series() | {one.ref: frozenset[str]() for one in EXPRESSIONS if one.kind == "record"}
ANY_LABEL = frozenset().union(*KNOWN.values()) | {"exporter", "receiver", "alertname", "alertstate"}
each_board = pytest.mark.parametrize("name", BOARDS)


def panels(name: str) -> Iterator[dict[str, Any]]:
    return (panel for panel in BOARDS[name]["panels"] if panel["type"] != "row")


def words(value: object) -> Iterator[tuple[str, object]]:
    """Every key with its value, however deep."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key, inner
            yield from words(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from words(inner)


def strange(labels: list[str], known: frozenset[str]) -> list[str]:
    """The labels that nothing has; an application may declare any of its own."""
    return [label for label in labels if label not in known and not label.startswith("rlm_label_")]


def nodes(node: object) -> Iterator[object]:
    """Every part of a parsed expression."""
    yield node
    for name in ("lhs", "rhs", "expr", "param", "vector_selector", "args"):
        part = getattr(node, name, None)
        for inner in part if isinstance(part, list) else [part]:
            if inner is not None:
                yield from nodes(inner)


def selected(selector: promql_parser.VectorSelector) -> tuple[str, list[str]]:
    """The metric of a selector, and the labels that it matches."""
    pairs = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
    return selector.name or pairs["__name__"], [name for name in pairs if name != "__name__"]


def test_a_legend_names_all_that_tells_its_lines_apart() -> None:
    """Else two services, or two vendors of one model, are drawn as two lines of the same name."""
    lines = [one for one in EXPRESSIONS if one.kind == "range" and one.legend != "{{le}}"]
    parted = {one: set(found[1].split(", ")) for one in lines if (found := re.search(r" by \(([^)]+)\)", one.expr))}
    assert len(parted) >= 40
    unnamed = {
        (one.dashboard, one.panel): labels - {"le"} - set(re.findall(r"\{\{(\w+)\}\}", one.legend))
        for one, labels in parted.items()
    }
    assert {panel: labels for panel, labels in unnamed.items() if labels} == {}


def test_the_files_are_what_the_code_makes() -> None:
    """The checked-in JSON is reproduced byte for byte."""
    command = [sys.executable, str(ROOT / "scripts" / "dashboards.py"), "--check"]
    environ = {"PYTHONPATH": str(ROOT / "src"), "PYTHONUTF8": "1"}
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environ, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_there_are_four_dashboards_with_names_of_their_own() -> None:
    """No uid or title is used twice, and no number of a database is in the files."""
    assert list(BOARDS) == ["cost", "llm-overview", "reliability", "runs-tools"]
    assert [board["title"] for board in BOARDS.values()] == [
        "LLM cost",
        "LLM overview",
        "LLM reliability",
        "Runs and tools",
    ]
    assert [board["uid"] for board in BOARDS.values()] == [f"rlm-otel-{name}" for name in BOARDS]
    assert [key for board in BOARDS.values() for key in ("id", "__inputs", "version") if key in board] == []


@each_board
def test_every_panel_says_what_it_shows(name: str) -> None:
    """A title that occurs once, a description, and a unit."""
    for panel in panels(name):
        assert panel["description"].endswith((".", "`.")), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    assert [title for title, count in Counter(panel["title"] for panel in panels(name)).items() if count > 1] == []


@each_board
def test_data_sources_are_variables(name: str) -> None:
    """So that the files work in any Grafana: nothing names a data source of ours."""
    used = {str(value["uid"]) for key, value in words(BOARDS[name]) if key == "datasource" and isinstance(value, dict)}
    assert used == {"${prometheus}"}
    assert all("datasource" in panel for panel in panels(name))
    types = {variable["name"]: variable["query"] for variable in BOARDS[name]["templating"]["list"]}
    assert (types["prometheus"], types["jaeger"]) == ("prometheus", "jaeger")
    assert any("${jaeger}" in str(link.get("url")) for link in BOARDS[name]["links"])


@each_board
def test_every_dashboard_has_the_common_variables(name: str) -> None:
    """And each variable is used by something."""
    variables = [variable["name"] for variable in BOARDS[name]["templating"]["list"]]
    assert variables[:6] == ["prometheus", "jaeger", "service", "environment", "provider", "model"]
    text = json.dumps(BOARDS[name])
    assert [one for one in variables if not re.search(rf"\$\{{?{one}\b", text)] == []


@each_board
def test_no_panels_overlap(name: str) -> None:
    """On the grid of 24 columns."""
    places = [(panel["title"], panel["gridPos"]) for panel in BOARDS[name]["panels"]]
    for title, place in places:
        assert place["x"] + place["w"] <= 24, title
    for (one, a), (other, b) in itertools.combinations(places, 2):
        apart_x = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        apart_y = a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"]
        assert apart_x or apart_y, (one, other)


@each_board
def test_a_panel_has_each_reference_once(name: str) -> None:
    """Else Grafana keeps one of the queries only."""
    for panel in panels(name):
        refs = [target["refId"] for target in panel["targets"]]
        assert sorted(set(refs)) == refs, panel["title"]


@each_board
def test_latency_panels_lead_to_traces(name: str) -> None:
    """Exemplars are asked of buckets only: nothing else has any. Links go to Jaeger, whose address is a variable."""
    asked = [one for one in EXPRESSIONS if one.dashboard == name and one.exemplar]
    assert [one.panel for one in asked if "_bucket{" not in one.expr] == []
    assert asked or name == "cost"
    urls = [str(value) for key, value in words(BOARDS[name]) if key == "url"]
    assert [url for url in urls if not url.startswith(("${jaeger_ui}/search?service=", "/explore?"))] == []


@pytest.mark.parametrize("one", EXPRESSIONS, ids=lambda one: f"{one.dashboard}-{one.panel}-{one.ref}")
def test_every_expression_is_promql_over_what_we_emit(one: Expression) -> None:
    """It parses, and every metric and label in it exists; nothing reads a counter by `rate` or `increase`."""
    found = list(nodes(promql_parser.parse(one.expr)))
    for metric, labels in (selected(node) for node in found if isinstance(node, promql_parser.VectorSelector)):
        if not FOREIGN.fullmatch(metric):
            assert strange(labels, KNOWN[metric]) == [], metric
    grouped = [node.modifier for node in found if isinstance(node, promql_parser.AggregateExpr)]
    labels = [label for modifier in grouped if modifier is not None for label in modifier.labels]
    assert strange(labels, ANY_LABEL) == []
    functions = {node.func.name for node in found if isinstance(node, promql_parser.Call)}
    assert functions.isdisjoint({"rate", "irate", "increase", "delta"})


@each_board
def test_windows_follow_what_is_shown(name: str) -> None:
    """Only the whole range and the rate interval, but for the bars of days and the stat of the last hour."""
    for panel in panels(name):
        for target in panel["targets"]:
            windows = set(re.findall(r"\}\[([^\]]+)\]", target["expr"]))
            allowed = {"$__range"} if target["instant"] else {"$__rate_interval"}
            if panel.get("interval") == "1d":
                allowed = {"1d"}
            assert windows <= allowed or (panel["title"], windows) == ("The last hour", {"1h"}), panel["title"]


def test_the_exact_increase_is_the_one_that_was_measured() -> None:
    """20 processes of one call each beside a long-lived one: this form counts all of them."""
    assert exact_increase("m", "5m", ("a", "b")) == (
        "sum by (a, b) (((last_over_time(m[5m]) - m offset 5m) >= 0) or last_over_time(m[5m]))"
    )
    assert exact_increase("m", "1d", ahead=True) == (
        "sum(((last_over_time(m[1d] offset -1d) - m) >= 0) or last_over_time(m[1d] offset -1d))"
    )
    assert quantile(0.95, "m_bucket", "5m").startswith("histogram_quantile(0.95, sum by (le) (((last_over_time(")
    assert ratio("a", "b") == "(a or 0 * b) / (b > 0)"


def test_names_are_translated_as_prometheus_does() -> None:
    """Units in braces vanish, seconds stay, counters end in `_total`."""
    assert [series(sc.COST), series(sc.ACTIVE), series(sc.OLDEST_ACTIVE), series(sc.FIRST_TOKEN, "_bucket")] == [
        "rlm_client_cost_total",
        "rlm_client_active",
        "rlm_client_oldest_active_seconds",
        "rlm_client_time_to_first_token_seconds_bucket",
    ]
    with pytest.raises(ValueError, match=r"^rlm\.client\.cost is a counter: a histogram, and only"):
        series(sc.COST, "_sum")


def test_macros_and_variables_are_filled_in() -> None:
    """As Grafana does it when All is chosen."""
    text = (
        'm{a=~"$model", b=~"${service}"}[$__rate_interval] / ($__rate_interval_ms / 1000) * $__range_s offset $__range'
    )
    assert fill_in(text, rate_interval_s=60, range_s=600) == (
        'm{a=~".*", b=~".*"}[60s] / (60000 / 1000) * 600 offset 600s'
    )
