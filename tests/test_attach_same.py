"""The same program, once by the runner and once with an observed client: the same spans and metrics."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import openai
import pytest

from rlm_otel.testing import Answer, Broken, CapturedSpan, Failure, Item, Point, Tokens, rate_limits
from tests.attached import BROKE_OFF, HI, ask, is_stream, observed
from tests.rig import Rig

ONLY_THE_RUNNER_KNOWS = {"gen_ai.agent.name", "rlm.turn", "rlm.depth"}
"""An attached client's call belongs to no run, unless there is one around it."""
THE_SERVERS = {"server.port"}
UNREAD_BODY = {"rlm.error.code", "rlm.error.message", "exception.message"}
"""Of an attempt at a stream that the SDK repeats it closes the response without reading what it says."""
TIMES = ("time_to_first", "tokens_per_second", "retry.delay", "stacktrace")
SOON = {"retry-after-ms": "1", **rate_limits(remaining_requests=5, limit_requests=9)}
FULL = Answer(
    "one two",
    reasoning="Hm",
    usage=Tokens(input=300, output=40, cached=40, reasoning=12),
    headers=SOON,
    system_fingerprint="fp",
    service_tier="default",
)
PROGRAMS: dict[str, tuple[list[Item], dict[str, object]]] = {
    "plain": ([FULL], {}),
    "parameters": ([FULL], {"temperature": 0.5, "seed": 7, "stop": ["a"], "max_tokens": 9, "reasoning_effort": "low"}),
    "priced by the vendor": ([Answer("Hi", usage=Tokens(input=2, output=1, cost=0.5))], {}),
    "retried": ([Failure(429, headers=SOON, code="slow_down"), Failure(500, headers=SOON), FULL], {}),
    "refused": ([Failure(401, code="invalid_api_key")], {}),
    "given up": ([Failure(429, headers=SOON)] * 3, {}),
    "no usage": ([Answer("Hi", usage=None)], {}),
    "cut": ([Broken(FULL, how="cut")] * 3, {}),
    "several": ([Answer(("a", "b"), finish_reason=("stop", "length"), usage=Tokens(input=1, output=2))], {"n": 2}),
    "refusal": ([Answer(refusal="No.")], {}),
}


def facts_of(span: CapturedSpan, *, streamed: bool) -> tuple[object, ...]:
    """All that a span says, but times and what only a runner knows."""
    unknown = UNREAD_BODY if streamed else set()
    attributes = {
        name: value
        for name, value in span.attributes.items()
        if name not in ONLY_THE_RUNNER_KNOWS | THE_SERVERS and not any(part in name for part in TIMES)
    }
    events = [
        (e.name, {n: v for n, v in e.attributes.items() if n not in unknown and not any(p in n for p in TIMES)})
        for e in span.events
    ]
    return span.name, span.kind, span.status, attributes, events


def points_of(rig: Rig) -> dict[tuple[str, ...], object]:
    """Every point of every metric that is not about runs: its count, or its value where that is no time."""
    found: dict[tuple[str, ...], object] = {}
    for name in rig.metric_names:
        if "agent" in name or name.startswith(("rlm.run.", "gen_ai.workflow")):
            continue
        for point in rig.points(name):
            attributes = {k: v for k, v in point.attributes.items() if k not in ONLY_THE_RUNNER_KNOWS | THE_SERVERS}
            found[(name, *map(str, sorted(attributes.items())))] = _value(name, point)
    return found


def _value(name: str, point: Point) -> object:
    timed = any(part in name for part in ("duration", "time_", "oldest"))
    return point.count if timed else (point.value, point.count)


async def by_runner(rig: Rig, program: str, way: str) -> None:
    script, request = PROGRAMS[program]
    rlm = rig.rlm(*script, max_retries=2)
    with suppress(openai.OpenAIError, *BROKE_OFF):
        if way == "create":
            rlm.run("Hi", **request)
        elif way == "acreate":
            await rlm.arun("Hi", **request)
        elif way == "stream":
            list(rlm.stream("Hi", **request))
        else:
            [text async for text in rlm.astream("Hi", **request)]


async def by_client(rig: Rig, program: str, way: str) -> None:
    script, request = PROGRAMS[program]
    usage: dict[str, Any] = {"stream_options": {"include_usage": True}} if is_stream(way) else {}
    async with observed(rig, rig.serve(*script), way, max_retries=2) as client:
        with suppress(openai.OpenAIError, *BROKE_OFF):
            await ask(client, way, messages=HI, **usage, **request)


@pytest.mark.parametrize("program", list(PROGRAMS))
@pytest.mark.parametrize("way", ["create", "acreate", "stream", "astream"])
async def test_the_runner_and_an_observed_client_say_the_same(rigs: Callable[..., Rig], program: str, way: str) -> None:
    """Apart from what only a runner knows: spans, their attributes and events, metrics and their attributes."""
    runner, client = rigs(content="span", chunk_times=True), rigs(content="span", chunk_times=True)
    await by_runner(runner, program, way)
    await by_client(client, program, way)
    (by_runner_span,) = [span for span in runner.spans if span.name != "invoke_agent"]
    (by_client_span,) = client.spans
    streamed = is_stream(way)
    assert facts_of(by_client_span, streamed=streamed) == facts_of(by_runner_span, streamed=streamed)
    assert points_of(client) == points_of(runner)
