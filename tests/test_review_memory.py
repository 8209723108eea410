"""What a run lets go of: its texts when it has ended, failures that were dealt with, clients of closed loops."""

import asyncio
import gc
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from openai import BadRequestError, InternalServerError

from rlm_otel.bracket import Bracket
from rlm_otel.testing import Answer, Failure, Tool
from tests.rig import Rig
from tests.sync_async import Run, both_ways


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """How many operations are still in memory, without the garbage collector, which may not come for a long time."""
    made: list[weakref.ref[Bracket]] = []
    init = Bracket.__init__

    def noted(self: Bracket, *args: object, **kwargs: object) -> None:
        made.append(weakref.ref(self))
        init(self, *args, **kwargs)  # type: ignore[arg-type]  # whatever it is given

    monkeypatch.setattr(Bracket, "__init__", noted)
    gc.collect()
    gc.disable()
    yield lambda: sum(bracket() is not None for bracket in made)
    gc.enable()


@both_ways
def test_a_run_that_ended_well_frees_its_texts_at_once(run: Run, rig: Rig, alive: Callable[[], int]) -> None:
    """Nothing refers to itself."""
    run(rig.rlm("hi", callbacks=[]))
    assert alive() == 0


@pytest.mark.parametrize("way", ["sync", "async"])
def test_a_run_that_failed_frees_its_texts_with_its_exception(way: str, rig: Rig, alive: Callable[[], int]) -> None:
    """No frame of its traceback holds the exception, where tenacity's are not among them."""
    rlm = rig.rlm(server=rig.serve(Failure(500)), callbacks=[], max_retries=0)

    def sync() -> None:
        with suppress(InternalServerError):
            rlm.run("go")

    async def in_loop() -> None:  # `asyncio.run` itself would keep what leaves it
        with suppress(InternalServerError):
            await rlm.arun("go")
        await rlm.aclose()

    sync() if way == "sync" else asyncio.run(in_loop())
    assert alive() == 0


def test_clients_of_closed_event_loops_are_forgotten(rig: Rig) -> None:
    """Each `asyncio.run` has a loop of its own: a worker that makes thousands must not keep thousands of sockets."""
    rlm = rig.rlm("a", "b", "c")

    async def last() -> int:
        await rlm.arun("go")
        known = len(rlm._clients._by_loop)
        await rlm.aclose()
        return known

    def loops_and_then_the_collector() -> int:
        asyncio.run(rlm.arun("go"))
        asyncio.run(rlm.arun("go"))
        known = asyncio.run(last())
        gc.collect()
        return known

    with pytest.warns(ResourceWarning):  # nobody closed the first two; the collector may find them at any time
        assert loops_and_then_the_collector() == 1


@both_ways
def test_a_tool_that_deals_with_failed_sub_runs_keeps_nothing_of_them(run: Run, rig: Rig) -> None:
    """A tool may go on for hours and see thousands fail."""
    failures: list[weakref.ref[BadRequestError]] = []

    def tries(llm_query: Callable[[str], str]) -> str:
        try:
            llm_query("part")
        except BadRequestError as error:
            failures.append(weakref.ref(error))
        gc.collect()
        return f"{len(failures)} failed, {sum(failure() is not None for failure in failures)} kept"

    server = rig.serve(Answer(tool_calls=[Tool("tries")]), Failure(400), "end")
    result = run(rig.rlm(server=server, tools=[tries], max_depth=1))
    assert result.messages[2]["content"] == "1 failed, 0 kept"
