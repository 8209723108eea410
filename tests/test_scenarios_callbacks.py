"""Callbacks that raise, stop, dawdle, ask back or take odd parameters: the run and its telemetry stay what they are."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest
from openai import BadRequestError

from rlm_otel import RLM, BaseCallback, StopRun, fence
from rlm_otel.testing import Answer, Failure, Item, Repeat, StepClock, Tool
from tests.rig import Rig
from tests.sync_async import Run, both_ways

WAYS = pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
TIMES = {
    "on_run_start": 2,
    "on_run_end": 2,
    "on_llm_start": 3,
    "on_llm_end": 2,
    "on_token": 3,
    "on_tool_start": 1,
    "on_tool_end": 1,
    "on_retry": 1,
    "on_error": 1,
}
"""How often `everything_happens` calls each hook."""
EVERYTHING = (Failure(429, retry_after=0), Answer(tool_calls=[Tool("work")]), Answer("a b c"), Failure(400))
TREE = "invoke_agent root\n  chat gpt-4o\n  execute_tool work\n  chat gpt-4o"


def work() -> str:
    """Works."""
    return "ok"


def calling(do: Callable[[str], object], *hooks: str, is_async: bool = False) -> BaseCallback:
    """A callback whose hooks of these names call `do(name)`."""

    def make(name: str) -> Callable[..., object]:
        async def ahook(self: object, *_: object) -> None:
            await asyncio.sleep(0)
            do(name)

        def hook(self: object, *_: object) -> None:
            do(name)

        return ahook if is_async else hook

    made: BaseCallback = type("Calling", (BaseCallback,), {name: make(name) for name in hooks})()
    return made


async def everything_happens(rlm: RLM, is_async: bool) -> str:
    """A run with a retry, a tool and a streamed answer, then one that fails; returns the answer of the first."""
    result = await rlm.arun("go") if is_async else rlm.run("go")
    with pytest.raises(BadRequestError):
        await rlm.arun("no") if is_async else rlm.run("no")
    return result.text


def emitted(rig: Rig) -> list[object]:
    """All telemetry but the vendor's ids and the count of failed hooks; times since the first span's start."""
    began, ids = rig.spans[0].start_ns, ("rlm.request.id", "gen_ai.response.id", "gen_ai.tool.call.id")
    names = [name for name in rig.metric_names if name != "rlm.callback.failures"]

    def plain(attributes: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in attributes.items() if key not in ids}

    return [
        rig.outline(),
        [(s.name, plain(s.attributes), s.status, s.start_ns - began, s.end_ns - began) for s in rig.spans],
        [(e.name, [*plain(e.attributes)], e.time_ns - began) for s in rig.spans for e in s.events],
        sorted(((n, p.attributes, p.value, p.count) for n in names for p in rig.points(n)), key=repr),
    ]


def raising(hook: str) -> None:
    raise ValueError(f"in {hook}")


@pytest.mark.parametrize(
    ("is_async", "is_async_hook"), [(False, False), (True, False), (True, True)], ids=["run", "arun", "async hooks"]
)
async def test_s92_a_callback_that_raises_in_each_hook_in_turn(
    rigs: Callable[..., Rig], caplog: pytest.LogCaptureFixture, is_async: bool, is_async_hook: bool
) -> None:
    """Same answer, same telemetry, same for the next callback; logged once with its traceback, then counted."""
    base, heard = rigs(), list[str]()
    rlm = base.rlm(server=base.serve(*EVERYTHING, cycle=True), tools=[work], name="root", clock=StepClock())
    witness = calling(heard.append, *TIMES)
    rlm.callbacks = [calling(lambda _: None, *TIMES, is_async=is_async_hook), witness, base.callback]
    assert await everything_happens(rlm, is_async) == "a b c"
    expected, order = emitted(base), list(heard)
    assert {name: order.count(name) for name in order} == TIMES
    for hook, times in TIMES.items():
        heard.clear()
        caplog.clear()
        fence.forget_failures()
        rig = rigs()
        rlm.callbacks = [calling(raising, hook, is_async=is_async_hook), witness, rig.callback]
        assert await everything_happens(rlm, is_async) == "a b c"
        assert emitted(rig) == expected
        assert heard == order
        assert fence.failures() == {("Calling", hook): times}
        assert rig.value("rlm.callback.failures", rlm_callback="Calling", rlm_hook=hook) == times
        assert [(r.levelno, r.getMessage()) for r in caplog.records if r.name == "rlm_otel"] == [
            (
                logging.WARNING,
                f"Calling.{hook} raised ValueError; it is ignored, and further failures there are only counted",
            )
        ]
        assert f"ValueError: in {hook}" in caplog.text
        assert 'in raising\n    raise ValueError(f"in {hook}")' in caplog.text


ENDS = {
    "on_run_start": "invoke_agent root (X)",
    "on_llm_start": "invoke_agent root (X)",
    "on_retry": "invoke_agent root (X)\n  chat gpt-4o (X)",
    "on_llm_end": "invoke_agent root (X)\n  chat gpt-4o",
    "on_tool_start": "invoke_agent root (X)\n  chat gpt-4o",
    "on_tool_end": "invoke_agent root (X)\n  chat gpt-4o\n  execute_tool work",
    "on_token": "invoke_agent root (X)\n  chat gpt-4o\n  execute_tool work\n  chat gpt-4o (X)",
    "on_run_end": TREE,
}
"""What is left of the trace when a hook ends the run: nothing that had not begun, and what was over is completed."""


@both_ways
@pytest.mark.parametrize(
    ("error", "outcome"),
    [(StopRun, "closed"), (KeyboardInterrupt, "cancelled"), (asyncio.CancelledError, "cancelled")],
)
def test_s93_control_goes_through_and_spans_end(
    rigs: Callable[..., Rig], run: Run, error: type[BaseException], outcome: str
) -> None:
    """`StopRun` closes the run, Ctrl-C and cancellation cancel it; each leaves as it is, and every span ends."""

    def stop(_: str) -> None:
        raise error

    base, script = rigs(), list[Item]()
    server = base.serve(respond=lambda _: script.pop(0))
    rlm = base.rlm(server=server, tools=[work], name="root")
    for hook, expected in ENDS.items():
        rig, ended = rigs(), list[str]()
        script[:] = EVERYTHING[:3]
        rlm.callbacks = [calling(stop, hook), calling(ended.append, "on_run_end"), rig.callback]
        with pytest.raises(error):
            run(rlm)
        assert rig.outline() == expected.replace("X", outcome), hook
        if error is StopRun:  # the others are told as well
            assert ended == ["on_run_end"]


@both_ways
def test_s93_a_strict_callback_fails_the_run(rig: Rig, run: Run) -> None:
    """With `raise_error = True` the exception leaves `run()` and is the run's failure."""
    strict = calling(raising, "on_llm_end")
    strict.raise_error = True
    with pytest.raises(ValueError, match="in on_llm_end"):
        run(rig.rlm("ok", name="root", callbacks=[strict, rig.callback]))
    assert rig.outline() == "invoke_agent root !ValueError\n  chat gpt-4o"


SLOW = {
    "on_run_start": 0,
    "on_run_end": 0,
    "on_llm_start": 100,
    "on_llm_end": 100,
    "on_tool_start": 50,
    "on_tool_end": 50,
}
"""Seconds that a run takes with a callback that takes 50 s in this hook: a run is wall time, but for its own hooks."""


@WAYS
async def test_s94_slow_hooks_do_not_count_in_calls_and_tools(rigs: Callable[..., Rig], is_async: bool) -> None:
    """A callback that dawdles in each start and end hook in turn: the durations of calls and tools are without it."""
    clock = StepClock(step_s=0)
    base = rigs()
    rlm = base.rlm(server=base.serve(*EVERYTHING[1:3], cycle=True), tools=[work], name="root", clock=clock)
    for hook, seconds in SLOW.items():
        rig = rigs()
        rlm.callbacks = [calling(lambda _: clock.advance(50), hook), rig.callback]
        result = await rlm.arun("go") if is_async else rlm.run("go")
        assert [span.duration_s for span in rig.spans] == [seconds, 0, 0, 0], hook
        assert rig.value("gen_ai.client.inference.duration") == rig.value("gen_ai.execute_tool.duration") == 0
        assert result.elapsed_s == seconds


@pytest.mark.parametrize("is_own", [False, True], ids=["inherited", "own"])
@WAYS
async def test_s95_a_hook_may_start_a_model_call(rigs: Callable[..., Rig], is_async: bool, is_own: bool) -> None:
    """Its run is below the enclosing run, beside the operation; the hook is not told of what it did itself."""
    base, asked = rigs(), list[object]()
    judge = base.rlm(Repeat(Answer("good")), name="judge")
    rlm = base.rlm(server=base.serve(*EVERYTHING[1:3], cycle=True), tools=[work], name="root")

    class Sync:
        def on_tool_start(self, tool_name: str) -> None:
            asked.append(judge.run(tool_name).text)

        def on_llm_end(self, agent: str) -> None:
            asked.append(agent)

    class Async:
        async def on_tool_start(self, tool_name: str) -> None:
            asked.append((await judge.arun(tool_name)).text)

        async def on_llm_end(self, agent: str) -> None:
            asked.append(agent)

    for hooks in (Sync(), Async()) if is_async else (Sync(),):
        rig = rigs()
        rlm.callbacks = [hooks, rig.callback]
        judge.callbacks = rlm.callbacks if is_own else []
        assert (await rlm.arun("go") if is_async else rlm.run("go")).text == "a b c"
        assert rig.outline(["rlm.depth"], by_name=True).replace("rlm.depth=", "") == (
            "invoke_agent root 0\n  chat gpt-4o 0\n  chat gpt-4o 0\n  execute_tool work 0\n"
            "  invoke_agent judge 1\n    chat gpt-4o 1"
        )
    assert asked == ["root", "good", "root"] * (2 if is_async else 1)


class Odd:
    """Hooks with fewer, other, renamed and reordered parameters."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def on_run_start(self) -> None:
        self.calls.append(("on_run_start",))

    def on_llm_start(self, turn: int, *, stream: bool, mine: str = "default") -> None:
        self.calls.append(("on_llm_start", turn, stream, mine))

    def on_llm_end(self, response: object, **kwargs: object) -> None:
        self.calls.append(("on_llm_end", str(response), kwargs["outcome"], kwargs["depth"]))
        len(3)  # type: ignore[arg-type]  # a TypeError of its own

    def on_tool_start(self, *args: object) -> None:
        self.calls.append(("on_tool_start", *args))

    def on_tool_end(self, output: str, name: str, outcome: str) -> None:
        self.calls.append(("on_tool_end", output, name, outcome))

    def on_run_end(self, result: object, unknown: object = 7) -> None:
        self.calls.append(("on_run_end", unknown))
        len(3)  # type: ignore[arg-type]  # a TypeError of its own


@WAYS
async def test_s96_a_hook_gets_what_it_names_once(rig: Rig, caplog: pytest.LogCaptureFixture, is_async: bool) -> None:
    """Narrow, renamed and reordered parameters are filled; a TypeError inside is the hook's own, never tried again."""
    odd = Odd()
    rlm = rig.rlm(*EVERYTHING[1:3], tools=[work], callbacks=[odd, rig.callback])
    await rlm.arun("go") if is_async else rlm.run("go")
    assert odd.calls == [
        ("on_run_start",),
        ("on_llm_start", 1, False, "default"),
        ("on_llm_end", "", "completed", 0),
        ("on_tool_start", "work", ""),
        ("on_tool_end", "ok", "work", "completed"),
        ("on_llm_start", 2, False, "default"),
        ("on_llm_end", "a b c", "completed", 0),
        ("on_run_end", 7),
    ]
    assert fence.failures() == {("Odd", "on_llm_end"): 2, ("Odd", "on_run_end"): 1}
    assert "TypeError: object of type 'int' has no len()" in caplog.text
