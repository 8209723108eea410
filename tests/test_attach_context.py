"""Parents, other instrumentations and callbacks of observed clients: scenarios 75 to 84 and 89 to 96, 105 to 109."""

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from opentelemetry import context as otel_context
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor

import rlm_otel
from rlm_otel import RLM, BaseCallback, BudgetExceeded, StopRun, fence, instrument_openai
from rlm_otel.callbacks import BudgetCallback
from rlm_otel.otel.context import INFERENCE_KEY
from rlm_otel.testing import Answer, Broken, Repeat, Tokens, Tool
from tests.attached import (
    ANY_WAY,
    BROKE_OFF,
    EITHER,
    FOUR,
    HI,
    HTTP,
    STREAMED,
    TWO_STREAMS,
    Told,
    ask,
    begin,
    close,
    facts,
    is_async,
    make,
    observed,
    opened,
)
from tests.rig import Rig

OK = Repeat(Answer("ok fine", usage=Tokens(input=2, output=2)))

# Parents -------------------------------------------------------------------------------------------------------------


@ANY_WAY
async def test_s80_a_clients_call_joins_the_ambient_trace(rig: Rig, way: str) -> None:
    """Under a web request's span the call is its child."""
    tracer = rig.tracer_provider.get_tracer("web")
    async with observed(rig, rig.serve(OK), way) as client:
        with tracer.start_as_current_span("GET /"):
            await ask(client, way)
    assert rig.outline() == "GET /\n  chat gpt-4o"


@FOUR
async def test_s105_a_clients_call_in_a_tool_is_the_tools_child(rig: Rig, way: str) -> None:
    """In a tool of a run the call belongs to that run: its span is under the tool's, its tokens in the run's sums."""
    server = rig.serve(
        Answer(tool_calls=[Tool("look", {})], usage=Tokens(input=1, output=1)),
        Answer("seen", usage=Tokens(input=10, output=10)),
        Answer("done", usage=Tokens(input=100, output=100)),
    )
    inner = make(server, way)
    instrument_openai(inner)

    async def alook() -> str:
        """Looks."""
        await ask(inner, way, **({"stream_options": {"include_usage": True}} if way.endswith("stream") else {}))
        return "seen"

    rlm = rig.rlm(server=server, tools=[_named("look", alook)], name="root")
    result = await rlm.arun("go")
    assert rig.outline() == ("invoke_agent root\n  chat gpt-4o\n  execute_tool look\n    chat gpt-4o\n  chat gpt-4o")
    assert result.usage is not None
    assert (result.usage.total_tokens, result.inference_calls) == (222, 3)
    await close(inner)


def _named(name: str, tool: Callable[..., Any]) -> Callable[..., Any]:
    tool.__name__ = name
    return tool


@FOUR
async def test_s107_our_runner_over_an_observed_client(rigs: Callable[..., Rig], way: str) -> None:
    """The runner observes its calls itself: one span each, none from the client, all on one tree."""
    rig, other = rigs(), rigs()
    client = make(rig.serve(OK), way)
    instrument_openai(client, callbacks=[other.callback])
    given: dict[str, Any] = {"async_client" if is_async(way) else "client": client}
    rlm = RLM.from_openai("gpt-4o", callbacks=[rig.callback], name="root", **given)
    if way == "create":
        rlm.run("Hi")
    elif way == "acreate":
        await rlm.arun("Hi")
    elif way == "stream":
        list(rlm.stream("Hi"))
    else:
        assert [text async for text in rlm.astream("Hi")]
    assert rig.outline() == "invoke_agent root\n  chat gpt-4o"
    assert other.spans == []
    await close(client)


@FOUR
async def test_s76_concurrent_calls_have_their_own_parents(rig: Rig, way: str) -> None:
    """Eight requests at once: each call under its own request's span."""
    tracer = rig.tracer_provider.get_tracer("web")
    server = rig.serve(OK)

    async def request(client: Any, number: int) -> None:
        with tracer.start_as_current_span(f"request {number}"):
            await ask(client, way, model=f"m{number}")

    async with observed(rig, server, way) as client:
        if is_async(way):
            await asyncio.gather(*(request(client, number) for number in range(8)))
        else:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda number: asyncio.run(request(client, number)), range(8)))
    assert rig.outline(by_name=True) == "\n".join(f"request {n}\n  chat m{n}" for n in range(8))


def test_s75_a_copied_context_carries_the_parent_into_a_thread(rig: Rig) -> None:
    """What a pool with copied contexts runs is a child of the submitting span."""
    tracer = rig.tracer_provider.get_tracer("web")
    client = make(rig.serve(OK), "create")
    instrument_openai(client, callbacks=[rig.callback])
    with tracer.start_as_current_span("GET /"), ThreadPoolExecutor(1) as pool:
        call = lambda: client.chat.completions.create(model="gpt-4o", messages=HI)  # noqa: E731 - shorter so
        pool.submit(contextvars.copy_context().run, call).result()
    client.close()
    assert rig.outline() == "GET /\n  chat gpt-4o"


def test_s77_a_stream_that_wanders_between_threads(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Made in one thread, read in a second, closed in a third: one closed call, no complaint about contexts."""
    client = make(rig.serve(OK), "stream")
    instrument_openai(client, callbacks=[rig.callback])
    stream = client.chat.completions.create(model="gpt-4o", messages=HI, stream=True)
    for work in (lambda: next(stream), lambda: next(stream), stream.close):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    client.close()
    assert facts(rig)[2] == {"closed": 1}
    assert caplog.records == []


async def test_s77_an_async_generator_closed_by_another_task(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """The usual endpoint: a generator over our stream that the web framework closes from another task."""
    async with observed(rig, rig.serve(OK), "astream") as client:

        async def endpoint() -> AsyncIterator[str]:
            async with await client.chat.completions.create(model="gpt-4o", messages=HI, stream=True) as stream:
                async for chunk in stream:
                    yield chunk.choices[0].delta.content or ""

        body = endpoint()
        await asyncio.create_task(anext(body))  # type: ignore[arg-type]  # a coroutine in fact
        await asyncio.create_task(body.aclose())  # type: ignore[attr-defined]
        assert rig.open_spans == []
    assert facts(rig)[2] == {"closed": 1}
    assert caplog.records == []


@TWO_STREAMS
async def test_s78_nothing_stays_attached_after_a_break(rig: Rig, way: str) -> None:
    """After a stream was left, and while it is open, the context is the caller's own."""
    async with observed(rig, rig.serve(OK), way) as client:
        stream = await begin(client, way)
        await anext(stream)
        assert otel_context.get_current() == {}
        assert rlm_otel.current_trace_id() is None
        await ask(client, way)
        await stream.close()
    assert {span.parent_id for span in rig.spans} == {None}


@FOUR
async def test_s83_exemplars_lead_to_the_clients_span(rig: Rig, way: str) -> None:
    """Each histogram point of a call has an exemplar with its span's ids."""
    async with observed(rig, rig.serve(OK), way) as client:
        await ask(client, way)
    chat = rig.span("chat gpt-4o")
    (point,) = rig.points("gen_ai.client.inference.duration")
    assert [(one.trace_id, one.span_id) for one in point.exemplars] == [(chat.trace_id, chat.span_id)]


@FOUR
async def test_s85_labels_of_the_surroundings(rigs: Callable[..., Rig], way: str) -> None:
    """`attributes(team=...)` around a call is on its span and, declared, on its metrics."""
    rig = rigs(labels={"team": ["search"]})
    async with observed(rig, rig.serve(OK), way) as client:
        with rlm_otel.attributes(team="search"):
            await ask(client, way)
    assert rig.span("chat gpt-4o").attributes["rlm.label.team"] == "search"
    assert rig.value("rlm.client.operations", rlm_label_team="search") == 1


# Other instrumentations ----------------------------------------------------------------------------------------------


@FOUR
@pytest.mark.parametrize("joined", [True, False])
async def test_s33_http_spans_are_children_of_the_call(rigs: Callable[..., Rig], way: str, joined: bool) -> None:
    """With OpenTelemetry's own httpx instrumentation attempts are children of our span, if it is theirs to see."""
    rig = rigs(joined=joined)
    async with observed(rig, rig.serve(OK), way) as client:
        kind = HTTPX2ClientInstrumentor if HTTP.__name__ == "httpx2" else HTTPXClientInstrumentor
        kind.instrument_client(client._client, tracer_provider=rig.tracer_provider)
        with rig.tracer_provider.get_tracer("web").start_as_current_span("GET /"):
            await ask(client, way)
    nested = "GET /\n  chat gpt-4o\n    POST"
    assert set(rig.outline().splitlines()) == (
        set(nested.splitlines()) if joined else {"GET /", "chat gpt-4o", "  POST"}
    )


@FOUR
async def test_s90_inside_somebody_elses_inference(rig: Rig, way: str) -> None:
    """Where another instrumentation has the call already we make no span and no metric, but tell the callbacks."""
    told = Told()
    async with observed(rig, rig.serve(OK), way, callbacks=[told]) as client:
        token = otel_context.attach(otel_context.set_value(INFERENCE_KEY, object()))
        try:
            await ask(client, way)
        finally:
            otel_context.detach(token)
    assert (rig.spans, rig.metric_names) == ([], [])
    assert told.hooks == ["on_llm_start", "on_llm_end"]


@FOUR
async def test_s90_suppressed_instrumentation(rig: Rig, way: str) -> None:
    """`suppress_instrumentation()` silences us too."""
    from opentelemetry.instrumentation.utils import suppress_instrumentation

    async with observed(rig, rig.serve(OK), way) as client:
        with suppress_instrumentation():
            await ask(client, way)
    assert (rig.spans, rig.metric_names) == ([], [])


# Callbacks -----------------------------------------------------------------------------------------------------------


class Breaks:
    """Raises in every hook."""

    def __init__(self, error: type[BaseException]) -> None:
        self.error = error

    def on_llm_start(self) -> None:
        raise self.error("start")

    def on_token(self) -> None:
        raise self.error("token")

    def on_llm_end(self) -> None:
        raise self.error("end")


@ANY_WAY
async def test_s92_a_callback_that_raises_harms_no_call(rig: Rig, way: str) -> None:
    """In each hook: the call, the others and the telemetry are unaffected."""
    told = Told()
    async with observed(rig, rig.serve(OK), way, callbacks=[Breaks(ValueError), told]) as client:
        await ask(client, way)
    assert facts(rig) == ("unset", ("stop",), {"completed": 1})
    assert told.hooks == ["on_llm_start", "on_llm_end"]
    failed = {("Breaks", "on_llm_start"): 1, ("Breaks", "on_llm_end"): 1}
    assert fence.failures() == ({**failed, ("Breaks", "on_token"): 2} if way.endswith(("stream", "helper")) else failed)


class Stops(BaseCallback):
    """Stops at one hook."""

    def __init__(self, hook: str) -> None:
        self.hook = hook

    def _stop(self, hook: str) -> None:
        if hook == self.hook:
            raise StopRun(hook)

    def on_llm_start(self, prompt: str, **kwargs: object) -> None:
        self._stop("on_llm_start")

    def on_token(self, token: str) -> None:
        self._stop("on_token")

    def on_llm_end(self, response: object, **kwargs: object) -> None:
        self._stop("on_llm_end")


@ANY_WAY
async def test_s93_stop_at_the_start_sends_nothing(rig: Rig, way: str) -> None:
    """`StopRun` of an `on_llm_start` reaches the caller before the request is sent; no span is left."""
    server, told = rig.serve(OK), Told()
    async with observed(rig, server, way, callbacks=[told, Stops("on_llm_start")]) as client:
        with pytest.raises(StopRun, match="on_llm_start"):
            await ask(client, way)
    assert (server.requests, rig.spans) == ([], [])


@STREAMED
async def test_s93_stop_at_a_token_ends_the_stream(rig: Rig, way: str) -> None:
    """`StopRun` of an `on_token` reaches the consumer; the call is closed and the server is hung up on."""
    async with observed(rig, rig.serve(OK), way, callbacks=[Stops("on_token")]) as client:
        with pytest.raises(StopRun, match="on_token"):
            await ask(client, way)
        assert rig.open_spans == []
    assert facts(rig)[2] == {"closed": 1}


@ANY_WAY
async def test_s93_stop_at_the_end_reaches_the_caller(rig: Rig, way: str) -> None:
    """`StopRun` of an `on_llm_end` is raised where the call ended, and that is complete."""
    async with observed(rig, rig.serve(OK), way, callbacks=[Stops("on_llm_end")]) as client:
        with pytest.raises(StopRun, match="on_llm_end"):
            await ask(client, way)
    assert facts(rig)[2] == {"completed": 1}


@TWO_STREAMS
@pytest.mark.parametrize("whose", ["the SDK's", "the consumer's"])
async def test_s93_a_stop_does_not_replace_what_is_already_leaving(rig: Rig, way: str, whose: str) -> None:
    """`StopRun` of an `on_error`: the exception that it was told of goes on."""

    class Stop:
        def on_error(self) -> None:
            raise StopRun("late")

    script = Broken(Answer("one two"), how="cut", after=2) if whose == "the SDK's" else Answer("one two")
    error: tuple[type[Exception], ...] = BROKE_OFF if whose == "the SDK's" else (ValueError,)
    async with observed(rig, rig.serve(script), way, callbacks=[Stop()]) as client:
        with pytest.raises(error):
            await _read_or_raise(client, way)
    assert facts(rig)[2] == {"failed": 1}


async def _read_or_raise(client: Any, way: str) -> None:
    async with opened(client, way) as stream:
        for _ in range(3):
            await anext(stream)
        raise ValueError("mine")


async def test_s93_stop_at_the_end_of_a_dropped_stream_harms_nobody(rig: Rig) -> None:
    """Nobody is left to be stopped, and what is dropped later is still seen."""
    async with observed(rig, rig.serve(OK), "stream", callbacks=[Stops("on_llm_end")]) as client:
        for _ in range(2):
            await begin(client, "stream")
            gc.collect()
            assert rig.open_spans == []
    assert len(rig.spans) == 2


@FOUR
async def test_s93_a_budget_refuses_a_clients_call(rig: Rig, way: str) -> None:
    """A call for which no price is known is not sent where costs are limited."""
    server, budget = rig.serve(OK), BudgetCallback(max_cost=1.0)
    async with observed(rig, server, way, callbacks=[budget]) as client:
        with pytest.raises(BudgetExceeded, match="no price is known for model 'mine'"):
            await ask(client, way, model="mine")
    assert (server.requests, rig.spans) == ([], [])


async def test_s93_a_runs_budget_counts_the_calls_of_a_client(rig: Rig) -> None:
    """In a run's block a client without callbacks of its own is told to the run's, which refuse the third call."""
    server = rig.serve(OK)
    client = make(server, "create")
    instrument_openai(client)
    with pytest.raises(BudgetExceeded, match="2 model calls were made"):
        await _thrice(client, rig)
    client.close()
    assert len(server.requests) == 2
    assert rig.outline() == "invoke_agent job !rlm_otel.errors.BudgetExceeded\n  chat gpt-4o\n  chat gpt-4o"


async def _thrice(client: Any, rig: Rig) -> None:
    with rlm_otel.run("job", callbacks=[rig.callback, BudgetCallback(max_calls=2)]):
        for _ in range(3):
            await ask(client, "create")


@TWO_STREAMS
async def test_tokens_of_a_client_in_a_run(rig: Rig, way: str) -> None:
    """Streams of a client are told to the run's `on_token` in its block, not in a tool of it: that is no answer."""
    told = Told()
    client = make(rig.serve(OK), way)
    instrument_openai(client)
    with rlm_otel.run("job", callbacks=[rig.callback, told]):
        await ask(client, way)
        with rlm_otel.tool("look"):
            await ask(client, way)
    await close(client)
    assert told.texts == ["ok ", "fine"]


@FOUR
async def test_s106_spans_of_the_application_are_between(rig: Rig, way: str) -> None:
    """Under a span that the application opened in a run's block the call is that one's child."""
    tracer = rig.tracer_provider.get_tracer("app")
    client = make(rig.serve(OK), way)
    instrument_openai(client)
    with rlm_otel.run("job", callbacks=[rig.callback]), tracer.start_as_current_span("step"):
        await ask(client, way)
    await close(client)
    assert rig.outline() == "invoke_agent job\n  step\n    chat gpt-4o"


@FOUR
async def test_s107_inside_of_an_llm_call_block(rigs: Callable[..., Rig], way: str) -> None:
    """A block of the application that stands for the call already: the client makes no second one."""
    rig, other = rigs(), rigs()
    client = make(rig.serve(OK), way)
    instrument_openai(client, callbacks=[other.callback])
    with rlm_otel.llm_call(provider="openai", model="gpt-4o", callbacks=[rig.callback]) as call:
        await ask(client, way)
        call.finish("ok")
    await close(client)
    assert (rig.outline(), other.spans) == ("chat gpt-4o", [])


def test_s107_after_an_llm_call_block_said_it_is_finished(rig: Rig) -> None:
    """What is asked later in that block is a call of its own."""
    client = make(rig.serve(OK), "create")
    instrument_openai(client, callbacks=[rig.callback])
    with rlm_otel.run("job", callbacks=[rig.callback]):
        with rlm_otel.llm_call(provider="anthropic", model="other", callbacks=[rig.callback]) as call:
            call.finish("ok")
            client.chat.completions.create(model="gpt-4o", messages=HI)
    client.close()
    assert {line.strip() for line in rig.outline().splitlines()} == {"invoke_agent job", "chat other", "chat gpt-4o"}


@FOUR
async def test_s108_the_conversation_is_on_a_clients_call(rig: Rig, way: str) -> None:
    """`conversation(id)` and `prompt(name)` around it are on its span."""
    async with observed(rig, rig.serve(OK), way) as client:
        with rlm_otel.conversation("chat-17"), rlm_otel.prompt("summary", "3"):
            await ask(client, way)
    attributes = rig.span("chat gpt-4o").attributes
    assert (attributes["gen_ai.conversation.id"], attributes["gen_ai.prompt.name"]) == ("chat-17", "summary")


@FOUR
async def test_suppress_silences_a_client(rig: Rig, way: str) -> None:
    """Inside of `rlm_otel.suppress()` nobody is told, and nothing is changed."""
    told = Told()
    async with observed(rig, rig.serve(OK), way, callbacks=[told], include_usage=True) as client:
        with rlm_otel.suppress():
            await ask(client, way)
    assert (rig.spans, told.hooks) == ([], [])


class Asynchronous:
    """Notes async hooks, each of which waits for a turn of the loop."""

    def __init__(self) -> None:
        self.hooks: list[str] = []

    async def on_llm_start(self) -> None:
        await asyncio.sleep(0)
        self.hooks.append("on_llm_start")

    async def on_token(self, token: str) -> None:
        self.hooks.append(token)

    async def on_retry(self) -> None:
        await asyncio.sleep(0)
        self.hooks.append("on_retry")

    async def on_llm_end(self) -> None:
        await asyncio.sleep(0)
        self.hooks.append("on_llm_end")

    async def on_error(self, error: BaseException) -> None:
        self.hooks.append(type(error).__name__)


@pytest.mark.parametrize("way", ["acreate", "araw", "asr", "astream", "asr_stream", "ahelper"])
async def test_async_hooks_have_run_when_the_call_returns(rig: Rig, way: str) -> None:
    """`async def` hooks of async calls are awaited, in order, to the end of the call or stream."""
    from rlm_otel.testing import Failure

    hooks = Asynchronous()
    server = rig.serve(Failure(429, headers={"retry-after-ms": "1"}), Answer("ok fine"))
    async with observed(rig, server, way, callbacks=[hooks]) as client:
        await ask(client, way)
        seen = list(hooks.hooks)
    texts = ["ok ", "fine"] if way.endswith(("stream", "helper")) else []
    assert seen == ["on_llm_start", "on_retry", *texts, "on_llm_end"]


async def test_async_hooks_have_run_when_the_stream_is_closed(rig: Rig) -> None:
    """Also where the consumer leaves early."""
    hooks = Asynchronous()
    async with observed(rig, rig.serve(OK), "astream", callbacks=[hooks]) as client:
        stream = await begin(client, "astream")
        await anext(stream)
        await stream.close()
        assert hooks.hooks == ["on_llm_start", "on_llm_end"]


async def test_async_hooks_of_an_error(rig: Rig) -> None:
    """`on_error` has run when the exception arrives."""
    from rlm_otel.testing import Failure

    hooks = Asynchronous()
    async with observed(rig, rig.serve(Failure(400)), "acreate", callbacks=[hooks]) as client:
        with pytest.raises(openai.BadRequestError):
            await ask(client, "acreate")
        assert hooks.hooks == ["on_llm_start", "BadRequestError"]


async def test_s93_an_async_hook_stops_the_call_before_it_is_sent(rig: Rig) -> None:
    """`StopRun` of an `async def on_llm_start` comes in time, if it is raised before the hook first waits."""

    class Stop:
        async def on_llm_start(self) -> None:
            raise StopRun("no")

    server = rig.serve(OK)
    async with observed(rig, server, "acreate", callbacks=[Stop()]) as client:
        with pytest.raises(StopRun, match="no"):
            await ask(client, "acreate")
    assert server.requests == []
    assert facts(rig)[2] == {"closed": 1}


@EITHER
async def test_s95_a_hook_that_asks_the_same_client(rig: Rig, way: str) -> None:
    """It is not told of its own call: no endless recursion; the others are."""

    class Asks:
        def on_llm_end(self, response: Any) -> None:
            other = make(server, "create")
            instrument_openai(other, callbacks=[rig.callback, self])
            other.chat.completions.create(model="inner", messages=HI)
            other.close()

    server = rig.serve(OK)
    async with observed(rig, server, way, callbacks=[Asks()]) as client:
        await ask(client, way)
    assert rig.outline() == "chat gpt-4o\nchat inner"


@FOUR
async def test_s94_slow_start_hooks_are_not_in_the_duration(rig: Rig, way: str) -> None:
    """The clock starts after the start hooks: a hook that waits for something costs the call nothing on its span."""
    waited: list[int] = []

    class Waits:
        def on_llm_start(self) -> None:
            from time import monotonic_ns

            begun = monotonic_ns()
            while monotonic_ns() < begun + 30_000_000:
                pass
            waited.append(monotonic_ns())

    from rlm_otel.clock import SYSTEM_CLOCK

    async with observed(rig, rig.serve(OK), way, callbacks=[Waits()]) as client:
        before = SYSTEM_CLOCK.wall_ns()
        await ask(client, way)
    assert rig.span("chat gpt-4o").start_ns >= before + 30_000_000
    assert len(waited) == 1
