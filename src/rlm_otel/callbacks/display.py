"""What is drawn anew at the bottom of a terminal, below all that the program prints; one a terminal, for all who draw.

While something is drawn, the `write` of each text file on that terminal takes it away first and puts it back after, so
that the program's own prints, and those of logging, come out as they would without us.
"""

import threading
import time
from collections.abc import Callable
from typing import Final, Protocol, TextIO

from rlm_otel.callbacks.printing import writer
from rlm_otel.callbacks.watched import Watched, watch
from rlm_otel.fence import fence

_PERIOD_S: Final = 0.125
_SHARE: Final = 5
"""Drawing takes a sixth of one thread's time at most: what takes long is drawn less often."""
_NO_WRAP, _WRAP, _CLEAR_LINE, _CLEAR_BELOW, _BELOW = "\x1b[?7l", "\x1b[?7h", "\x1b[K", "\x1b[J", "\r\n"


class Part(Protocol):
    """Something that is drawn."""

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to draw."""

    def lines(self, width: int, height: int) -> list[str]:
        """At most `height` lines as they are now, with colours; what is wider than the terminal is cut off.

        Never called with the display's lock held: who holds a lock of the part may print, in a finalizer.
        """

    def forget(self) -> None:
        """Drops all: this is a forked child, in which none of it will end."""


class Display:
    """Draws its parts several times a second, in a thread of its own, for as long as it has any."""

    def __init__(self, file: TextIO, size: Callable[[], tuple[int, int]], period_s: float = _PERIOD_S) -> None:
        """`size`: columns and lines; `period_s`: seconds between one drawing and the next."""
        self.file = file
        self._period_s = period_s
        self._size = size
        self._write = writer(file)
        # Reentrant: a signal's handler or a finalizer may print while its thread is drawing.
        self._lock = threading.RLock()
        self._parts: list[Part] = []
        self._changes = 0
        self._watched: list[Watched] = []
        self._done = threading.Event()
        self._frame: list[str] = []
        self._drawn: tuple[int, int] | None = None
        """Width of the terminal and number of lines, where something is drawn now."""
        self._drawn_at = 0.0
        self._knows_column = False
        self._in_a_line = False
        """Whether the program's last line has no end yet: it goes on there, so nothing is drawn."""

    # For who draws ------------------------------------------------------------

    def add(self, part: Part) -> None:
        """Draws this one as well, from now on."""
        with self._lock:
            if any(part is other for other in self._parts):
                return
            if not self._parts:
                self._begin()
            self._parts.append(part)
            self._changes += 1

    def say(self, text: str, part: Part) -> None:
        """Prints whole lines above what is drawn; a part that is over is drawn no more."""
        with self._lock:
            if part.is_over:
                self._parts = [other for other in self._parts if other is not part]
            self._changes += 1
            self._take_away()
            if text:
                self._write(f"\n{text}" if self._in_a_line else f"{self._to_the_top()}{text}")
                self._in_a_line, self._knows_column = False, True
            self.file.flush()
            if not self._parts:
                self._end()
                return
        self.refresh()

    def refresh(self) -> None:
        """Draws everything as it is now; the program's prints wait for the writing alone."""
        seen, frame = self._changes, self._lines()
        with self._lock:
            if seen != self._changes:  # it shows what is over: the next one is right
                return
            self._frame = frame
            self._draw()
            if self._parts and all(part.is_over for part in self._parts):
                self._give_up()

    def _give_up(self) -> None:
        """Ends what nobody has ended: Ctrl-C came between the last event and its print."""
        self._take_away()
        self._parts = []
        self._end()

    def close(self) -> None:
        """At the end of the process: what is drawn stays as it is."""
        with self._lock:
            if self._parts:
                self._parts.clear()
                self._end()
            if self._drawn:
                self._write("\n")
                self.file.flush()
                self._drawn = None

    def forget(self) -> None:
        """In a forked child: the terminal is the parent's to draw on."""
        self._lock = threading.RLock()
        self._unwatch()
        self._drawn = None
        parts, self._parts = self._parts, []
        for part in parts:
            part.forget()

    # Drawing ------------------------------------------------------------

    def _lines(self) -> list[str]:
        width, height = self._size()
        left, lines, parts = height - 1, list[str](), tuple(self._parts)
        for place, part in enumerate(parts):
            found = part.lines(width - 1, max(1, left // (len(parts) - place)))
            lines += found
            left -= len(found)
        return lines[: height - 1]

    def _draw(self) -> None:
        if self._in_a_line or not self._frame:
            self._take_away()
            return
        for one in self._watched:
            one.file.flush()
        text = f"{_CLEAR_LINE}{_BELOW}".join(self._frame) + _CLEAR_LINE + _CLEAR_BELOW
        self._write(f"{self._to_the_top()}{_NO_WRAP}{text}{_WRAP}")
        self.file.flush()
        self._drawn, self._drawn_at = (self._size()[0], len(self._frame)), time.monotonic()
        self._knows_column = True

    def _to_the_top(self) -> str:
        """To where the drawing begins: that of the last one, else a line of its own."""
        width, _ = self._size()
        if self._drawn is None:
            # Spaces up to the margin, as in shells: they end a line that the program has begun before we looked.
            return "" if self._knows_column else f"{' ' * width}\r"
        drawn_width, height = self._drawn
        if width < drawn_width:
            return _BELOW  # who knows how the terminal has wrapped it: it stays, so that nothing else can be lost
        return f"\r\x1b[{height - 1}A" if height > 1 else "\r"

    def _take_away(self) -> None:
        if self._drawn is not None:
            # Line by line: terminals keep what a single command clears from the first line on, above that line.
            _, height = self._drawn
            top = self._to_the_top()
            self._write(top if top == _BELOW else f"{top}{(_CLEAR_LINE + _BELOW) * (height - 1)}{_CLEAR_LINE}{top}")
            self.file.flush()
            self._drawn = None

    def _printed(self, write: Callable[[str], int], text: str) -> int:
        """The program prints."""
        if not text:  # Rich does, with a lock of its own held
            return write(text)
        with self._lock:
            was_drawn = self._drawn is not None or self._in_a_line
            self._take_away()
            written = write(text)
            self._in_a_line, self._knows_column = not text.endswith("\n"), True
            is_due = time.monotonic() - self._drawn_at > self._period_s / 4
            if was_drawn and is_due and self._parts and not self._in_a_line:
                self._draw()
            return written

    # Beginning and end ------------------------------------------------------------

    def _begin(self) -> None:
        self._knows_column = self._in_a_line = False
        self._frame = []
        self._done = done = threading.Event()
        threading.Thread(target=self._draw_until, args=(done,), name="rlm_otel-display", daemon=True).start()
        self._watched = watch(self.file, self._printed)

    def _end(self) -> None:
        self._done.set()
        self._unwatch()

    def _unwatch(self) -> None:
        for one in self._watched:
            one.undo()
        self._watched = []

    def _draw_until(self, done: threading.Event) -> None:
        pause_s = self._period_s
        while not done.wait(pause_s):
            began = time.thread_time()
            with fence("rlm_otel", "display"):  # the terminal may be gone
                self.refresh()
            pause_s = max(self._period_s, _SHARE * (time.thread_time() - began))
