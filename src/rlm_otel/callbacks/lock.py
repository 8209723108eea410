"""A lock that a forked child gets anew: the thread that held it does not exist there."""

import os
import threading
from functools import cache
from typing import Final
from weakref import WeakSet


class ForkLock:
    """A `threading.Lock` for a `with` statement, free in a forked child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _locks.add(self)
        _watch_forks()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def renew(self) -> None:
        """Makes it free, whoever held it."""
        self._lock = threading.Lock()


_locks: Final[WeakSet[ForkLock]] = WeakSet()


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_renew_all)


def _renew_all() -> None:
    for lock in list(_locks):
        lock.renew()
