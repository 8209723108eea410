"""Programs that stay open for `rlm-otel ps`, in a runtime folder of the test's own."""

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rlm_otel.views.processes import Process, processes

LIMIT_S = 20.0


class Asked:
    """Starts programs and looks at them as a second terminal does."""

    def __init__(self, folder: Path, closing: ExitStack) -> None:
        self.folder = folder
        """Of the user's runtime files; the doors are in `rlm-otel` below it."""
        self.environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "OTEL_"))},
            "XDG_RUNTIME_DIR": str(folder),
            "TMPDIR": str(folder),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "PYTHONIOENCODING": "utf-8",
        }
        self._closing = closing

    @property
    def doors(self) -> list[Path]:
        """The sockets of all processes."""
        return sorted(self.folder.rglob("*.sock"))

    def start(self, source: str, **environ: str) -> "subprocess.Popen[str]":
        """Runs Python text; back when it has printed its first line. It is killed after the test."""
        program = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(source)],
            env={**self.environ, **environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._closing.callback(_end, program)
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
        return program

    def finish(self, program: "subprocess.Popen[str]") -> int:
        """Lets a program that reads its stdin go on to its end; its exit code."""
        program.communicate("\n", timeout=LIMIT_S)
        return program.returncode

    def look(self) -> list[Process]:
        """All processes, as they say now."""
        return processes(self.environ)

    def ps(self, *arguments: str, **environ: str) -> str:
        """What the command prints."""
        command = [sys.executable, "-c", "from rlm_otel.cli import main; main(prog_name='rlm-otel')", "ps", *arguments]
        done = subprocess.run(
            command,
            env={**self.environ, **environ},
            capture_output=True,
            encoding="utf-8",
            timeout=LIMIT_S,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout


def until(look: Callable[[], Any], wanted: Callable[[Any], bool]) -> Any:
    """Looks until it is as wanted; what was seen last, where that takes too long."""
    pause = threading.Event()
    for _ in range(int(LIMIT_S / 0.05)):
        seen = look()
        if wanted(seen):
            return seen
        pause.wait(0.05)
    return seen


def _end(program: "subprocess.Popen[str]") -> None:
    program.kill()
    program.communicate(timeout=LIMIT_S)


def rising(lines: Iterator[str]) -> list[int]:
    """How deep each line of a tree stands."""
    return [(len(line) - len(line.lstrip("│├└─ "))) // 3 for line in lines]
