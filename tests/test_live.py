"""What a process knows of its open operations: whatever made them, exact, bounded, and nothing is left behind."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import openai
import pytest

import rlm_otel
from rlm_otel import Usage, instrument_openai
from rlm_otel.bracket import Bracket
from rlm_otel.emitter import Emitter
from rlm_otel.events import Run
from rlm_otel.live import table
from rlm_otel.live.snapshot import Watched
from rlm_otel.testing import Answer, Failure, Tokens, Tool
from tests.rig import Rig


def told(watched: Watched | None = None) -> list[dict[str, Any]]:
    return (watched or Watched()).records(table.all_open())


def test_nothing_is_open_before_and_after(rig: Rig) -> None:
    """Whatever way an operation ends: well, refused, left, dropped."""
    assert told() == []
    rig.rlm("yes").run("a")
    with pytest.raises(Exception, match="bad"):
        rig.rlm(Failure(400, message="bad")).run("a")
    with rig.rlm(Answer(chunks=("a", "b"))).stream("a") as stream:
        next(stream)
        assert [one["kind"] for one in told()] == ["run", "call"]
    assert told() == []
    dropped = rig.rlm(Answer(chunks=("a", "b"))).stream("a")
    next(dropped)
    del dropped
    gc.collect()
    rig.flush()
    assert told() == []


def test_the_tree_of_a_run(rig: Rig) -> None:
    """Names, depth and parents; tokens of what has ended below, sub-runs included."""
    seen: list[list[dict[str, Any]]] = []

    def look(llm_query: Callable[[str], str]) -> str:
        """Asks and looks."""
        llm_query("sub")
        seen.append(told())
        return "seen"

    ask = Answer(tool_calls=[Tool("look", {})], usage=Tokens(input=10, output=2))
    script = (ask, Answer("sub", usage=Tokens(input=3, output=1)), "done")
    rig.rlm(*script, tools=[look], sub_model="small", name="root").run("go")
    run, tool = seen[0]
    assert (run["kind"], run["name"], run["model"], run["depth"], run["calls"]) == ("run", "root", "gpt-4o", 0, 1)
    assert (run["input_tokens"], run["output_tokens"]) == (13, 3)
    assert (tool["kind"], tool["name"], tool["parent_id"]) == ("tool", "look", run["id"])
    assert run["trace_id"] == rig.spans[0].trace_id
    assert 0 <= tool["age_s"] <= run["age_s"]


def test_tokens_of_open_sub_runs_are_in_those_above() -> None:
    """As soon as their calls have ended."""
    with rlm_otel.run("root", callbacks=[]), rlm_otel.tool("ask", callbacks=[]), rlm_otel.run("sub", callbacks=[]):
        with rlm_otel.llm_call(provider="acme", model="m") as call:
            call.finish("a", usage=Usage(input_tokens=5, output_tokens=1))
        root, tool, sub = told()
    assert [one["input_tokens"] for one in (root, tool, sub)] == [5, None, 5]
    assert [one["calls"] for one in (root, tool, sub)] == [0, 0, 1]


def test_a_stream_tells_how_far_it_is_and_when_it_moved_last(rig: Rig) -> None:
    """Nobody notes each chunk: how many pieces there are is read from outside, and when that changed."""
    gate = threading.Event()
    watched = Watched()
    with rig.rlm(Answer(chunks=("a", "b", "c", "d"), prelude=False, gate=gate, gate_after=3)).stream("a") as stream:
        assert next(stream) == "a"
        first = told(watched)[1]
        assert (first["streamed"], first["pieces"], first["input_tokens"]) == (True, 1, None)
        assert 0 <= first["since_chunk_s"] <= first["age_s"]
        assert next(stream) == "b"
        watched.look(table.all_open())
        second = told(watched)[1]
        assert (second["pieces"], second["since_chunk_s"] < first["age_s"] + 5) == (2, True)
        gate.set()
        assert "".join(stream) == "cd"
    assert told(watched) == []


def test_reasoning_and_tool_calls_are_pieces_too(rig: Rig) -> None:
    """A stream that thinks has not stopped."""
    gate = threading.Event()
    gate.set()
    answer = Answer("x", reasoning="one two three", gate=gate)
    with rig.rlm(answer).stream("a") as stream:
        next(stream)
        assert told()[1]["pieces"] > 1


def test_a_call_that_waits_says_for_how_long_and_why() -> None:
    """Until its time is over; the exception itself is not kept."""
    with rlm_otel.llm_call(provider="acme", model="m", callbacks=[]) as call:
        error = ConnectionError("тайна")
        call.retrying(error, delay_s=30.0)
        (waiting,) = told()
        assert (waiting["attempt"], waiting["status"]) == (2, None)
        assert 29.0 < waiting["waits_s"] <= 30.0
        call.retrying(error, delay_s=0.0)
        (asking,) = told()
        assert (asking["attempt"], asking["waits_s"]) == (3, None)
        call.finish("a")
    assert "тайна" not in str((waiting, asking))


def test_a_rate_limit_is_told_by_its_status(rig: Rig) -> None:
    """Seen by a hook, at the moment when the wait begins."""
    seen: list[dict[str, Any]] = []

    class Look:
        def on_retry(self, attempt: int, **_: object) -> None:
            seen.append(told()[-1])

    rig.rlm(Failure(429, retry_after=0.2), "yes", callbacks=[rig.callback, Look()]).run("a")
    assert (seen[0]["kind"], seen[0]["status"], seen[0]["attempt"]) == ("call", 429, 1)
    assert 0 < seen[0]["waits_s"] <= 0.2


def test_a_hook_that_sleeps_longer_still_holds_up_the_next_attempt(rig: Rig) -> None:
    """The wait is over by the clock, and the request is not yet sent again."""
    seen: list[dict[str, Any]] = []

    class Look:
        def on_retry(self, attempt: int, **_: object) -> None:
            seen.append(told()[-1])

    rig.rlm(Failure(429, retry_after=0), "yes", callbacks=[rig.callback, Look()]).run("a")
    assert (seen[0]["status"], seen[0]["waits_s"]) == (429, 0.0)


async def test_async_operations_are_there_too(rig: Rig) -> None:
    """A hundred at once."""
    seen: list[int] = []
    barrier = asyncio.Barrier(100)

    async def work(number: int) -> None:
        async with rlm_otel.run(f"{number}", callbacks=[]):
            await barrier.wait()
            seen.append(len(told()))
            await barrier.wait()

    await asyncio.gather(*(work(number) for number in range(100)))
    assert set(seen) == {100}
    assert told() == []


def test_what_is_suppressed_is_not_shown() -> None:
    """Nothing inside is observed, from here neither."""
    with rlm_otel.suppress(), rlm_otel.run("secret", callbacks=[]):
        assert told() == []


def test_the_table_is_bounded() -> None:
    """What is never ended must not fill the memory: the oldest goes."""
    emitter = Emitter(())
    brackets = [Bracket(emitter, Run()) for _ in range(table.LIMIT + 3)]
    for bracket in brackets:
        table.put(bracket)
    assert table.all_open() == brackets[3:]
    for bracket in brackets:
        table.take(bracket)
    assert table.all_open() == []


def test_nothing_is_kept_of_what_has_ended() -> None:
    """Neither the table nor what watches streams holds an operation."""
    watched = Watched()
    bracket = Bracket(Emitter(()), Run())
    bracket.progress, bracket.first_chunk_s = lambda: 1, 0.0
    with bracket:
        assert len(told(watched)) == 1
    gone = weakref.ref(bracket)
    del bracket
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("chat.completions.create", {"messages": [{"role": "user", "content": "a"}]}),
        ("completions.create", {"prompt": "a"}),
        ("responses.create", {"input": "a"}),
    ],
)
def test_streams_of_the_sdk_itself_tell_how_far_they_are(rig: Rig, method: str, request_: dict[str, Any]) -> None:
    """On each surface that streams, through the instrumented client; at its end nothing is open."""
    gate = threading.Event()
    answer = Answer(chunks=("a", "b", "c"), gate=gate, gate_after=4)
    with openai.OpenAI(base_url=rig.serve(answer).base_url, api_key="any", max_retries=0) as client:
        instrument_openai(client, callbacks=[rig.callback])
        create: Any = client
        for name in method.split("."):
            create = getattr(create, name)
        stream = create(model="m", stream=True, **request_)
        pieces = [told()[0]["pieces"]]
        gate.set()
        for _ in stream:
            pieces += [one["pieces"] for one in told()]
    assert (pieces[0], max(pieces) >= 3, pieces == sorted(pieces)) == (0, True, True)
    assert told() == []
