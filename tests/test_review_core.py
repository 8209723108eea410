"""Ways to break a run that reading its code suggested: odd exceptions, nested threads, hooks that interfere."""

import asyncio
import functools
import threading
from collections.abc import Callable

import pytest

from rlm_otel import BaseCallback, StopRun, attributes
from rlm_otel.events import Finished
from rlm_otel.testing import Answer, Item, RecordedRequest, Recorder, Tool
from tests.rig import Rig
from tests.sync_async import Run, all_ways, both_ways


class Unprintable(Exception):
    """Nothing of it can be read."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    @property
    def response(self) -> object:
        raise RuntimeError("no response")


@all_ways
def test_a_tool_whose_exception_cannot_be_read_is_a_tool_that_failed(run: Run, rig: Rig) -> None:
    """The model is told the class; the run goes on."""

    def breaks() -> str:
        raise Unprintable

    result = run(rig.rlm(Answer(tool_calls=[Tool("breaks")]), "went on", tools=[breaks]))
    assert result.text == "went on"
    assert result.messages[2]["content"] == "Error: Unprintable: "


def test_arguments_nested_too_deep_for_the_json_reader_reach_hooks_as_text(rig: Rig) -> None:
    """A start hook is told all the same, and the model that its arguments are wrong."""
    seen: list[object] = []

    class Sees(BaseCallback):
        def on_tool_start(self, tool_name: str, tool_input: object, **kwargs: object) -> None:
            seen.append(tool_input)

    def work() -> str:
        return "ok"

    deep = "[" * 100_000
    rlm = rig.rlm(Answer(tool_calls=[Tool("work", deep)]), "end", tools=[work], callbacks=[rig.callback, Sees()])
    assert rlm.run("go").text == "end"
    assert seen == [deep]


async def test_more_waiting_tools_than_the_loops_pool_has_threads_do_not_block_their_sub_runs(rig: Rig) -> None:
    """Sync tools that wait for sub-runs, whose own sync tools need threads too."""

    def outer(number: int, llm_query: Callable[[str], str]) -> str:
        return llm_query(f"part {number}")

    def inner() -> str:
        return "ok"

    def respond(request: RecordedRequest) -> Item:
        if request.body["messages"][-1]["role"] == "tool":
            return Answer("done")
        if request.prompt == "go":
            return Answer(tool_calls=[Tool("outer", {"number": n}) for n in range(40)])
        return Answer(tool_calls=[Tool("inner")])

    rlm = rig.rlm(server=rig.serve(respond=respond), tools=[outer, inner], max_depth=1, max_concurrency=40)
    async with asyncio.timeout(30):
        assert (await rlm.arun("go")).text == "done"


@both_ways
def test_a_coroutine_of_a_decorated_tool_is_awaited(run: Run, rig: Rig) -> None:
    """The decorator is no `async def`, its function is."""

    async def slow() -> str:
        return "value"

    @functools.wraps(slow)
    def decorated() -> object:
        return slow()

    result = run(rig.rlm(Answer(tool_calls=[Tool("slow")]), "end", tools=[decorated]))
    assert result.messages[2]["content"] == "value"


def test_a_stream_has_the_labels_of_where_it_was_asked_for(rig: Rig) -> None:
    """It is often read elsewhere, by a web framework after the view has returned."""
    recorder = Recorder()
    rlm = rig.rlm("hi", callbacks=[rig.callback, recorder])
    with attributes(team="search"):
        stream = rlm.stream("go")
    with attributes(user="somebody"):
        list(stream)
    labels = [sorted(event.origin.labels) for event in recorder.of(Finished)]
    assert labels[-1] == [("team", "search"), ("user", "somebody")]


async def test_a_tool_that_raises_stop_iteration_does_not_hang_an_async_run(rig: Rig) -> None:
    """No future carries that exception."""

    def first() -> str:
        return next(iter(()))

    async with asyncio.timeout(10):
        result = await rig.rlm(Answer(tool_calls=[Tool("first")]), "end", tools=[first]).arun("go")
    assert result.messages[2]["content"] == "Error: RuntimeError: StopIteration"


async def test_a_cancelled_run_makes_no_further_sub_calls(rig: Rig) -> None:
    """Its tool's thread cannot be stopped, but is refused."""
    asked, cancelled, refused = threading.Event(), threading.Event(), threading.Event()
    errors: list[str] = []

    def asks(llm_query: Callable[[str], str]) -> str:
        for _ in range(2):
            asked.set()
            try:
                llm_query("part")
            except BaseException as error:
                errors.append(type(error).__name__)
                cancelled.wait(10)
        refused.set()
        return ""

    gate = threading.Event()
    server = rig.serve(Answer(tool_calls=[Tool("asks")]), Answer("late", gate=gate))
    rlm = rig.rlm(server=server, tools=[asks], max_depth=1)
    running = asyncio.create_task(rlm.arun("go"))
    await asyncio.to_thread(server.wait_for_requests, 2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    cancelled.set()
    assert await asyncio.to_thread(refused.wait, 10)
    gate.set()
    assert errors == ["CancelledError", "CancelledError"]
    assert len(server.requests) == 2


@both_ways
def test_max_depth_counts_the_sub_runs_of_one_runner(run: Run, rig: Rig) -> None:
    """A runner inside another one's tool may go as deep as on its own."""

    def respond(request: RecordedRequest) -> Item:
        if request.body["messages"][-1]["role"] == "tool":
            return Answer(f"heard: {request.prompt}")
        if request.prompt == "go":
            return Answer(tool_calls=[Tool("nest")])
        return (
            Answer(tool_calls=[Tool("llm_query", {"prompt": "leaf"})]) if request.prompt == "inner" else Answer("sap")
        )

    server = rig.serve(respond=respond)
    inner = rig.rlm(server=server, max_depth=1)

    def nest() -> str:
        return inner.run("inner").text

    assert run(rig.rlm(server=server, tools=[nest])).text == "heard: heard: sap"


async def test_a_strict_async_hook_is_heard(rig: Rig) -> None:
    """What it raised before anybody waited for it leaves at the next step of the run."""

    class Strict(BaseCallback):
        raise_error = True

        async def on_llm_start(self, prompt: str, **kwargs: object) -> None:
            raise ValueError("strict")

    with pytest.raises(ValueError, match="strict"):
        await rig.rlm("hi", callbacks=[rig.callback, Strict()]).arun("go")


async def test_a_cancelled_sub_run_leaves_the_hooks_of_the_whole_run_alone(rig: Rig) -> None:
    """It only waited for them."""
    log: list[str] = []
    release = asyncio.Event()

    class Slow(BaseCallback):
        async def on_llm_end(self, response: object, **kwargs: object) -> None:
            log.append("begins")
            await release.wait()
            log.append("ends")

    async def impatient(llm_query: Callable[[str], asyncio.Future[str]]) -> str:
        asking = asyncio.ensure_future(llm_query("leaf"))
        while len(server.requests) < 2 or not log:
            await asyncio.sleep(0.001)
        await asyncio.wait([asking], timeout=0.05)
        asking.cancel()
        await asyncio.wait([asking])
        release.set()
        return "gave up"

    server = rig.serve(Answer(tool_calls=[Tool("impatient")]), "leaf", "end")
    rlm = rig.rlm(server=server, tools=[impatient], max_depth=1, callbacks=[rig.callback, Slow()])
    assert (await rlm.arun("go")).text == "end"
    assert log == ["begins", "ends"] * 3


def test_a_hook_may_close_the_stream_of_its_own_run(rig: Rig) -> None:
    """The run ends as closed at its next step."""

    class Closes(BaseCallback):
        def on_llm_end(self, response: object, **kwargs: object) -> None:
            stream.close()

    rlm = rig.rlm(Answer(tool_calls=[Tool("never")]), tools=[_never], callbacks=[rig.callback, Closes()])
    stream = rlm.stream("go")
    assert list(stream) == []
    assert stream.result is not None
    assert stream.result.outcome == "closed"
    assert rig.outline() == "invoke_agent (closed)\n  chat gpt-4o"


def _never() -> str:
    raise AssertionError


_never.__name__ = "never"


@both_ways
def test_stop_run_of_on_token_gives_the_connection_back(run: Run, rig: Rig) -> None:
    """Also while the exception, and with it the stream, is kept."""
    gate = threading.Event()

    class Enough(BaseCallback):
        def on_token(self, token: str) -> None:
            raise StopRun("enough")

    server = rig.serve(Answer("a b c d", gate=gate, gate_after=2))
    with pytest.raises(StopRun) as kept:
        run(rig.rlm(server=server, callbacks=[rig.callback, Enough()]))
    assert server.requests[0].disconnected.wait(10)
    gate.set()
    assert kept.value.result is not None
