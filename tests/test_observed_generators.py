"""Generators as runs and tools, and blocks inside of generators: nothing leaks, nothing raises, each ends once."""

import asyncio
import contextvars
import gc
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace

import rlm_otel
from rlm_otel import StopRun, current_trace_id, generators
from rlm_otel.ambient import current_bracket
from tests.rig import Rig


def outer(rig: Rig) -> rlm_otel.ObservedRun:
    return rlm_otel.run("outer", callbacks=[rig.callback])


@rlm_otel.run
def pieces(*texts: str) -> Iterator[str]:
    """A streaming answer in sync code, with a block of the user's around the yields."""
    with rlm_otel.tool("inside"):
        yield from texts


@rlm_otel.run
async def apieces(*texts: str) -> AsyncIterator[str]:
    """The same in async code."""
    with rlm_otel.tool("inside"):
        for text in texts:
            await asyncio.sleep(0)
            yield text


TREE = "invoke_agent outer\n  invoke_agent {0}{1}\n    execute_tool inside{1}"


def nothing_is_current() -> bool:
    return current_bracket.get() is None and otel_context.get_current() == {}


async def test_a_drained_generator_is_one_run(rigs: Callable[..., Rig]) -> None:
    """From the first item to the end; the texts together are its result, and nothing is current between."""
    rig = rigs(content="span")
    with outer(rig) as run:
        sync, inside = pieces("a", "б"), current_bracket.get()
        for _ in sync:
            assert current_bracket.get() is inside
        assert [text async for text in apieces("a", "б")] == ["a", "б"]
        assert current_trace_id() == run.trace_id
    assert rig.outline() == (
        "invoke_agent outer\n  invoke_agent pieces\n    execute_tool inside\n"
        "  invoke_agent apieces\n    execute_tool inside"
    )
    assert [
        rig.span(f"invoke_agent {name}").attributes["gen_ai.output.messages"] for name in ("pieces", "apieces")
    ] == ['[{"role":"assistant","parts":[{"type":"text","content":"aб"}]}]'] * 2


async def test_s20_a_generator_that_is_never_iterated_is_nothing(rig: Rig) -> None:
    """No record, closed or dropped."""
    with outer(rig):
        pieces("a").close()  # type: ignore[attr-defined]  # typed as an iterator
        await apieces("a").aclose()  # type: ignore[attr-defined]  # typed as an iterator
        pieces("a")
        apieces("a")
    assert rig.outline() == "invoke_agent outer"


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_s19_close_ends_it_as_closed(rig: Rig, kind: str) -> None:
    """At that moment, and a block inside with it."""
    with outer(rig):
        if kind == "sync":
            sync: Any = pieces("a", "b")
            next(sync)
            sync.close()
            sync.close()
        else:
            stream: Any = apieces("a", "b")
            await anext(stream)
            await stream.aclose()
            await stream.aclose()
        assert "(closed)" in rig.outline()
    assert rig.open_spans == []
    assert rig.outline() == TREE.format("pieces" if kind == "sync" else "apieces", " (closed)")


def test_s18_a_dropped_generator_is_abandoned(rig: Rig) -> None:
    """By `break`, and also where only the garbage collector finds it; its own clean-up runs."""
    cleaned: list[str] = []

    @rlm_otel.run
    def looping() -> Iterator[str]:
        try:
            yield "a"
        finally:
            cleaned.append("yes")

    class Holder:
        pass

    with outer(rig):
        for _ in looping():
            break
        holder: Any = Holder()
        holder.itself, holder.generator = holder, looping()
        next(holder.generator)
        del holder
        gc.collect()
    assert rig.open_spans == []
    assert (cleaned, rig.outline()) == (
        ["yes", "yes"],
        "invoke_agent outer\n  invoke_agent looping (abandoned)\n  invoke_agent looping (abandoned)",
    )


async def test_s18_a_dropped_async_generator_is_abandoned(rig: Rig) -> None:
    """Its own clean-up runs in the event loop, in the context of its body."""
    cleaned = asyncio.Event()
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    @rlm_otel.run
    async def looping() -> AsyncIterator[str]:
        token = variable.set("set")
        try:
            yield "a"
        finally:
            await asyncio.sleep(0)
            variable.reset(token)
            cleaned.set()

    with outer(rig):
        async for _ in looping():
            break
        await asyncio.wait_for(cleaned.wait(), 5)
    assert rig.open_spans == []
    assert rig.outline() == "invoke_agent outer\n  invoke_agent looping (abandoned)"


async def test_s77_a_generator_closed_in_another_task_or_thread(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """It ends, no token complains, and neither context keeps anything; spans of the user inside detach as well."""

    @rlm_otel.run
    async def spans() -> AsyncIterator[str]:
        with rig.tracer_provider.get_tracer("app").start_as_current_span("user"), rlm_otel.tool("inside"):
            yield "a"

    @rlm_otel.run
    def sync_spans() -> Iterator[str]:
        with rig.tracer_provider.get_tracer("app").start_as_current_span("user"), rlm_otel.tool("inside"):
            yield "a"

    async def close(stream: Any) -> None:
        await stream.aclose()
        assert current_bracket.get() is inside

    with outer(rig), caplog.at_level(logging.DEBUG):
        inside = current_bracket.get()
        stream: Any = spans()
        await anext(stream)
        await asyncio.create_task(close(stream))
        sync: Any = sync_spans()
        next(sync)
        thread = threading.Thread(target=sync.close)
        thread.start()
        thread.join(5)
        assert current_bracket.get() is inside
    assert [record.getMessage() for record in caplog.records if "etach" in record.getMessage()] == []
    assert nothing_is_current()
    assert rig.open_spans == []
    assert rig.outline() == (
        "invoke_agent outer\n"
        "  invoke_agent spans (closed)\n    user\n      execute_tool inside (closed)\n"
        "  invoke_agent sync_spans (closed)\n    user\n      execute_tool inside (closed)"
    )


async def test_s26_two_generators_read_in_turns_stay_apart(rig: Rig) -> None:
    """Each tool is below its own run."""
    with outer(rig):
        first, second = pieces("a", "b"), pieces("c", "d")
        assert [text for pair in zip(first, second, strict=True) for text in pair] == ["a", "c", "b", "d"]
        third, fourth = apieces("a"), apieces("b")
        assert [await anext(third), await anext(fourth)] == ["a", "b"]
        assert [await anext(third, None), await anext(fourth, None)] == [None, None]
    run = "\n  invoke_agent {0}\n    execute_tool inside"
    assert rig.outline() == "invoke_agent outer" + 2 * run.format("pieces") + 2 * run.format("apieces")


def test_values_and_exceptions_go_in_and_out(rig: Rig) -> None:
    """`send`, `throw` and the returned value work as without the decorator."""

    @rlm_otel.tool(callbacks=[rig.callback])
    def talk() -> Any:
        heard: list[object] = []
        for _ in range(2):
            try:
                heard.append((yield len(heard)))
            except KeyError as error:
                heard.append(error.args[0])
        return heard

    talking: Any = talk()
    assert (next(talking), talking.send("one"), iter(talking) is talking) == (0, 1, True)
    with pytest.raises(StopIteration) as stopped:
        talking.throw(KeyError("two"))
    assert stopped.value.value == ["one", "two"]
    assert rig.outline() == "execute_tool talk"


async def test_async_values_and_exceptions_go_in_and_out(rig: Rig) -> None:
    """`asend` and `athrow` too."""

    @rlm_otel.tool(callbacks=[rig.callback])
    async def talk() -> Any:
        heard: list[object] = []
        for _ in range(2):
            try:
                heard.append((yield tuple(heard)))
            except KeyError as error:
                heard.append(error.args[0])
        yield tuple(heard)

    talking: Any = talk()
    assert [await anext(talking), await talking.asend("one")] == [(), ("one",)]
    assert await talking.athrow(KeyError("two")) == ("one", "two")
    with pytest.raises(ZeroDivisionError):
        await talking.athrow(ZeroDivisionError())
    assert rig.outline() == "execute_tool talk !ZeroDivisionError"


async def test_s44_a_generator_that_is_cancelled_while_it_waits(rig: Rig) -> None:
    """`cancelled`, and the cancellation goes on; the clean-up may still wait."""

    @rlm_otel.run(callbacks=[rig.callback])
    async def stuck() -> AsyncIterator[str]:
        try:
            await asyncio.Event().wait()
            yield "never"
        finally:
            await asyncio.sleep(0)

    async def read() -> None:
        async for _ in stuck():
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rig.outline() == "invoke_agent stuck (cancelled)"


async def test_async_hooks_of_an_async_generator_have_run_at_its_end(rig: Rig) -> None:
    """They are waited for by the last step."""
    told: list[str] = []

    class Hooks:
        async def on_run_end(self, outcome: str) -> None:
            await asyncio.sleep(0)
            told.append(outcome)

    @rlm_otel.run(callbacks=[Hooks(), rig.callback])
    async def work() -> AsyncIterator[str]:
        yield "a"

    assert [text async for text in work()] == ["a"]
    stream: Any = work()
    await anext(stream)
    await stream.aclose()
    assert told == ["completed", "closed"]


# Blocks in generators that are not decorated: the block itself is what crosses the yield ------------------------------


def undecorated(rig: Rig, name: str) -> Iterator[str]:
    with rlm_otel.run(name, callbacks=[rig.callback]):
        yield "a"
        yield "b"


async def aundecorated(rig: Rig, name: str) -> AsyncIterator[str]:
    with rlm_otel.run(name, callbacks=[rig.callback]):
        yield "a"
        yield "b"


async def test_s77_a_block_in_an_async_generator_that_is_closed_elsewhere(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends, nothing complains, and what the consumer begins afterwards is not below it."""
    stream: Any = aundecorated(rig, "one")
    await anext(stream)
    await asyncio.create_task(stream.aclose())
    with rlm_otel.run("after", callbacks=[rig.callback]):
        pass
    assert nothing_is_current()
    assert caplog.records == []
    assert rig.open_spans == []
    assert rig.outline() == "invoke_agent one (closed)\ninvoke_agent after"


async def test_s78_a_block_in_an_abandoned_generator_does_not_leak(rig: Rig) -> None:
    """`break`: asyncio closes it in a task of its own; the consumer's next run is not below it."""
    async for _ in aundecorated(rig, "one"):
        break
    gc.collect()
    for _ in range(3):
        await asyncio.sleep(0)
    with rlm_otel.run("after", callbacks=[rig.callback]):
        pass
    assert nothing_is_current()
    assert rig.open_spans == []
    assert rig.outline() == "invoke_agent one (closed)\ninvoke_agent after"


def test_s26_blocks_of_generators_that_are_read_in_turns(rig: Rig) -> None:
    """Ended in the order of their start, which no stack of contexts expects: nothing stays current."""
    first, second = undecorated(rig, "one"), undecorated(rig, "two")
    for text in zip(first, second, strict=True):
        assert len(text) == 2
    assert nothing_is_current()
    assert trace.get_current_span() is trace.INVALID_SPAN
    assert rig.open_spans == []


def test_a_block_that_a_collector_closes_takes_no_lock(rig: Rig) -> None:
    """Its end is told by another thread: one in the middle of recording a metric may be interrupted by it."""
    told: list[str] = []

    class Hooks:
        def on_run_end(self, outcome: str) -> None:
            told.append(threading.current_thread().name)
            raise StopRun("too late")

    def looping() -> Iterator[str]:
        with rlm_otel.run("one", callbacks=[Hooks(), rig.callback]):
            yield "a"

    for _ in range(2):
        generator = looping()
        next(generator)
        del generator
    assert rig.open_spans == []
    assert told == ["rlm-otel-reaper"] * 2
    assert rig.outline() == "invoke_agent one (closed)\ninvoke_agent one (closed)"
    assert nothing_is_current()


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_a_generator_belongs_to_where_it_was_called(rig: Rig, kind: str) -> None:
    """A web framework reads it after the view has returned: parent, conversation and labels are those of the view."""
    with outer(rig), rlm_otel.conversation("c"), rlm_otel.attributes(team="search"):
        sync, stream = pieces("a"), apieces("a")
    with rlm_otel.conversation("other"):
        if kind == "sync":
            assert list(sync) == ["a"]
        else:
            assert [text async for text in stream] == ["a"]
    name = "pieces" if kind == "sync" else "apieces"
    assert rig.outline(["gen_ai.conversation.id", "rlm.label.team"]) == (
        "invoke_agent outer\n"
        f"  invoke_agent {name} gen_ai.conversation.id=c rlm.label.team=search\n"
        "    execute_tool inside gen_ai.conversation.id=c rlm.label.team=search"
    )


def test_a_generator_that_is_asked_while_it_runs_says_so_and_goes_on(rig: Rig) -> None:
    """Python's own exception, as for any generator; the run is over when the generator is."""
    said: list[str] = []

    @rlm_otel.run
    def itself() -> Iterator[str]:
        for ask in (running.__next__, running.close):
            with pytest.raises(ValueError, match="already executing") as raised:
                ask()
            said.append(str(raised.value))
        yield "one"
        yield "two"

    with outer(rig):
        running: Any = itself()
        assert list(running) == ["one", "two"]
    assert said == ["generator already executing"] * 2
    assert rig.outline() == "invoke_agent outer\n  invoke_agent itself"


async def test_an_async_generator_that_two_tasks_read_goes_on(rig: Rig) -> None:
    """The second task, and one that would close it, are told so by Python; the first reads to the end."""
    goes_on = asyncio.Event()

    @rlm_otel.run
    async def slow() -> AsyncIterator[str]:
        await goes_on.wait()
        yield "one"

    async with outer(rig):
        stream: Any = slow()
        first = asyncio.create_task(anext(stream))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for ask in (lambda: anext(stream), stream.aclose):
            with pytest.raises(RuntimeError, match="already running"):
                await ask()
        goes_on.set()
        assert await first == "one"
        assert [piece async for piece in stream] == []
    assert rig.outline() == "invoke_agent outer\n  invoke_agent slow"


def test_a_generator_may_be_read_by_a_thread_for_each_item(rig: Rig) -> None:
    """As web frameworks do with sync generators; parents stay right."""

    @rlm_otel.run
    def steps() -> Iterator[int]:
        with rlm_otel.run("all"):
            for number in range(3):
                with rlm_otel.tool(f"step{number}"):
                    yield number

    with outer(rig):
        reading, got = steps(), []
    for _ in range(4):
        thread = threading.Thread(target=lambda: got.append(next(reading, None)))
        thread.start()
        thread.join(5)
    assert got == [0, 1, 2, None]
    assert rig.outline() == (
        "invoke_agent outer\n  invoke_agent steps\n    invoke_agent all\n"
        "      execute_tool step0\n      execute_tool step1\n      execute_tool step2"
    )


async def test_s35_thousands_of_dropped_generators_leave_nothing_open(rig: Rig) -> None:
    """The table of open operations is empty again, and so is the list of what asyncio has to close."""

    @rlm_otel.tool(callbacks=[rig.callback])
    async def dropped() -> AsyncIterator[int]:
        yield 1

    @rlm_otel.tool(callbacks=[rig.callback])
    def sync_dropped() -> Iterator[int]:
        yield 1

    for _ in range(1000):
        next(sync_dropped())
        await anext(dropped())
    for _ in range(3):
        await asyncio.sleep(0)
    assert rig.open_spans == []
    assert len(rig.spans) == 2000
    assert generators._closing == set()


async def test_a_generator_that_a_hook_stopped_is_over(rig: Rig) -> None:
    """Nothing of its body runs, then or later."""

    class Stops:
        def on_tool_start(self, tool_name: str) -> None:
            raise StopRun("no")

    @rlm_otel.tool(callbacks=[Stops(), rig.callback])
    def sync() -> Iterator[str]:
        yield pytest.fail("it ran")

    @rlm_otel.tool(callbacks=[Stops(), rig.callback])
    async def stream() -> AsyncIterator[str]:
        yield pytest.fail("it ran")

    one, other = sync(), stream()
    with pytest.raises(StopRun):
        next(one)
    with pytest.raises(StopRun):
        await anext(other)
    assert (list(one), [text async for text in other]) == ([], [])


def test_an_async_generator_without_asyncio(rig: Rig) -> None:
    """Other libraries drive it as well, hooks are then those of sync code."""
    told: list[str] = []

    class Hooks:
        def on_run_end(self, outcome: str) -> None:
            told.append(outcome)

    @rlm_otel.run(callbacks=[Hooks(), rig.callback])
    async def stream() -> AsyncIterator[str]:
        yield "a"

    reading: Any = stream()
    with pytest.raises(StopIteration) as given:
        reading.asend(None).send(None)
    with pytest.raises(StopAsyncIteration):
        reading.asend(None).send(None)
    assert (given.value.value, told, rig.outline()) == ("a", ["completed"], "invoke_agent stream")
