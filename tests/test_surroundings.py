"""What the application says around its calls: conversation, prompt and silence, by whoever makes the calls."""

import asyncio
import contextvars
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest

import rlm_otel
from rlm_otel.ambient import current_conversation, current_labels, current_prompt, is_suppressed
from rlm_otel.events import Finished, NamedPrompt
from rlm_otel.testing import Answer, Recorder, Repeat, Tool
from tests.rig import Rig
from tests.sync_async import Run, all_ways

CONVERSATION, NAME, VERSION = "gen_ai.conversation.id", "gen_ai.prompt.name", "gen_ai.prompt.version"


@all_ways
def test_s108_a_conversation_is_on_everything_inside(rig: Rig, run: Run) -> None:
    """Runs, model calls and tools, of the runner and of one's own; never on metrics."""

    def work() -> str:
        """Works."""
        with rlm_otel.tool("own"):
            return "ok"

    rlm = rig.rlm(Answer(tool_calls=[Tool("work")]), "done", tools=[work], name="root")
    with rlm_otel.conversation("чат-17"):
        run(rlm)
    with rlm_otel.run("outside", callbacks=[rig.callback]):
        pass
    assert rig.outline([CONVERSATION]) == (
        "invoke_agent root gen_ai.conversation.id=чат-17\n"
        "  chat gpt-4o gen_ai.conversation.id=чат-17\n"
        "  execute_tool work gen_ai.conversation.id=чат-17\n"
        "    execute_tool own gen_ai.conversation.id=чат-17\n"
        "  chat gpt-4o gen_ai.conversation.id=чат-17\n"
        "invoke_agent outside"
    )
    assert [p for name in ("rlm.client.operations", "rlm.run.depth") for p in rig.points(name) if "чат" in str(p)] == []


def test_inner_surroundings_win(rig: Rig) -> None:
    """And end with their block."""
    with rlm_otel.conversation("a"), rlm_otel.run("one", callbacks=[rig.callback]):
        with rlm_otel.conversation("b"), rlm_otel.tool("two"):
            pass
        with rlm_otel.tool("three"):
            pass
    assert [span.attributes[CONVERSATION] for span in rig.spans] == ["a", "b", "a"]


@all_ways
def test_a_prompt_is_on_the_model_calls_inside(rig: Rig, run: Run) -> None:
    """Name and version, by the registry on inference alone."""
    with rlm_otel.prompt("сводка", "3"):
        run(rig.rlm("ok", name="root"))
    with rlm_otel.prompt("bare"):
        run(rig.rlm("ok", name="root"))
    assert rig.outline([NAME, VERSION]) == (
        "invoke_agent root\n  chat gpt-4o gen_ai.prompt.name=сводка gen_ai.prompt.version=3\n"
        "invoke_agent root\n  chat gpt-4o gen_ai.prompt.name=bare"
    )


def test_a_stream_has_the_surroundings_of_where_it_was_asked_for(rig: Rig) -> None:
    """It is often read elsewhere."""
    rlm = rig.rlm(Repeat(Answer("ok")), name="root")
    with rlm_otel.conversation("asked"), rlm_otel.prompt("p"):
        stream = rlm.stream("Hi")
    with rlm_otel.conversation("read"):
        list(stream)
    with rlm_otel.suppress():
        silent = rlm.stream("Hi")
    assert list(silent) == ["ok"]
    assert rig.outline([CONVERSATION, NAME]) == (
        "invoke_agent root gen_ai.conversation.id=asked\n  chat gpt-4o gen_ai.conversation.id=read gen_ai.prompt.name=p"
    )


@all_ways
def test_nothing_inside_suppress_is_observed(rig: Rig, run: Run) -> None:
    """No callback is told, no run around counts it, and the answer is the same."""
    recorder = Recorder()

    def work() -> str:
        """Works, in silence."""
        with rlm_otel.suppress():
            rlm_otel.feedback("1" * 32, "thumbs", 1, callbacks=[rig.callback])
            with rlm_otel.run("own", callbacks=[rig.callback]), rlm_otel.tool("own"):
                assert rlm_otel.current_trace_id() is None
            return rig.rlm("quiet", callbacks=[rig.callback, recorder]).run("Hi").text

    result = run(rig.rlm(Answer(tool_calls=[Tool("work")]), "done", tools=[work], name="root"))
    assert rig.outline() == "invoke_agent root\n  chat gpt-4o\n  execute_tool work\n  chat gpt-4o"
    assert (result.messages[2]["content"], result.inference_calls) == ("quiet", 2)
    assert (recorder.events, rig.logs) == ([], [])


@all_ways
def test_a_suppressed_run_still_counts_for_itself(rig: Rig, run: Run) -> None:
    """Its result has usage and cost, and its sub-runs are as silent as it is."""

    def work(llm_query: Any) -> str:
        """Asks."""
        return str(llm_query("sub"))

    rlm = rig.rlm(Answer(tool_calls=[Tool("work")]), "sub", "done", tools=[work], max_depth=1)
    with rlm_otel.suppress(), rlm_otel.run("outer", callbacks=[rig.callback]):
        result = run(rlm)
    assert (result.text, result.inference_calls, result.usage is not None) == ("done", 2, True)
    assert rig.outline() == ""


async def test_s77_surroundings_of_a_generator_that_is_closed_elsewhere() -> None:
    """No token complains."""

    async def stream() -> AsyncIterator[str]:
        with rlm_otel.attributes(a="b"), rlm_otel.conversation("c"), rlm_otel.prompt("p"), rlm_otel.suppress():
            yield "a"

    async def main() -> None:
        async for _ in stream():
            break
        gc.collect()
        await asyncio.sleep(0.01)
        other: Any = stream()
        await anext(other)
        await asyncio.create_task(other.aclose())

    await asyncio.create_task(main(), context=contextvars.copy_context())
    variables = (current_labels, current_conversation, current_prompt, is_suppressed)
    assert [variable.get() for variable in variables] == [(), None, None, False]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rlm_otel.conversation(17), "conversation(17): give a text with something in it"),  # type: ignore[arg-type]  # on purpose
        (lambda: rlm_otel.conversation(""), "conversation(''): give a text with something in it"),
        (lambda: rlm_otel.prompt("a", 3), "prompt version(3): give a text with something in it"),  # type: ignore[arg-type]  # on purpose
    ],
    ids=["number", "empty", "version"],
)
def test_mistakes_are_told(make: Any, message: str) -> None:
    """At once, at the `with`."""
    with pytest.raises(TypeError) as raised, make():
        pytest.fail("it ran")
    assert str(raised.value) == message


def test_listeners_see_the_surroundings(rig: Rig) -> None:
    """On the origin of each event."""
    recorder = Recorder()
    with rlm_otel.conversation("c"), rlm_otel.prompt("p", "1"), rlm_otel.tool("t", callbacks=[recorder]):
        pass
    [ended] = recorder.of(Finished)
    assert (ended.conversation, ended.origin.prompt) == ("c", NamedPrompt("p", "1"))
