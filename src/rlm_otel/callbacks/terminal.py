"""Which terminals can be drawn on, and the one display that each of them has."""

import atexit
import io
import os
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TextIO, cast
from weakref import WeakValueDictionary

from rlm_otel.callbacks.display import Display
from rlm_otel.callbacks.lock import ForkLock
from rlm_otel.callbacks.watched import terminal_of

if TYPE_CHECKING:
    from rich.console import Console

_displays: Final[WeakValueDictionary[object, Display]] = WeakValueDictionary()
_lock: Final = ForkLock()
_WIDEST: Final = 10_000
"""Columns that a terminal may have; each drawing says how many it wants."""


def can_draw(console: "Console") -> bool:
    """Whether lines can be drawn anew there: no pipe, no dumb terminal, no notebook."""
    file = console.file
    return (
        console.is_terminal
        and not console.is_dumb_terminal
        and not console.is_jupyter
        and not console.legacy_windows
        and hasattr(file, "__dict__")
    )


def display_on(console: "Console") -> Display:
    """The display of the console's terminal; whoever uses it keeps it."""
    file = cast(TextIO, console.file)
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


class Canvas:
    """Turns what Rich can show into lines with the colours of a console, without touching that console.

    Its own locks and buffers are held while it prints, and what it prints waits for the display.
    """

    def __init__(self, console: "Console") -> None:
        from rich.console import Console

        self.ascii_only = console.options.ascii_only
        self._console = Console(
            file=io.StringIO(),
            width=_WIDEST,
            force_terminal=True,
            color_system=cast(Any, console.color_system),  # one of the names that it takes
            no_color=console.no_color,
            highlight=False,
            markup=False,
            emoji=False,
        )

    def lines(self, renderable: object, width: int) -> list[str]:
        """Its lines, none of them wider than `width`."""
        with self._console.capture() as captured:
            self._console.print(renderable, width=width, crop=True)
        return [line.rstrip() for line in captured.get().split("\n")[:-1]]


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
