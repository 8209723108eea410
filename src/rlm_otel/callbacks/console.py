"""`ConsoleCallback`: the tree of what runs, live on a terminal; plain lines everywhere else."""

import sys
from typing import TextIO

from rlm_otel.callbacks.arguments import check_switch
from rlm_otel.callbacks.base import BaseCallback
from rlm_otel.callbacks.console_lines import line_of
from rlm_otel.callbacks.live_tree import LiveTree, live_tree_on
from rlm_otel.callbacks.printing import write_line
from rlm_otel.events import Chunk, Event, Started


class ConsoleCallback(BaseCallback):
    """Shows runs, model calls and tools: time, tokens, cost, retries and failures; never prompts and answers.

    On a terminal as a tree that is drawn anew while they run, below what the program prints, and that stays once they
    ended: ten lines a parent at most. Elsewhere (a pipe, a notebook, `NO_COLOR`, `TERM=dumb`, a window of less than 60
    columns), and with `live=False`, as a plain line when something starts, is repeated or ends.
    `file` is where to; else stdout.
    """

    def __init__(self, *, file: TextIO | None = None, live: bool = True) -> None:
        check_switch("live", live)
        self._file = file
        self._live = live
        self._tree: LiveTree | None = None
        self._plain_file: TextIO | None = None
        """The last file that turned out to be no terminal to draw on."""

    def on_event(self, event: Event, /) -> None:
        """Takes note of the event, or prints its line."""
        if isinstance(event, Chunk) or (self._live and self._is_drawn(event)):
            return
        line = line_of(event)
        if line is not None:
            write_line(line, self._file)

    def _is_drawn(self, event: Event) -> bool:
        tree = self._tree
        if tree is not None and tree.knows(event):
            tree.take(event)
            return True
        if not isinstance(event, Started):
            return False
        tree = self._tree_for(self._file or sys.stdout)
        if tree is None or not tree.has_room():
            return False
        tree.take(event)
        return True

    def _tree_for(self, file: TextIO | None) -> LiveTree | None:
        """The tree on this file, which a program may change between two runs; None where lines are to be printed."""
        if file is None or file is self._plain_file:
            return None
        if self._tree is None or (self._tree.file is not file and self._tree.is_over):
            tree = live_tree_on(file)
            if tree is None:
                self._plain_file = file
                return None
            self._tree = tree
        return self._tree if self._tree.file is file else None
