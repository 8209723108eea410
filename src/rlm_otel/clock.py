"""Time and ids, as arguments: producers read them, events carry them, tests replace them."""

import secrets
import time
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
    """16 hex digits, unique across processes (the kernel's randomness is not shared by a fork)."""
    return secrets.token_hex(8)
