"""Async hooks: in order, beside the work, awaited at the end; in sync runs skipped with one warning."""

import asyncio
import logging
from collections.abc import Callable

import pytest

from rlm_otel import BaseCallback, StopRun
from rlm_otel.events import Event, Retrying
from rlm_otel.result import Result
from rlm_otel.testing import Answer, Failure, Tool
from tests.rig import Rig

WORD = Answer(tool_calls=[Tool("work")])


def work() -> str:
    """Works."""
    return "ok"


class Noted:
    """Async hooks that take the longer, the earlier they come."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    async def _note(self, name: str) -> None:
        self.notes.append(f"{name} begins")
        for _ in range(30 // (1 + len(self.notes))):
            await asyncio.sleep(0)
        self.notes.append(f"{name} ends")

    async def on_run_start(self) -> None:
        await self._note("run start")

    async def on_llm_start(self) -> None:
        await self._note("call start")

    async def on_token(self, token: str) -> None:
        await self._note(token)

    async def on_llm_end(self) -> None:
        await self._note("call end")

    async def on_run_end(self) -> None:
        await self._note("run end")


@pytest.mark.parametrize("stream", [False, True], ids=["arun", "astream"])
async def test_async_hooks_run_in_order_and_are_awaited_at_the_end(rig: Rig, stream: bool) -> None:
    """One hook after the other, however long each takes; when the run is over all are done."""
    noted = Noted()
    rlm = rig.rlm("a b", callbacks=[noted, rig.callback])
    if stream:
        async with rlm.astream("go") as pieces:
            assert [piece async for piece in pieces] == ["a ", "b"]
    else:
        assert (await rlm.arun("go")).text == "a b"
    hooks = ("run start", "call start", "a ", "b", "call end", "run end")
    assert noted.notes == [f"{hook} {what}" for hook in hooks for what in ("begins", "ends")]


async def test_s94_an_async_hook_runs_beside_the_call(rig: Rig) -> None:
    """The call does not wait for its async start hook, nor the tool for that of its own: else this would not end."""
    answered, worked = asyncio.Event(), asyncio.Event()

    class Patient:
        async def on_llm_start(self, turn: int) -> None:
            await asyncio.wait_for(answered.wait(), 5)

        async def on_tool_start(self) -> None:
            await asyncio.wait_for(worked.wait(), 5)

        async def on_tool_end(self) -> None:
            ended.append("on_tool_end")

    class Quick:
        def on_llm_end(self) -> None:
            answered.set()

    async def work() -> str:
        """Works."""
        worked.set()
        return "ok"

    ended: list[str] = []
    await rig.rlm(WORD, "done", tools=[work], callbacks=[Patient(), Quick(), rig.callback], name="root").arun("go")
    assert rig.outline() == "invoke_agent root\n  chat gpt-4o\n  execute_tool work\n  chat gpt-4o"
    assert ended == ["on_tool_end"]


async def test_on_retry_is_awaited_before_the_wait(rig: Rig) -> None:
    """It begins when the call's start hook is through, and the next attempt is made when it is through itself."""
    server = rig.serve(Failure(429, retry_after=0), "ok")
    seen: list[tuple[str, int]] = []
    failed = asyncio.Event()

    class Told:
        def on_event(self, event: Event) -> None:
            if isinstance(event, Retrying):
                failed.set()

    class Retry:
        async def on_llm_start(self) -> None:
            await asyncio.wait_for(failed.wait(), 5)
            seen.append(("on_llm_start ends", len(server.requests)))

        async def on_retry(self, attempt: int) -> None:
            seen.append((f"on_retry {attempt} begins", len(server.requests)))
            for _ in range(20):
                await asyncio.sleep(0)
            seen.append((f"on_retry {attempt} ends", len(server.requests)))

    assert (await rig.rlm(server=server, callbacks=[Told(), Retry(), rig.callback]).arun("go")).text == "ok"
    assert seen == [("on_llm_start ends", 1), ("on_retry 1 begins", 1), ("on_retry 1 ends", 1)]
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("hook", "outline"),
    [
        ("on_run_start", "invoke_agent root (closed)"),
        ("on_llm_start", "invoke_agent root (closed)\n  chat gpt-4o"),
        ("on_llm_end", "invoke_agent root (closed)\n  chat gpt-4o"),
        ("on_tool_end", "invoke_agent root (closed)\n  chat gpt-4o\n  execute_tool work"),
    ],
)
async def test_stop_run_of_an_async_hook_takes_effect_before_the_next_call(rig: Rig, hook: str, outline: str) -> None:
    """The run is closed before its next call or tool, with what it had come to."""

    async def stop(self: object) -> None:
        raise StopRun

    stopping = type("Stopping", (BaseCallback,), {hook: stop})()
    with pytest.raises(StopRun) as caught:
        await rig.rlm(WORD, "done", tools=[work], callbacks=[stopping, rig.callback], name="root").arun("go")
    assert rig.outline() == outline
    assert isinstance(caught.value.result, Result)
    assert caught.value.result.outcome == "closed"


def test_async_hooks_are_skipped_in_sync_runs_with_one_warning(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """An async hook cannot run without a loop: one warning says so, the others go on, nothing is left un-awaited."""
    told: list[str] = []

    class SkippedHere:
        async def on_llm_end(self) -> None:
            raise AssertionError

        def on_run_end(self) -> None:
            told.append("on_run_end")

    rlm = rig.rlm("one", "two", callbacks=[SkippedHere(), SkippedHere(), rig.callback], name="root")
    rlm.run("go")
    rlm.run("go")
    assert told == ["on_run_end"] * 4
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [
        (
            logging.WARNING,
            "SkippedHere.on_llm_end is an async hook and this run is not: it is skipped; "
            "use arun(), astream() or async with",
        )
    ]


async def test_hooks_of_sub_runs_are_queued_with_those_of_the_root(rig: Rig) -> None:
    """Sub-runs, also from a tool's own thread, use the same queue: in order, and done when the root is."""
    ended: list[tuple[str, object]] = []

    class Hooks:
        async def on_run_end(self, depth: int, result: object) -> None:
            await asyncio.sleep(0)
            ended.append(("run", depth))

    def ask(llm_query: Callable[[str], str]) -> str:
        """Asks twice."""
        return llm_query("one") + llm_query("two")

    wanted = Answer(tool_calls=[Tool("ask")])
    await rig.rlm(wanted, "1", "2", "done", tools=[ask], max_depth=1, callbacks=[Hooks(), rig.callback]).arun("go")
    assert ended == [("run", 1), ("run", 1), ("run", 0)]
