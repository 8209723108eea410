"""A service on a bad day: it shows on every panel and fires every alert. Real calls, but for what would take hours."""

import io
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import openai
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from rlm_otel import BaseCallback, OTelCallback, attributes
from rlm_otel.bracket import Bracket
from rlm_otel.clock import SYSTEM_CLOCK
from rlm_otel.demo.calls import call_script
from rlm_otel.emitter import Emitter
from rlm_otel.events import ModelCall
from rlm_otel.otel.operations import LIMIT
from rlm_otel.testing import (
    Answer,
    Failure,
    Hang,
    Item,
    ScriptedServer,
    StepClock,
    Tokens,
    Tool,
    rate_limits,
    scripted_rlm,
)
from rlm_otel.testing.runner import RunnerOptions
from tests.stack.answers import Answers, eventually
from tests.stack.overload import fill_queue_to_jaeger, fill_queue_to_prometheus, queued, refusing
from tests.stack.real import RealStack
from tests.stack.workloads import ENVIRONMENT, sending

SERVICE: Final = "bad-day"
_STUCK_NS: Final = 700 * 10**9
_MINUTE_S: Final = 60


class Earlier:
    """A clock that is behind by more than ten minutes: a call that it times seems to have begun that long ago."""

    def wall_ns(self) -> int:
        return SYSTEM_CLOCK.wall_ns() - _STUCK_NS

    def monotonic_ns(self) -> int:
        return SYSTEM_CLOCK.monotonic_ns() - _STUCK_NS


class Clumsy(BaseCallback):
    """Somebody's callback with a mistake in it."""

    def on_llm_end(self, response: object, **_: object) -> None:
        raise ZeroDivisionError


def broken_tool(query: str) -> str:
    """Looks something up, or tries to."""
    raise LookupError(query)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Some runs on a server with this script."""

    script: Sequence[Item]
    runs: int = 1
    model: str = "gpt-4o"
    timeout_s: float = 10.0
    options: RunnerOptions = field(default_factory=RunnerOptions)


TROUBLES: Final = (
    Trouble(script=[Failure(400)] * 4, runs=4),
    Trouble(
        script=[Failure(429, retry_after=0)] * 12 + [Answer("Hi")], model="gpt-4o-mini", options={"max_retries": 12}
    ),
    Trouble(script=[Hang(), Hang()], timeout_s=0.2, options={"max_retries": 1}),
    Trouble(script=[Answer("Hi")], model="house-model-7b"),
    Trouble(
        script=[
            Answer(tool_calls=(Tool("broken_tool", {"query": "x"}),)),
            Answer("Sorry", usage=Tokens(input=2_000_000, output=100, cached=1000, cache_write=500)),
        ],
        options={"tools": [broken_tool], "name": "spender"},
    ),
    Trouble(
        script=[
            Answer(
                "Hi",
                headers=rate_limits(
                    remaining_requests=20, limit_requests=1000, remaining_tokens=90_000, limit_tokens=100_000
                ),
            )
        ]
    ),
    # Each reading of the clock is half a minute after the one before.
    Trouble(script=[Answer("Hi")] * 12, runs=12, model="o4-mini", options={"clock": StepClock(step_s=30)}),
)


@contextmanager
def bad_day(stack: RealStack, answers: Answers) -> Iterator[None]:
    """All of it; in the block a call is still in flight."""
    spend_little_before(stack)
    lose_sight_of_jaeger(stack, answers)
    open_too_many(stack, SERVICE)
    send_what_is_too_old(stack)
    with sending(stack, SERVICE) as telemetry:
        labels = {"team": ("search", "ads"), "feature": ("chat",)}
        callback = OTelCallback(telemetry, labels=labels, chunk_times=True)
        with attributes(team="search", feature="chat"):
            call_script([callback], io.StringIO())
            for trouble in TROUBLES:
                meet(trouble, [callback, Clumsy()])
        with call_in_flight(callback):
            yield


def meet(trouble: Trouble, callbacks: list[object]) -> None:
    """Make its calls, whatever becomes of them."""
    with ScriptedServer(trouble.script) as server:
        runner = scripted_rlm(  # type: ignore[misc]  # no trouble brings callbacks
            server, trouble.model, timeout_s=trouble.timeout_s, callbacks=callbacks, **trouble.options
        )
        with closing(runner) as rlm:
            for _ in range(trouble.runs):
                with suppress(openai.OpenAIError):
                    rlm.run("Hello")


@contextmanager
def call_in_flight(callback: OTelCallback) -> Iterator[None]:
    """A call that was begun long ago, by its clock, and that is not answered until the end of the block."""
    with ScriptedServer([Hang(600)]) as server:
        runner = scripted_rlm(server, timeout_s=600, callbacks=[callback], max_retries=0, clock=Earlier())

        def call() -> None:
            with closing(runner) as rlm, suppress(openai.OpenAIError):
                rlm.run("Hello?")

        thread = threading.Thread(target=call, name="in flight")
        thread.start()
        try:
            server.wait_for_requests(1)
            yield
        finally:
            server.close()
            thread.join()


def spend_little_before(stack: RealStack) -> None:
    """Some hours in which the service cost a cent each, written into Prometheus' store by promtool.

    Prometheus is stopped for it, and meanwhile the collector gets more than its queue holds.
    """
    labels = f'service_name="{SERVICE}",deployment_environment_name="{ENVIRONMENT}",instance="before"'
    last_s = int(time.time()) - 70 * _MINUTE_S
    lines = [
        f"rlm_client_cost_total{{{labels}}} {number / 6000} {last_s - (240 - number) * _MINUTE_S}"
        for number in range(240)
    ]
    file = Path(stack.folder, "before.txt")
    file.write_text("\n".join(["# TYPE rlm_client_cost counter", *lines, "# EOF\n"]), "utf-8")
    stack.stop("prometheus")
    try:
        command = [str(stack.promtool), "tsdb", "create-blocks-from", "openmetrics", str(file)]
        subprocess.run([*command, stack.folder / "prometheus" / "data"], check=True, capture_output=True)
        fill_queue_to_prometheus(stack)
    finally:
        stack.start("prometheus")
    assert not eventually(lambda: queued(stack), lambda waiting: not waiting)


def lose_sight_of_jaeger(stack: RealStack, answers: Answers) -> None:
    """Until Prometheus and its rules have noticed; then the queue runs over, and what is in it is refused for good."""
    stack.stop("jaeger")
    try:
        alert = 'ALERTS{alertname="TelemetryTargetDown"}'
        assert eventually(lambda: answers.at(alert), timeout_s=30), "no alert although Jaeger is down"
        fill_queue_to_jaeger(stack)
        with refusing(stack.ports.jaeger_otlp_grpc_port):
            assert not eventually(lambda: queued(stack), lambda waiting: not waiting, timeout_s=60)
    finally:
        stack.start("jaeger")


def open_too_many(stack: RealStack, service: str) -> None:
    """More calls at once than are kept: the oldest is dropped, and counted."""
    with sending(stack, service, OTEL_TRACES_EXPORTER="none") as telemetry:
        emitter = Emitter([OTelCallback(telemetry)])
        call = ModelCall(provider="openai", model="gpt-4.1", messages=())
        brackets = [Bracket(emitter, call).__enter__() for _ in range(LIMIT + 1)]
        telemetry.flush()
        for bracket in brackets:
            bracket.__exit__(None, None, None)


def send_what_is_too_old(stack: RealStack) -> None:
    """A sample of hours ago: the collector accepts it, Prometheus refuses it for good."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = SERVICE
    metric = resource.scope_metrics.add().metrics.add(name="too.old")
    metric.gauge.data_points.add(as_int=1, time_unix_nano=time.time_ns() - 5 * 3600 * 10**9)
    post = urllib.request.Request(
        f"{stack.collector_http}/v1/metrics", request.SerializeToString(), {"Content-Type": "application/x-protobuf"}
    )
    with urllib.request.urlopen(post, timeout=10) as answer:
        assert answer.status == 200
