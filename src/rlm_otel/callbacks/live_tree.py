"""The tree of all that runs, on one terminal."""

from typing import TYPE_CHECKING, Final, TextIO, cast

from rlm_otel.callbacks.display import Display
from rlm_otel.callbacks.run_tree import Node, RunTree
from rlm_otel.callbacks.terminal import Canvas, can_draw, display_on, size
from rlm_otel.callbacks.tree_table import rows_within, table
from rlm_otel.events import Event

if TYPE_CHECKING:
    from rich.console import Console

_LEAST_COLUMNS: Final = 60
_LEAST_LINES: Final = 8


class LiveTree:
    """Takes events and never waits for the terminal, but at the end of a root: then its tree is printed for good."""

    def __init__(self, console: "Console", display: Display) -> None:
        self.file = cast(TextIO, console.file)
        self._console = console
        self._display = display
        self._canvas = Canvas(console)
        self._tree = RunTree()

    def knows(self, event: Event) -> bool:
        """Whether the event is of something that is drawn here, or begins inside of it."""
        return self._tree.knows(event)

    def has_room(self) -> bool:
        """Whether the window is wide and high enough for a tree."""
        columns, lines = size(self._console)
        return columns >= _LEAST_COLUMNS and lines >= _LEAST_LINES

    def take(self, event: Event) -> None:
        """Takes note of an event."""
        begins_here = not self.knows(event)
        ended = self._tree.note(event)
        if begins_here:
            self._display.add(self)
        if ended is not None:
            self._print(ended)

    def _print(self, root: Node) -> None:
        width, height = size(self._console)
        lines: list[str] = []
        try:
            lines = self._drawn([root], width - 1, height - 1)
        finally:
            self._display.say("".join(f"{line}\n" for line in lines), self)

    # What is drawn ------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether nothing runs."""
        return not self._tree.roots

    def lines(self, width: int, height: int) -> list[str]:
        """All that runs."""
        return self._drawn(self._tree.open_roots(), width, height)

    def forget(self) -> None:
        """In a forked child."""
        self._tree.forget()

    def _drawn(self, roots: list[Node], width: int, height: int) -> list[str]:
        with self._tree.lock:
            rows = rows_within(roots, height)
        if not rows:
            return []
        drawn = table(rows, width, self._tree.clock(), ascii_only=self._canvas.ascii_only)
        return self._canvas.lines(drawn, width)


def live_tree_on(file: TextIO) -> LiveTree | None:
    """One on this file; None where no tree can be drawn there, or nobody wants one."""
    try:
        # Rich takes FORCE_COLOR for a terminal, and a pipe may have that. A proxy: somebody else draws there with Rich.
        if not file.isatty() or hasattr(file, "rich_proxied_file"):
            return None
    except (ValueError, AttributeError):  # closed, or something that only writes
        return None
    from rich.console import Console  # its import takes a tenth of a second

    console = Console(file=file, highlight=False, markup=False, emoji=False)
    if not can_draw(console) or console.no_color:
        return None
    return LiveTree(console, display_on(console))
