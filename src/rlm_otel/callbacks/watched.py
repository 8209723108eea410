"""Sees what the program prints, by the `write` of the text files that lead to one terminal."""

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TextIO

Printed = Callable[[Callable[[str], int], str], int]
"""Gets the `write` that the file had, and a text; does the writing."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A file that is watched: the object itself, since logging and others keep the one that they have."""

    file: TextIO
    ours: object
    before: object
    """A `write` that somebody else had set on the object; None where it was that of its class."""

    def undo(self) -> None:
        """Gives it its `write` back; where somebody has set another one meanwhile, that stays."""
        own = vars(self.file)
        if own.get("write") is not self.ours:
            return
        if self.before is None:
            del own["write"]
        else:
            own["write"] = self.before


def watch(file: TextIO, printed: Printed) -> list[Watched]:
    """Has everything printed to the file's terminal go through `printed`."""
    watched = []
    for one in _on_the_same(file):
        own = vars(one)
        ours, before = partial(printed, one.write), own.get("write")
        own["write"] = ours
        watched.append(Watched(one, ours, before))
    return watched


def terminal_of(file: TextIO) -> object:
    """The same for two files that lead to the same terminal; a file that leads to none is one of its own."""
    try:
        return os.fstat(file.fileno()).st_rdev if file.isatty() else id(file)
    except (OSError, ValueError, AttributeError):  # one in memory, or one that is closed
        return id(file)


def _on_the_same(file: TextIO) -> Iterator[TextIO]:
    terminal, seen = terminal_of(file), set[int]()
    candidates: tuple[Any, ...] = (file, sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    for one in candidates:
        if one is not None and id(one) not in seen and hasattr(one, "__dict__") and terminal_of(one) == terminal:
            seen.add(id(one))
            yield one
