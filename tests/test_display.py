"""What the display writes: lines over lines, without a moment in which they are gone, and nothing once it is over."""

import io
from pathlib import Path

from rlm_otel.callbacks.display import Display
from tests.program import Program, run_program


class Lines:
    """A part with these lines."""

    def __init__(self, *lines: str) -> None:
        self.told = list(lines)
        self.is_over = False

    def lines(self, width: int, height: int) -> list[str]:
        return self.told[:height]

    def forget(self) -> None:
        self.is_over = True


class Terminal:
    """A terminal of 20 columns and 5 lines, drawn on when a test says so, and what it got since the last look."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        self.file = io.TextIOWrapper(self._bytes, encoding="utf-8", newline="", write_through=True)
        self.display = Display(self.file, lambda: (20, 5), period_s=60)

    def got(self) -> str:
        text = self._bytes.getvalue().decode()
        self._bytes.seek(0)
        self._bytes.truncate()
        return text


FIRST = " " * 20 + "\r"
"""Ends a line that the program may have begun."""
DRAWN = "\x1b[?7lone\x1b[K\r\ntwo\x1b[K\x1b[J\x1b[?7h"
GONE = "\r\x1b[1A\x1b[K\r\n\x1b[K\r\x1b[1A"


def test_lines_are_drawn_over_those_before() -> None:
    """Each is overwritten and only its rest is cleared: nothing flickers. Lines that are too long do not wrap."""
    terminal, part = Terminal(), Lines("one", "two")
    terminal.display.add(part)
    terminal.display.refresh()
    assert terminal.got() == FIRST + DRAWN
    terminal.display.refresh()
    assert terminal.got() == "\r\x1b[1A" + DRAWN
    part.is_over = True
    terminal.display.say("", part)


def test_prints_go_above_and_what_stays_too() -> None:
    """What is drawn is taken away line by line, the text is written as it is, and nothing is left to see it."""
    terminal, part = Terminal(), Lines("one", "two")
    terminal.display.add(part)
    terminal.display.refresh()
    terminal.got()
    terminal.file.write("mine ")
    assert terminal.got() == GONE + "mine "
    terminal.display.refresh()
    terminal.file.write("and yours\n")
    assert terminal.got() == "and yours\n"
    part.is_over = True
    terminal.display.say("the last word\n", part)
    assert terminal.got() == "the last word\n"
    assert "write" not in vars(terminal.file)


def test_parts_share_the_height() -> None:
    """All of them together leave one line free."""
    terminal, parts = Terminal(), [Lines(*"abc"), Lines(*"def")]
    for part in parts:
        terminal.display.add(part)
    terminal.display.refresh()
    assert [line[-1] for line in terminal.got().replace("\x1b[K", "").split("\x1b[J")[0].split("\r\n")] == list("abde")
    for part in parts:
        part.is_over = True
        terminal.display.say("", part)


def test_a_write_that_somebody_else_has_set_comes_back() -> None:
    """And where they set one meanwhile, theirs stays."""
    terminal, part = Terminal(), Lines("one")
    theirs = vars(terminal.file)["write"] = terminal.file.write
    terminal.display.add(part)
    assert vars(terminal.file)["write"] is not theirs
    part.is_over = True
    terminal.display.say("", part)
    assert vars(terminal.file)["write"] is theirs


FORCED = """
from rlm_otel.callbacks import ConsoleCallback, RichStreamCallback
import rlm_otel
with rlm_otel.run("run", callbacks=[RichStreamCallback()]):
    with rlm_otel.llm_call(provider="openai", model="gpt-4o", stream=True) as call:
        call.chunk("**bold**")
        call.finish(finish_reason="stop")
"""


def test_answers_in_a_pipe_are_plain_text_even_where_colours_are_forced(tmp_path: Path) -> None:
    """What reads the pipe is no terminal."""
    ended = run_program(Program(source=FORCED, environ={"FORCE_COLOR": "1", "TERM": "xterm"}), tmp_path)
    assert (ended.code, ended.out, ended.err) == (0, "**bold**\n", "")
