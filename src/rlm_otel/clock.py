"""Time and ids, as arguments: producers read them, events carry them, tests replace them."""

import os
import random
import time
from collections.abc import Callable
from functools import cache
from typing import Final, Protocol


class Clock(Protocol):
    """Two clocks: one for when, one for how long."""

    def wall_ns(self) -> int:
        """Nanoseconds since 1970."""

    def monotonic_ns(self) -> int:
        """Nanoseconds of a clock that never steps back."""


class SystemClock:
    """The machine's clocks."""

    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.perf_counter_ns)


SYSTEM_CLOCK: Final[Clock] = SystemClock()


def new_id() -> str:
    """16 hex digits, unique across processes."""
    return f"{_random_bits()(64):016x}"


@cache
def _random_bits() -> Callable[[int], int]:
    """Begun from the kernel's randomness, anew in a forked child: asking the kernel for each id would cost more.

    Not the module's own numbers: applications make those repeat themselves.
    """
    numbers = random.Random()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=numbers.seed)
    return numbers.getrandbits
