"""The SDK's own retries under an observed client: scenarios 53 to 56."""

import time
from collections.abc import Callable
from typing import Any

import openai
import pytest

from rlm_otel import StopRun, fence, instrument_openai
from rlm_otel.testing import Answer, Failure, Hang
from tests.attached import ANY_WAY, FOUR, HI, Told, ask, facts, make, observed
from tests.rig import Rig

SOON = {"retry-after-ms": "1"}
BUSY = Failure(429, headers=SOON, code="rate_limit_exceeded")


@ANY_WAY
async def test_s53_retries_of_the_sdk_are_seen(rig: Rig, way: str) -> None:
    """Two refusals, then an answer: one span with both attempts, and `on_retry` for each."""
    told = Told()
    async with observed(
        rig, rig.serve(BUSY, Failure(503, headers=SOON), Answer("ok")), way, callbacks=[told]
    ) as client:
        await ask(client, way)
    chat = rig.span("chat gpt-4o")
    assert facts(rig) == ("unset", ("stop",), {"completed": 1})
    assert chat.attributes["rlm.retry.count"] == 2
    assert [
        [event.attributes.get(name) for name in ("error.type", "rlm.http.status_code", "rlm.request.id")]
        for event in chat.events
    ] == [["openai.RateLimitError", 429, "req_1"], ["openai.InternalServerError", 503, "req_2"]]
    assert [event.attributes["rlm.retry.delay"] for event in chat.events] == [0.001, 0.001]
    assert told.hooks == [
        "on_llm_start",
        "on_retry 1/2 RateLimitError",
        "on_retry 2/2 InternalServerError",
        "on_llm_end",
    ]


@FOUR
async def test_s54_attempts_are_counted_apart_from_calls(rig: Rig, way: str) -> None:
    """One operation, one duration; three attempts, two of them with their error."""
    async with observed(rig, rig.serve(BUSY, BUSY, Answer("ok")), way) as client:
        await ask(client, way)
    assert rig.value("rlm.client.operations") == 1
    assert rig.count("gen_ai.client.inference.duration") == 1
    assert rig.value("rlm.client.attempts") == 3
    assert rig.value("rlm.client.attempts", error_type="openai.RateLimitError") == 2


@FOUR
async def test_s43_retries_until_the_sdk_gives_up(rig: Rig, way: str) -> None:
    """The last refusal is the call's failure, the ones before are its retries."""
    told = Told()
    async with observed(rig, rig.serve(BUSY, BUSY, BUSY), way, callbacks=[told]) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            await ask(client, way)
    chat = rig.span("chat gpt-4o")
    assert (chat.attributes["error.type"], chat.attributes["rlm.http.status_code"]) == ("openai.RateLimitError", 429)
    assert (chat.attributes["rlm.request.id"], chat.attributes["rlm.retry.count"]) == ("req_3", 2)
    assert rig.value("rlm.client.attempts") == 3
    assert told.errors == [caught.value]
    assert told.hooks[1:] == ["on_retry 1/2 RateLimitError", "on_retry 2/2 RateLimitError", "on_error"]


@FOUR
async def test_s53_a_connection_that_fails_is_retried(rig: Rig, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transport errors have no response: their attempts are told as the SDK would have raised them."""
    monkeypatch.setattr("openai._base_client.random", lambda: 1.0)
    told = Told()
    async with observed(rig, rig.serve(Hang(0), Answer("ok")), way, callbacks=[told]) as client:
        client.max_retries = 1
        await ask(client, way)
    assert told.hooks == ["on_llm_start", "on_retry 1/1 APIConnectionError", "on_llm_end"]
    (event,) = rig.span("chat gpt-4o").events
    assert event.attributes["error.type"] == "openai.APIConnectionError"


@FOUR
async def test_s53_the_wait_is_drawn_once_and_told(rig: Rig, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK's wait has a part of chance: what hooks are told is what it waits, and no other number is drawn."""
    drawn: list[float] = []

    def draw() -> float:
        drawn.append(1.0)
        return 1.0

    monkeypatch.setattr("openai._base_client.random", draw)
    waits: list[float] = []

    class Waits:
        def on_retry(self, delay_s: float) -> None:
            waits.append(delay_s)

    async with observed(rig, rig.serve(Failure(500), Answer("ok")), way, callbacks=[Waits()]) as client:
        await ask(client, way)
    assert (waits, len(drawn)) == ([0.375], 1)


def test_s53_what_hooks_take_is_part_of_the_wait(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `RetryHandler` that waits itself does not make the SDK's wait longer: it waits for the rest."""
    slept: list[float] = []

    class Waits:
        def on_retry(self) -> None:
            until = time.monotonic() + 0.02
            while time.monotonic() < until:
                pass

    client = make(rig.serve(Failure(429, headers={"retry-after-ms": "1000"}), Answer("ok")), "create")
    instrument_openai(client, callbacks=[rig.callback, Waits()])
    monkeypatch.setattr(time, "sleep", slept.append)
    client.chat.completions.create(model="gpt-4o", messages=HI)
    client.close()
    (event,) = rig.span("chat gpt-4o").events
    assert event.attributes["rlm.retry.delay"] == 1.0
    assert [0.9 < seconds <= 0.98 for seconds in slept] == [True]


@pytest.mark.parametrize("missing", ["_sleep_for_retry", "_calculate_retry_timeout", "_process_response"])
@FOUR
async def test_s53_without_a_private_step_of_the_sdk_nothing_fails(
    rig: Rig, way: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the SDK has a step no more, the call is observed all the same, and attempts come from the header."""
    from rlm_otel.adapters.openai import methods

    def without(*arguments: Any, **more: Any) -> methods.Methods:
        return {name: method for name, method in methods_for(*arguments, **more).items() if name != missing}

    methods_for = methods.methods_for
    monkeypatch.setattr("rlm_otel.adapters.openai.client.methods_for", without)
    async with observed(rig, rig.serve(BUSY, BUSY, BUSY), way) as client:
        with pytest.raises(openai.RateLimitError):
            await ask(client, way)
    assert rig.span("chat gpt-4o").attributes["rlm.retry.count"] == 2
    assert rig.value("rlm.client.attempts") == (1 if missing == "_sleep_for_retry" else 3)


@FOUR
async def test_s93_a_hook_may_stop_the_retries(rig: Rig, way: str) -> None:
    """`StopRun` of an `on_retry` ends the call before the next attempt."""

    class Stop:
        def on_retry(self) -> None:
            raise StopRun("enough")

    server = rig.serve(BUSY, Answer("ok"))
    async with observed(rig, server, way, callbacks=[Stop()]) as client:
        with pytest.raises(StopRun, match="enough"):
            await ask(client, way)
    assert len(server.requests) == 1
    assert facts(rig)[2] == {"closed": 1}


async def test_s56_each_call_of_the_application_is_its_own(rig: Rig) -> None:
    """A caller who repeats a call makes two calls."""
    async with observed(rig, rig.serve(BUSY, Answer("ok")), "create", max_retries=0) as client:
        with pytest.raises(openai.RateLimitError):
            await ask(client, "create")
        await ask(client, "create")
    assert rig.outline() == "chat gpt-4o !openai.RateLimitError\nchat gpt-4o"


def test_s55_a_runner_with_an_observed_client_sees_its_own_retries(rigs: Callable[..., Rig]) -> None:
    """The runner has the call already: one span, retried by the runner, nothing twice."""
    from rlm_otel import RLM

    rig, other = rigs(), rigs()
    server = rig.serve(BUSY, Answer("ok"))
    client = make(server, "create")
    instrument_openai(client, callbacks=[other.callback])
    with RLM.from_openai("gpt-4o", client=client, callbacks=[rig.callback]) as rlm:
        assert rlm.run("Hi").text == "ok"
    client.close()
    assert rig.outline(["rlm.retry.count"]) == "invoke_agent\n  chat gpt-4o rlm.retry.count=1"
    assert other.spans == []


def test_s53_a_bug_of_ours_stops_no_retry(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where our look at a retry fails the SDK retries as ever."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    client = make(rig.serve(BUSY, Answer("ok")), "create")
    instrument_openai(client, callbacks=[rig.callback])
    monkeypatch.setattr("rlm_otel.bracket.Bracket.retrying", broken)
    assert client.chat.completions.create(model="gpt-4o", messages=HI).choices[0].message.content == "ok"
    client.close()
    assert rig.span("chat gpt-4o").attributes["rlm.retry.count"] == 1
    fence.forget_failures()
