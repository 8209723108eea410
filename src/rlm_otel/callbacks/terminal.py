"""Which terminals can be drawn on, and the one display that each of them has."""

import atexit
import os
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Final, TextIO
from weakref import WeakValueDictionary

from rlm_otel.callbacks.display import Display
from rlm_otel.callbacks.lock import ForkLock
from rlm_otel.callbacks.watched import terminal_of

if TYPE_CHECKING:
    from rich.console import Console

_displays: Final[WeakValueDictionary[object, Display]] = WeakValueDictionary()
_lock: Final = ForkLock()


def can_draw(console: "Console") -> bool:
    """Whether lines can be drawn anew there: no pipe, no dumb terminal, no notebook, nothing of Rich's in between."""
    file = console.file
    return (
        console.is_terminal
        and not console.is_dumb_terminal
        and not console.is_jupyter
        and not console.legacy_windows
        and hasattr(file, "__dict__")
        and not hasattr(file, "rich_proxied_file")
    )


def display_on(console: "Console") -> Display:
    """The display of the console's terminal; whoever uses it keeps it."""
    file = console.file
    key = terminal_of(file)
    with _lock:
        display = _displays.get(key)
        if display is None or display.file.closed:
            display = _displays[key] = Display(file, lambda: size(console))
            _watch_process()
        return display


def size(console: "Console") -> tuple[int, int]:
    """Columns and lines: what the terminal itself says, else what Rich believes."""
    try:
        columns, lines = os.get_terminal_size(console.file.fileno())
    except (OSError, ValueError, AttributeError):  # one in memory
        columns = lines = 0
    return (columns, lines) if columns and lines else (console.width, console.height)


def drawn(console: "Console", renderables: Iterable[object], width: int) -> list[str]:
    """Lines with the terminal's colours, none of them wider than `width`."""
    with console.capture() as captured:
        for one in renderables:
            console.print(one, width=width, crop=True)
    return captured.get().split("\n")[:-1]


@cache
def _watch_process() -> None:
    atexit.register(_close_all)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget_all)


def _close_all() -> None:
    for display in list(_displays.values()):
        display.close()


def _forget_all() -> None:
    for display in list(_displays.values()):
        display.forget()
