"""The operations that are open in this process: whoever begins one puts it in, whoever ends it takes it out."""

import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from rlm_otel.fence import fence

if TYPE_CHECKING:
    from rlm_otel.bracket import Bracket
    from rlm_otel.live.door import Door

LIMIT: Final = 10_000
"""Beyond this the oldest is not shown any more: what is never ended must not fill the memory."""


class Waits(NamedTuple):
    """A call that waits for its next attempt."""

    attempt: int
    """Which one failed, from 1."""
    until_ns: int
    """By the monotonic clock."""
    status: int | None
    """HTTP status of the attempt that failed."""


# As an ordered set: each step is one call of a dict, which is atomic, so that it takes no lock, in a finalizer either.
_open: dict["Bracket", None] = {}
_door: "Door | None" = None
_asked = False
_off = False
_opening = threading.Lock()


def put(bracket: "Bracket") -> None:
    """It is open from now on. The first one of a process opens the door at which `rlm-otel ps` asks."""
    _open[bracket] = None
    if not _asked:
        _begin()
    if len(_open) > LIMIT:
        with suppress(StopIteration, RuntimeError):  # another thread has just put or taken one
            _open.pop(next(iter(_open)), None)


def take(bracket: "Bracket") -> None:
    """It has ended."""
    _open.pop(bracket, None)


def all_open() -> list["Bracket"]:
    """Those that are open now, in the order of their beginning."""
    return list(_open)


def switch_off() -> None:
    """This process is not to be seen, from now to its end."""
    global _off, _door
    _off = True
    with _opening:
        if _door is not None:
            _door.close()
            _door = None


def _begin() -> None:
    global _asked, _door
    from rlm_otel.live.door import open_door

    with _opening:
        if _asked:
            return
        _asked = True
        if hasattr(os, "register_at_fork"):
            _watch_forks()
        if not _off:
            with fence("rlm_otel", "ps"):  # it must not harm the operation that happens to be the first
                _door = open_door(all_open)


_watching = False


def _watch_forks() -> None:
    global _watching
    if not _watching:
        os.register_at_fork(after_in_child=_forget)
        _watching = True


def _forget() -> None:
    """In a forked child: what is open belongs to the parent, and so does the door; the child gets its own."""
    global _open, _door, _asked, _opening
    door, _door = _door, None
    _open, _asked, _opening = {}, False, threading.Lock()
    if door is not None:
        door.leave()
