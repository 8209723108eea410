"""`llm_call`: model calls by other SDKs and bare HTTP have the spans and metrics of the runner's."""

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from enum import IntEnum, StrEnum
from typing import Any

import pytest

import rlm_otel
from rlm_otel import StopRun, Usage, observed_call
from rlm_otel.ambient import current_bracket, holding
from rlm_otel.bracket import Bracket
from rlm_otel.emitter import Emitter
from rlm_otel.events import Finished, Run
from rlm_otel.testing import Answer, Recorder, StepClock, Tokens
from rlm_otel.told import told_cost, told_reasons, told_usage
from tests.rig import Rig

URL = "https://api.anthropic.com/v1/messages"
USAGE = {"input_tokens": 12, "output_tokens": 3}


def call(rig: Rig, model: str = "claude-opus-4-5", **more: Any) -> rlm_otel.LLMCall:
    more.setdefault("callbacks", [rig.callback])
    return rlm_otel.llm_call(provider="anthropic", model=model, url=URL, **more)


def finish(it: rlm_otel.LLMCall, text: str | None = "ok", **more: Any) -> None:
    """A reply with everything that a complete one has."""
    known: dict[str, Any] = {
        "usage": USAGE,
        "finish_reason": "end_turn",
        "model": "claude-opus-4-5-20251101",
        "response_id": "msg_1",
    }
    it.finish(text, **{**known, **more})


def test_a_call_has_the_spans_and_metrics_of_the_runner(rigs: Callable[..., Rig]) -> None:
    """The same request and reply, once by the runner and once told by hand, say the same."""
    runner, told = rigs(content="span"), rigs(content="span")
    server = runner.serve(Answer("Привет", usage=Tokens(input=12, output=3), model="gpt-4o-2024-08-06"))
    with rlm_otel.run("root", callbacks=[runner.callback]):
        runner.rlm(server=server, callbacks=(), name="root").run("Как?", temperature=0.5)
    with rlm_otel.run("root", callbacks=[told.callback]), rlm_otel.run("root", input="Как?"):
        with rlm_otel.llm_call(
            provider="openai", model="gpt-4o", input="Как?", url=server.base_url, request={"temperature": 0.5}
        ) as by_hand:
            by_hand.finish(
                "Привет",
                usage={"prompt_tokens": 12, "completion_tokens": 3},
                finish_reason="stop",
                response_id="chatcmpl-1",
                model="gpt-4o-2024-08-06",
            )
    one, other = runner.span("chat gpt-4o").attributes, told.span("chat gpt-4o").attributes
    known_by_runner = {"rlm.turn", "rlm.request.id", "openai.response.system_fingerprint"}
    assert {name: value for name, value in one.items() if name not in known_by_runner} == dict(other)
    for name in ("gen_ai.client.inference.duration", "rlm.client.operations", "rlm.client.cost"):
        assert [point.attributes for point in runner.points(name)] == [point.attributes for point in told.points(name)]
    assert runner.points("rlm.client.cost")[0].value == told.points("rlm.client.cost")[0].value > 0
    assert [point.value for point in told.points("rlm.client.attempts")] == [1]


def timed(rig: Rig, *more: object) -> tuple[Bracket, StepClock]:
    """A run whose clock is the test's: what is inside has it too."""
    clock = StepClock(step_s=0)
    return Bracket(Emitter([*more, rig.callback], clock=clock), Run()), clock


def test_s36_the_first_chunk_and_the_first_token_are_timed(rigs: Callable[..., Rig]) -> None:
    """An empty prelude is a chunk and no answer; reasoning is generated, and not visible."""
    rig, recorder = rigs(chunk_times=True), Recorder()
    outer, clock = timed(rig, recorder)
    with outer, outer.current(), call(rig, callbacks=None) as it:
        for seconds, text, kind in (
            (0.25, "", "text"),
            (0.25, "hm", "reasoning"),
            (0.5, "a", "text"),
            (1, "b", "text"),
        ):
            clock.advance(seconds)
            it.chunk(text, kind=kind)  # type: ignore[arg-type]  # mypy sees str
        finish(it, None)
        clock.advance(10)
    ended = recorder.of(Finished)[0]
    assert (ended.first_chunk_s, ended.first_token_s, ended.first_visible_s) == (0.25, 0.5, 1.0)
    assert (ended.elapsed_s, list(ended.chunk_gaps_s)) == (2.0, [0.25, 0.5, 1.0])
    attributes = rig.span("chat claude-opus-4-5").attributes
    assert attributes["gen_ai.request.stream"] is True
    assert [attributes[f"{name}"] for name in ("gen_ai.response.time_to_first_chunk", "rlm.time_to_first_token")] == [
        0.25,
        0.5,
    ]
    assert [point.value for point in rig.points("rlm.client.time_to_first_token")] == [0.5]


def test_s37_a_tool_call_is_a_first_token(rig: Rig) -> None:
    """Without any text."""
    recorder = Recorder()
    outer, clock = timed(rig, recorder)
    with outer, outer.current(), call(rig, callbacks=None, stream=True) as it:
        clock.advance(0.5)
        it.chunk(kind="tool_call")
        finish(it, None, finish_reason="tool_use")
    ended = recorder.of(Finished)[0]
    assert (ended.first_token_s, ended.first_visible_s) == (0.5, None)


def test_s39_a_plain_call_has_no_first_chunk(rig: Rig) -> None:
    """Nor is it a stream."""
    with call(rig) as it:
        finish(it)
    assert {"gen_ai.request.stream", "gen_ai.response.time_to_first_chunk"}.isdisjoint(rig.spans[0].attributes)


def test_pieces_are_the_text_and_tell_on_token(rigs: Callable[..., Rig]) -> None:
    """Where `finish` has no text; hooks that want tokens get each, of a root run's calls."""
    rig, tokens = rigs(content="span"), []

    class Hooks:
        def on_token(self, token: str) -> None:
            tokens.append(token)

    with call(rig, callbacks=[Hooks(), rig.callback]) as it:
        it.chunk("При")
        it.chunk("вет 🙂")
        finish(it, None)
        it.chunk("too late")
    assert tokens == ["При", "вет 🙂"]
    assert rig.spans[0].attributes["gen_ai.output.messages"] == (
        '[{"role":"assistant","parts":[{"type":"text","content":"Привет 🙂"}]}]'
    )


def test_left_without_finish_it_is_closed_and_says_so_once(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """No success is claimed: no usage, no finish reason, counted as unpriced; what came is kept."""
    observed_call._hint.cache_clear()
    recorder = Recorder()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with call(rig, callbacks=[recorder, rig.callback]) as it:
                it.chunk("par")
    assert rig.outline() == "chat claude-opus-4-5 (closed)\nchat claude-opus-4-5 (closed)"
    assert [getattr(event.result, "text", None) for event in recorder.of(Finished)] == ["par", "par"]
    assert [(p.attributes["rlm.reason"], p.value) for p in rig.points("rlm.client.unpriced")] == [("no_usage", 2)]
    assert [record.getMessage() for record in caplog.records] == [
        "a block of llm_call was left without finish(): it is recorded as closed, without usage and cost"
    ]


def test_s21_an_exception_before_finish_fails_it_and_after_it_does_not(rig: Rig) -> None:
    """It goes on unchanged either way; a call that is complete cannot fail any more."""
    for finished in (False, True):
        error = ConnectionError("weg")
        with pytest.raises(ConnectionError) as raised, call(rig) as it:
            _leave(it, error, finished=finished)
        assert raised.value is error
    assert rig.outline() == "chat claude-opus-4-5 !ConnectionError\nchat claude-opus-4-5"


def _leave(it: rlm_otel.LLMCall, error: Exception, *, finished: bool) -> None:
    it.chunk("par")
    if finished:
        finish(it)
    raise error


def test_s25_finish_counts_once(rig: Rig) -> None:
    """Tokens are not added up."""
    with call(rig) as it:
        finish(it)
        finish(it)
    assert [point.value for point in rig.points("gen_ai.client.inference.usage.input_tokens")] == [12]
    assert [point.count for point in rig.points("gen_ai.client.inference.duration")] == [1]


def test_s12_the_vendors_own_cost_comes_first(rig: Rig) -> None:
    """`cost=` is what the provider says."""
    with call(rig) as it:
        finish(it, cost=0.25)
    assert [(p.attributes["rlm.cost.source"], p.value) for p in rig.points("rlm.client.cost")] == [("provider", 0.25)]


def test_s53_retries_are_visible(rig: Rig) -> None:
    """One span, an event and an `on_retry` for each failed attempt, attempts counted."""
    told: list[object] = []

    class Hooks:
        def on_retry(self, attempt: int, max_attempts: int, error: BaseException) -> None:
            told.append((attempt, max_attempts, str(error)))

    with call(rig, callbacks=[Hooks(), rig.callback]) as it:
        for number in (1, 2):
            it.retrying(ConnectionError(f"no {number}"), delay_s=0.5, max_attempts=3)
        finish(it)
    span = rig.span("chat claude-opus-4-5")
    assert told == [(1, 3, "no 1"), (2, 3, "no 2")]
    assert span.attributes["rlm.retry.count"] == 2
    assert [(event.name, event.attributes["rlm.retry.delay"]) for event in span.events] == [("rlm.retry", 0.5)] * 2
    assert sorted(point.value for point in rig.points("rlm.client.attempts")) == [1, 2]


async def test_async_calls_and_their_hooks(rig: Rig) -> None:
    """`async with`: async hooks have run at the end; a retry hook that blocks does so in a thread."""
    told: list[str] = []
    loop_thread = asyncio.get_running_loop()

    class Hooks:
        async def on_llm_end(self, response: Any) -> None:
            await asyncio.sleep(0)
            told.append(response.content)

        def on_retry(self, attempt: int) -> None:
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                told.append("in a thread")

    async with call(rig, callbacks=[Hooks(), rig.callback]) as it:
        assert asyncio.get_running_loop() is loop_thread
        await it.aretrying(ConnectionError("no"))
        finish(it)
    assert told == ["in a thread", "ok"]


async def test_s44_a_cancelled_call(rig: Rig) -> None:
    """`cancelled`, with what had come."""

    async def ask() -> None:
        async with call(rig) as it:
            it.chunk("par")
            await asyncio.Event().wait()

    task = asyncio.create_task(ask())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rig.outline() == "chat claude-opus-4-5 (cancelled)"


def test_s33_what_is_inside_is_below_the_call(rig: Rig) -> None:
    """HTTP spans of another instrumentation."""
    with call(rig) as it, rig.tracer_provider.get_tracer("http").start_as_current_span("POST"):
        finish(it)
    assert rig.outline() == "chat claude-opus-4-5\n  POST"


def test_s30_a_call_that_is_open_at_shutdown(rigs: Callable[..., Rig]) -> None:
    """Its span says what is known."""
    rig = rigs(content="span")
    with call(rig) as it:
        it.chunk("par")
        rig.callback.shutdown()
        finish(it)
    assert rig.outline(["gen_ai.output.messages"]) == (
        'chat claude-opus-4-5 gen_ai.output.messages=[{"role":"assistant","parts":[{"type":"text","content":"par"}]}]'
        " (abandoned)"
    )


def test_a_stop_keeps_a_call_from_beginning(rig: Rig) -> None:
    """As a budget does."""

    class Stops:
        def on_llm_start(self, prompt: str) -> None:
            raise StopRun("enough")

    with pytest.raises(StopRun), call(rig, callbacks=[Stops(), rig.callback]):
        pytest.fail("it ran")
    assert rig.outline() == ""


@pytest.mark.parametrize(
    ("block", "usage"),
    [
        (None, None),
        ({}, None),
        (Usage(input_tokens=1), Usage(input_tokens=1)),
        ({"input_tokens": 5.0, "output_tokens": None}, Usage(input_tokens=5)),
        ({"input_tokens": 5, "reasoning_tokens": 2}, Usage(input_tokens=5, reasoning_tokens=2)),
        (
            {"input_tokens": 10, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 6, "output_tokens": 1},
            Usage(input_tokens=20, output_tokens=1, cache_read_tokens=4, cache_write_tokens=6),
        ),
        (
            {"input_tokens": 10, "output_tokens": 9, "input_tokens_details": {"cached_tokens": 4},
             "output_tokens_details": {"reasoning_tokens": 7}, "total_tokens": 19},
            Usage(input_tokens=10, output_tokens=9, cache_read_tokens=4, reasoning_tokens=7),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}},
            Usage(input_tokens=10, output_tokens=9, cache_read_tokens=4),
        ),
    ],
    ids=["none", "empty", "Usage", "floats", "ours", "Anthropic", "Responses", "Chat Completions"],
)  # fmt: skip
def test_s2_usage_as_vendors_write_it(block: Usage | Mapping[str, object] | None, usage: Usage | None) -> None:
    """Cached tokens are part of the input, once, whoever counts."""
    assert told_usage(block) == usage


@pytest.mark.parametrize(
    ("usage", "message"),
    [
        (12, "usage=12 is no mapping; write e.g. usage={'input_tokens': 12, 'output_tokens': 3}"),
        ({"tokens": 1}, "usage={'tokens': 1} counts no tokens; name them input_tokens, output_tokens, "),
        ({"input_tokens": "5"}, "usage: input_tokens='5' is no number of tokens; give a whole number from 0"),
        ({"prompt_tokens": -1}, "usage: prompt_tokens=-1 is no number of tokens; give a whole number from 0"),
        ({"input_tokens": 10**30}, f"usage: input_tokens={10**30} is no number of tokens; give a whole number from 0"),
        ({"output_tokens": True}, "usage: output_tokens=True is no number of tokens; give a whole number from 0"),
    ],
    ids=["number", "unknown", "text", "negative", "nonsense", "bool"],
)
def test_a_usage_that_is_none_is_told(rig: Rig, usage: Any, message: str) -> None:
    """With what would do; the call can still be finished."""
    with call(rig) as it:
        with pytest.raises((TypeError, ValueError)) as raised:
            it.finish("ok", usage=usage)
        finish(it)
    assert str(raised.value).startswith(message)


class Spoken(StrEnum):
    """As some SDKs have reasons."""

    END = "end_turn"


class Numbered(IntEnum):
    """As protocol buffers have them."""

    STOP = 1


@pytest.mark.parametrize(
    ("given", "reasons"),
    [(None, ()), ("stop", ("stop",)), (["stop", "length"], ("stop", "length")), (Spoken.END, ("end_turn",)),
     (Numbered.STOP, ("STOP",)), ([Numbered.STOP, "stop"], ("STOP", "stop"))],
    ids=["none", "text", "several", "enum of texts", "enum of numbers", "mixed"],
)  # fmt: skip
def test_s52_finish_reasons_as_vendors_write_them(given: Any, reasons: tuple[str, ...]) -> None:
    """A member of an enum is its text, or else its name."""
    assert told_reasons(given) == reasons


@pytest.mark.parametrize("given", [5, [None], {1: 2}], ids=str)
def test_a_finish_reason_that_is_none_is_told(given: Any) -> None:
    """With what would do."""
    with pytest.raises(TypeError, match=r"give the vendor's word, such as 'stop', or one for each choice"):
        told_reasons(given)


@pytest.mark.parametrize("piece", [None, 5, b"x"], ids=str)
def test_s28_a_piece_that_is_no_text_counts_as_empty(rigs: Callable[..., Rig], piece: Any) -> None:
    """Vendors send None between texts: the block ends well, with the texts; so it does where a reply is no text."""
    rig = rigs(content="span")
    for text, finished in ((None, True), (None, False), (7, True)):
        with call(rig) as it:
            it.chunk("a")
            it.chunk(piece)
            if finished:
                finish(it, text)  # type: ignore[arg-type]  # a vendor's odd answer
    said = [json.loads(str(span.attributes["gen_ai.output.messages"]))[0]["parts"][0]["content"] for span in rig.spans]
    assert said == ["a", "a", "7"]


@pytest.mark.parametrize("cost", [-1, float("nan"), "3", True], ids=str)
def test_a_cost_that_is_none_is_told(cost: object) -> None:
    """US dollars from 0."""
    with pytest.raises(ValueError, match="is no amount; give US dollars from 0"):
        told_cost(cost)


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://api.mistral.ai/v1/chat", {"server.address": "api.mistral.ai", "server.port": 443}),
        ("http://localhost:8080", {"server.address": "localhost", "server.port": 8080}),
        ("localhost", {}),
        ("http://host:many", {}),
        (None, {}),
    ],
)
def test_the_server_is_read_from_an_address(rig: Rig, url: str | None, server: dict[str, object]) -> None:
    """Host and port together, or neither."""
    with rlm_otel.llm_call(provider="mistral_ai", model="m", url=url, callbacks=[rig.callback]) as it:
        it.finish("ok")
    attributes = rig.spans[0].attributes
    assert {name: value for name, value in attributes.items() if name.startswith("server.")} == server


def test_s15_embeddings(rig: Rig) -> None:
    """Another operation, with the metric of what is no inference."""
    with call(rig, "voyage-3", operation="embeddings") as it:
        finish(it, None, usage=None, model="voyage-3")
    assert rig.outline() == "embeddings voyage-3"
    assert [point.count for point in rig.points("gen_ai.client.operation.duration")] == [1]


def test_provider_and_model_are_needed() -> None:
    """Texts with something in them."""
    with pytest.raises(TypeError, match=r"llm_call\(provider=''\): give a text, such as provider='anthropic'"):
        rlm_otel.llm_call(provider="", model="m")
    with pytest.raises(TypeError, match=r"llm_call\(operation=5\): give a text, such as operation='chat'"):
        rlm_otel.llm_call(provider="ollama", model="m", operation=5)  # type: ignore[arg-type]  # that is the test


def test_a_block_in_no_context_of_ours_is_quiet_about_it(rig: Rig) -> None:
    """The current operation is the call inside and what it was before outside."""
    marker = Bracket(Emitter([]), Run())
    with holding(current_bracket, marker), call(rig) as it:
        assert current_bracket.get() is not marker
        finish(it)
    assert current_bracket.get() is None
