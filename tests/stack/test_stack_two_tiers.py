"""Two fronts and two gateways with the shipped configurations: whole traces are kept or dropped, metrics stay exact."""

from collections.abc import Iterator
from typing import Final

import pytest

from rlm_otel import semconv as sc
from tests.stack.answers import Answers, eventually
from tests.stack.made import SPANS, Trace, make, mixed, scatter, wait_for
from tests.stack.real import RealStack
from tests.stack.tiers import Tiers
from tests.stack.workloads import demonstrate

pytestmark = pytest.mark.stack

SERVICE: Final = "two-tiers"
KEPT_OF_THE_REST: Final = 45
"""Of the 500: the sampler goes by a hash of the id, and aims at a tenth."""


@pytest.fixture(scope="module")
def tiers(stack: RealStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiers]:
    """The four collectors, before the running Jaeger and Prometheus."""
    running = Tiers(
        tmp_path_factory.mktemp("tiers"),
        stack.found["collector"],
        stack.ports,
        ["gateway.yaml"],
        OTELCOL_TRACES_TO="otlp_grpc/jaeger",
    )
    try:
        running.start()
        yield running
    finally:
        running.close()


@pytest.fixture(scope="module")
def sent(tiers: Tiers) -> list[Trace]:
    """600 traces of all kinds, each in two halves that go to different fronts."""
    traces = mixed(seed=1)
    scatter(tiers.entrances, SERVICE, traces)
    return traces


def test_what_matters_is_kept_whole_and_a_share_of_the_rest(tiers: Tiers, sent: list[Trace], answers: Answers) -> None:
    """All that failed, were slow or expensive, although no front saw one of them whole."""
    matter = {trace.trace_id for trace in sent if trace.kind != "plain"}
    eventually(tiers.decided, lambda count: count == len(sent))
    found = wait_for(answers, SERVICE, matter)
    assert matter - set(found) == set()
    assert len(set(found) - matter) == KEPT_OF_THE_REST
    assert set(found.values()) == {SPANS}


def test_each_trace_is_on_one_gateway(tiers: Tiers, sent: list[Trace]) -> None:
    """By the gateways' own count of the traces that they saw."""
    seen = tiers.seen()
    assert sum(seen) == len(sent)
    assert min(seen) > len(sent) / 4


def test_every_span_is_counted_whatever_is_sampled(sent: list[Trace], answers: Answers) -> None:
    """Both fronts count, and the sums are those of what was sent."""
    expression = f'sum by (span_name, status_code) (traces_span_metrics_calls_total{{service_name="{SERVICE}"}})'
    wanted = {
        ("invoke_agent run", "STATUS_CODE_UNSET"): 600,
        ("chat gpt-4o", "STATUS_CODE_UNSET"): 2360,
        ("chat gpt-4o", "STATUS_CODE_ERROR"): 40,
    }

    def counted() -> dict[tuple[str, str], float]:
        return {(one.labels["span_name"], one.labels["status_code"]): one.value for one in answers.at(expression)}

    assert eventually(counted, lambda found: found == wanted) == wanted


@pytest.mark.parametrize(("number", "protocol"), [(0, "http/protobuf"), (1, "grpc")], ids=["front-1", "front-2"])
def test_the_applications_own_counts_arrive_exactly(tiers: Tiers, answers: Answers, number: int, protocol: str) -> None:
    """The demo's calls, model by model, through either front."""
    shown = demonstrate(tiers.fronts[number], protocol, service=f"tiers-demo-{number}")
    wanted = {(name,): float(one["calls"]) for name, one in shown.counts.summary()["models"].items()}
    assert wanted == {("gpt-4o",): 4, ("gpt-4o-mini",): 3, ("o4-mini",): 2}
    found = eventually(
        lambda: answers.counted(sc.OPERATIONS, shown.service, sc.REQUEST_MODEL), lambda found: found == wanted
    )
    assert found == wanted


def test_what_waits_for_the_gateways_survives_a_crash_of_the_fronts(tiers: Tiers, answers: Answers) -> None:
    """Both gateways are away, the fronts go on accepting, are killed, and all come back."""
    traces = make("failed", 100, 2)
    tiers.stop("gateway-1")
    tiers.stop("gateway-2")
    scatter(tiers.entrances, "patient-fronts", traces)
    tiers.kill("front-1")
    tiers.kill("front-2")
    tiers.start()
    wanted = {trace.trace_id for trace in traces}
    assert wait_for(answers, "patient-fronts", wanted) == dict.fromkeys(wanted, SPANS)


def test_a_gateway_that_is_stopped_decides_what_it_has(tiers: Tiers, answers: Answers) -> None:
    """SIGTERM to one of them with undecided traces: they are judged at once, and the fronts keep the others for it."""
    traces = make("failed", 60, 3)
    scatter(tiers.entrances, "stopped-gateway", traces[:30])
    tiers.stop("gateway-1")
    scatter(tiers.entrances, "stopped-gateway", traces[30:])
    tiers.start("gateway-1")
    wanted = {trace.trace_id for trace in traces}
    assert wait_for(answers, "stopped-gateway", wanted) == dict.fromkeys(wanted, SPANS)
