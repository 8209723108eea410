"""Every expression of every panel, variable, rule and alert returns data in the real Prometheus, on a bad day."""

import re
import time
from collections.abc import Iterator
from typing import Final

import promql_parser
import pytest

from grafana.build.expressions import Expression, all_expressions
from tests.stack.answers import Answers, eventually, of_service
from tests.stack.bad_day import SERVICE, bad_day
from tests.stack.real import RealStack

pytestmark = pytest.mark.stack

EXPRESSIONS: Final = all_expressions(rate_interval_s=60)
BOARDS: Final = ("cost", "llm-overview", "reliability", "runs-tools")
STEP_S: Final = 5
LOSSES: Final = (
    "otelcol_receiver_refused_spans",
    "otelcol_exporter_enqueue_failed_spans",
    "otelcol_exporter_enqueue_failed_metric_points",
    "otelcol_exporter_send_failed_spans",
    "otelcol_exporter_send_failed_metric_points",
)
"""What the collector counts only when much goes wrong."""


@pytest.fixture(scope="module")
def began_s(stack: RealStack, answers: Answers) -> Iterator[float]:
    """When it began; it goes on while the tests look at it."""
    began_s = time.time()
    with bad_day(stack, answers):
        yield began_s


def silent(answers: Answers, expressions: list[Expression], began_s: float) -> list[str]:
    """Those that return nothing, as soon as there are none."""
    waiting = list(expressions)

    def ask() -> list[Expression]:
        nonlocal waiting
        waiting = [one for one in waiting if not labelled(answers, one, began_s)]
        return waiting

    left = eventually(ask, lambda found: not found, timeout_s=75)
    return [f"{one.panel} {one.ref}: {one.expr}" for one in left]


def labelled(answers: Answers, expression: Expression, began_s: float) -> bool:
    """Whether it returns data; of a variable that is series that have its label."""
    found = answers.values(expression, began_s, time.time(), STEP_S)
    return any(expression.kind != "variable" or one.labels.get(expression.ref) for one in found)


@pytest.mark.parametrize("board", BOARDS)
def test_every_panel_and_variable_returns_data(answers: Answers, began_s: float, board: str) -> None:
    """Asked as Grafana would, with All chosen."""
    asked = [one for one in EXPRESSIONS if one.dashboard == board]
    assert {one.kind for one in asked} == {"range", "instant", "variable"}
    assert silent(answers, asked, began_s) == []


def test_every_recording_rule_is_recorded(answers: Answers, began_s: float) -> None:
    """By the rule engine, for this service."""
    records = [one.ref for one in EXPRESSIONS if one.kind == "record"]
    assert len(records) >= 9

    def ask() -> list[str]:
        return [name for name in records if not answers.at(f'{name}{{service_name="{SERVICE}"}}')]

    assert eventually(ask, lambda missing: not missing, timeout_s=60) == []


def test_every_selector_finds_a_series(answers: Answers, began_s: float) -> None:
    """So that no `or 0` hides a label that nothing has, or an outcome that is spelled in another way."""
    nodes = [node for one in EXPRESSIONS for node in selectors(promql_parser.parse(one.expr))]
    asked = sorted({re.sub(r" offset -?\w+$", "", str(node)) for node in nodes})
    window_s = int(time.time() - began_s) + 60

    def ask() -> list[str]:
        return [text for text in asked if not answers.at(f"last_over_time({text}[{window_s}s])")]

    assert eventually(ask, lambda missing: not missing, timeout_s=60) == []


def test_every_way_to_lose_data_is_counted(answers: Answers, began_s: float) -> None:
    """Queues that were full and a back end that refused are on the panel, by the collector's own counters."""
    (lost,) = {one.panel for one in EXPRESSIONS if LOSSES[1] in one.expr and one.kind == "range"}
    shown = [one for one in EXPRESSIONS if one.panel == lost]
    assert [name for name in LOSSES if not any(name in one.expr for one in shown)] == []

    def ask() -> list[str]:
        times = {"start": began_s, "end": time.time(), "step": 1}
        most = {one.ref: answers.get("query_range", query=f"max({one.expr})", **times)["result"] for one in shown}
        return [
            f"{one.legend}: {one.expr}"
            for one in shown
            if not any(float(value) > 0 for series in most[one.ref] for _, value in series["values"])
        ]

    assert eventually(ask, lambda silent: not silent) == []


def test_every_alert_is_raised(answers: Answers, began_s: float) -> None:
    """By the rule engine itself: pending where it has to last for a while, else firing."""
    alerts = {one.ref for one in EXPRESSIONS if one.kind == "alert"}

    def ask() -> dict[str, set[str]]:
        states: dict[str, set[str]] = {}
        for one in answers.get("query_range", query="ALERTS", start=began_s, end=time.time(), step=1)["result"]:
            states.setdefault(one["metric"]["alertname"], set()).add(one["metric"]["alertstate"])
        return states

    raised = eventually(ask, lambda states: set(states) >= alerts, timeout_s=90)
    assert alerts - set(raised) == set()
    at_once = ("LLMCallStuck", "LLMTelemetryDropped", "CollectorDroppingData")
    assert [name for name in at_once if "firing" not in raised[name]] == []


def test_every_exemplar_leads_to_a_trace(answers: Answers, began_s: float) -> None:
    """Those of each panel that shows any exist in Jaeger, and each such panel has some."""
    asked = [one for one in EXPRESSIONS if one.exemplar]
    assert len(asked) >= 10
    led_to: set[str] = set()
    for one in asked:
        found = answers.exemplars(of_service(one.expr, SERVICE), began_s, time.time())
        assert found, (one.panel, one.ref)
        led_to |= {labels["trace_id"] for labels in found}
    assert len(led_to) >= 10

    def missing() -> list[str]:
        return [trace_id for trace_id in led_to if not answers.has_trace(trace_id)]

    assert eventually(missing, lambda found: not found) == []


def selectors(node: object) -> Iterator[object]:
    """Every selector in a parsed expression."""
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("lhs", "rhs", "expr", "param", "vector_selector", "args"):
        part = getattr(node, name, None)
        for inner in part if isinstance(part, list) else [part]:
            if inner is not None:
                yield from selectors(inner)
