"""Twenty processes that make one call each and end, beside one that lives on: the panels count each exactly."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import pytest

from grafana.build.expressions import Expression, all_expressions
from rlm_otel import OTelCallback
from rlm_otel import semconv as sc
from rlm_otel.testing import Answer, Repeat, ScriptedServer, Tokens, scripted_rlm
from tests.program import Program, run_programs
from tests.stack.answers import Answers, eventually, of_service
from tests.stack.real import RealStack
from tests.stack.workloads import sending

pytestmark = pytest.mark.stack

SERVICE: Final = "crowd"
SHORT: Final = 20
LONG: Final = 80
USED: Final = Tokens(input=1000, output=10)
ONE_CALL: Final = """
import os
from rlm_otel import RLM, OTelCallback
with RLM.from_openai("gpt-4o", base_url=os.environ["MODEL_SERVER"], api_key="any", callbacks=[OTelCallback()]) as rlm:
    rlm.run("Hello")
"""
WINDOW_S: Final = 15


@pytest.fixture(scope="module")
def started_s(stack: RealStack, answers: Answers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[float]:
    """When they began: all have run and ended, but for the long-lived one, which has made its 80 calls."""
    started_s = time.time()
    with ScriptedServer([Repeat(Answer("Hi", usage=USED))]) as server, sending(stack, SERVICE) as telemetry:
        with closing(scripted_rlm(server, callbacks=[OTelCallback(telemetry)])) as rlm:
            half = LONG // 2
            for _ in range(half):
                rlm.run("Hello")
            environ = {
                "MODEL_SERVER": server.base_url,
                "OTEL_SERVICE_NAME": SERVICE,
                "OTEL_EXPORTER_OTLP_ENDPOINT": stack.collector_http,
            }
            program = Program(source=ONE_CALL, environ=environ)
            ended = run_programs([program] * SHORT, tmp_path_factory.mktemp("short"))
            assert [(one.code, one.err) for one in ended] == [(0, "")] * SHORT
            for _ in range(LONG - half):
                rlm.run("Hello")
        telemetry.flush()
        total = SHORT + LONG
        assert eventually(lambda: answers.counted(sc.OPERATIONS, SERVICE), lambda found: found == {(): total}) == {
            (): total
        }
        yield started_s


def expression(dashboard: str, panel: str, ref: str = "A", **times: int) -> Expression:
    """That of a panel, for this service."""
    (found,) = (
        one for one in all_expressions(**times) if (one.dashboard, one.panel, one.ref) == (dashboard, panel, ref)
    )
    return found


@pytest.mark.parametrize(
    ("dashboard", "panel", "ref", "total"),
    [
        ("llm-overview", "Calls", "A", 100),
        ("llm-overview", "Tokens", "A", 101_000),
        ("llm-overview", "Models", "A", 100),
        ("cost", "Cost", "A", 0.26),
        ("cost", "Cost by model", "B", 100),
        ("runs-tools", "Runs", "A", 100),
    ],
)
def test_totals_are_exact(
    answers: Answers, started_s: float, dashboard: str, panel: str, ref: str, total: float
) -> None:
    """Over the range that the dashboard shows."""
    asked = expression(dashboard, panel, ref).expr
    assert [round(one.value, 9) for one in answers.at(of_service(asked, SERVICE))] == [total]


def test_rates_add_up_to_the_total(answers: Answers, started_s: float) -> None:
    """Calls per minute, over windows that follow each other: none is missed, none is counted twice."""
    asked = expression("llm-overview", "Calls per minute, by model", rate_interval_s=WINDOW_S).expr
    start = int(started_s)
    (series,) = answers.get(
        "query_range",
        query=of_service(asked, SERVICE),
        start=start,
        end=start + (int(time.time() - start) // WINDOW_S + 1) * WINDOW_S,
        step=WINDOW_S,
    )["result"]
    assert round(sum(float(rate) * WINDOW_S / 60 for _, rate in series["values"]), 6) == SHORT + LONG


def test_the_latency_panel_counts_every_call(answers: Answers, started_s: float) -> None:
    """Its quantile is taken over all of them."""
    asked = expression("llm-overview", "Latency, p95").expr
    inner = asked.removeprefix("histogram_quantile(0.95, ").removesuffix(")")
    buckets = {one.labels["le"]: one.value for one in answers.at(of_service(inner, SERVICE))}
    assert buckets["+Inf"] == SHORT + LONG


def test_increase_would_miss_them(answers: Answers, started_s: float) -> None:
    """Why the panels do not use it."""
    (seen,) = answers.at(f'sum(increase(rlm_client_operations_total{{service_name="{SERVICE}"}}[1h]))')
    assert seen.value < SHORT + LONG
