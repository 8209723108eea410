"""What `rlm-otel ps` costs a process: at each operation, each second, and when it is asked."""

import time
from collections.abc import Callable
from statistics import median
from typing import Final

from rlm_otel.bracket import Bracket
from rlm_otel.emitter import Emitter
from rlm_otel.events import ModelCall, Run
from rlm_otel.live import table
from rlm_otel.live.snapshot import Watched

_OPEN: Final = 200
_TIMES: Final = 20_000


def costs() -> list[tuple[str, float]]:
    """What is paid, with microseconds of CPU."""
    emitter = Emitter(())
    one = Bracket(emitter, Run())
    table.put(one)  # opens the door: that is paid once a process
    calls = [Bracket(emitter, ModelCall(provider="openai", model="m", stream=True)) for _ in range(_OPEN)]
    for call in calls:
        call.progress, call.first_chunk_s = _moving(), 0.0
        call.__enter__()
    watched = Watched()

    def come_and_go() -> None:
        for _ in range(_TIMES):
            table.put(one)
            table.take(one)

    def nothing() -> None:
        for _ in range(_TIMES):
            pass

    measured = [
        ("an operation, put in and taken out", (_us(come_and_go) - _us(nothing)) / _TIMES),
        ("a look each second, nothing open", _us(lambda: watched.look([]))),
        (f"a look each second, {_OPEN} streams open", _us(lambda: watched.look(table.all_open()))),
        (f"an answer to `ps`, {_OPEN} streams open", _us(lambda: watched.records(table.all_open()))),
    ]
    for call in calls:
        call.finish()
    return measured


def _moving() -> Callable[[], int]:
    pieces = iter(range(1_000_000))
    return lambda: next(pieces)


def _us(work: Callable[[], object]) -> float:
    def once() -> float:
        began = time.thread_time_ns()
        work()
        return (time.thread_time_ns() - began) / 1e3

    return median(once() for _ in range(21))
