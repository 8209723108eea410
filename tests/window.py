"""A program in a real terminal: a window of tmux, whose screen a test reads and whose keys it presses."""

import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import pytest

from tests.program import Program

_LIMIT_S: Final = 30.0
_SCRIPT: Final = """trap : INT
stty -g >before
"$1" program.py
echo "left with $?"
stty -g >after
exec cat
"""
"""What runs in the window; `cat` then echoes what is typed, as long as the terminal is sane."""


class Window:
    """Python text as a program in a terminal of so many columns and lines, in a folder of its own."""

    def __init__(
        self,
        source: str,
        directory: Path,
        *,
        columns: int = 100,
        lines: int = 30,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        if shutil.which("tmux") is None:
            pytest.fail("this test needs tmux; install it (Debian and Ubuntu: sudo apt-get install tmux)")
        Program(source=source, environ={}).write(directory)
        (directory / "window.sh").write_text(_SCRIPT, encoding="utf-8")
        self._directory = directory
        self._server = f"rlm-otel-{secrets.token_hex(4)}"
        self._size = ("-x", str(columns), "-y", str(lines))
        given = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "TMUX", "FORCE_COLOR")}
        self._environ = {**given, "LC_ALL": "C.UTF-8"}
        self._told = [f"{name}={value}" for name, value in (environ or {}).items()]

    def __enter__(self) -> Self:
        shell = ("env", *self._told, "sh", "window.sh", sys.executable)
        options = ("set-option", "-g", "history-limit", "20000", ";")
        self._tmux(*options, "new-session", "-d", *self._size, "-c", str(self._directory), *shell)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.everything)
        self._tmux("kill-server")

    @property
    def screen(self) -> list[str]:
        """The lines that can be seen, down to the last that has something in it."""
        return self._tmux("capture-pane", "-p").rstrip("\n").split("\n")

    @property
    def everything(self) -> str:
        """All lines since the beginning, also those that have left the screen; wrapped ones are one."""
        return self._tmux("capture-pane", "-p", "-J", "-S", "-").rstrip("\n")

    @property
    def everything_styled(self) -> str:
        """The same with the escape sequences of its colours."""
        return self._tmux("capture-pane", "-p", "-e", "-S", "-").rstrip("\n")

    @property
    def is_sane(self) -> bool:
        """Whether the terminal is as it was: its settings, a cursor that can be seen, lines that wrap."""
        flags = self._tmux("display-message", "-p", "#{cursor_flag} #{wrap_flag}").strip()
        before, after = ((self._directory / name).read_text("utf-8") for name in ("before", "after"))
        return (flags, after) == ("1 1", before)

    @property
    def screen_styled(self) -> str:
        """What can be seen, with the escape sequences of its colours."""
        return self._tmux("capture-pane", "-p", "-e").rstrip("\n")

    @property
    def title(self) -> str:
        """The title that the window has been given."""
        return self._tmux("display-message", "-p", "#{pane_title}").strip()

    def press(self, *keys: str) -> None:
        """Presses keys, in the words of tmux: `C-c`, `Enter`, or text."""
        self._tmux("send-keys", *keys)

    def resize(self, columns: int, lines: int) -> None:
        """Makes the window another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(lines))

    def until(self, is_so: Callable[[list[str]], bool]) -> list[str]:
        """Waits until the screen is like that; returns it."""
        deadline = time.monotonic() + _LIMIT_S
        while not is_so(screen := self.screen):
            assert time.monotonic() < deadline, "\n".join(screen)
            time.sleep(0.05)
        return screen

    def until_it_ends(self) -> int:
        """Waits for the end of the program; returns its exit code."""
        found = self.until(lambda screen: any(line.startswith("left with") for line in screen))
        return int(next(line for line in reversed(found) if line.startswith("left with")).split()[-1])

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-L", self._server, "-f", os.devnull, *arguments],
            env=self._environ,
            capture_output=True,
            encoding="utf-8",
            check=True,
            timeout=_LIMIT_S,
        )
        return done.stdout
