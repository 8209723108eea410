"""A clock and ids that are the same in every run of a test."""

import itertools
import threading
from collections.abc import Callable
from typing import Final

_EPOCH_NS: Final = 1_700_000_000_000_000_000


class StepClock:
    """A `Clock` that goes on by `step_s` seconds at each reading and by `advance`, and never by itself.

    It starts on 2023-11-14 at 22:13:20 UTC. `step_s=0` stands still between calls of `advance`. Safe in threads.
    """

    def __init__(self, step_s: float = 1.0) -> None:
        self._step_ns = round(step_s * 1e9)
        self._elapsed_ns = 0
        self._lock = threading.Lock()

    def wall_ns(self) -> int:
        """Nanoseconds since 1970; a reading."""
        return _EPOCH_NS + self._read()

    def monotonic_ns(self) -> int:
        """Nanoseconds since the clock was made; a reading."""
        return self._read()

    def advance(self, seconds: float) -> None:
        """Lets time pass."""
        with self._lock:
            self._elapsed_ns += round(seconds * 1e9)

    def _read(self) -> int:
        with self._lock:
            now = self._elapsed_ns
            self._elapsed_ns += self._step_ns
            return now


def numbered_ids(prefix: str = "op-") -> Callable[[], str]:
    """A maker of operation ids: `op-1`, `op-2`, ... in the order in which operations start."""
    numbers = itertools.count(1)
    return lambda: f"{prefix}{next(numbers)}"
