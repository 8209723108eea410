"""Runs Python text as a program: an interpreter's own process, with a scripted model server to talk to."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Timer
from typing import Self

ROOT = Path(__file__).parents[1]
_FORKED = Path(__file__).with_name("forked_programs.py")
_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A program that ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Python text, and what its environment says besides."""

    source: str
    environ: Mapping[str, str]

    def write(self, directory: Path) -> Path:
        """Writes it into a folder, which is made."""
        directory.mkdir(exist_ok=True)
        file = directory / "program.py"
        file.write_text(self.source, encoding="utf-8")
        return file


def run_program(program: Program, directory: Path, *, encoding: str = "utf-8") -> Ended:
    """Runs it in the folder; `encoding` is that of its stdin, stdout and stderr."""
    environ = {**_surroundings(encoding), **program.environ}
    done = subprocess.run(
        [sys.executable, str(program.write(directory))],
        cwd=directory,
        env=environ,
        capture_output=True,
        check=False,
        timeout=_LIMIT_S,
    )
    return Ended(code=done.returncode, out=_text(done.stdout, encoding), err=_text(done.stderr, encoding))


class ForkedPrograms:
    """Runs programs, each in a process of its own that need not import the big packages anew."""

    def __enter__(self) -> Self:
        self._server = subprocess.Popen(
            [sys.executable, str(_FORKED)],
            env=_surroundings("utf-8"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate(timeout=_LIMIT_S)

    def run(self, program: Program, directory: Path) -> Ended:
        """Runs one in the folder, which is made."""
        program.write(directory)
        job = json.dumps({"directory": str(directory), "environ": dict(program.environ)})
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        limit = Timer(_LIMIT_S, self._server.kill)
        limit.start()
        self._server.stdin.write(f"{job}\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        limit.cancel()
        return Ended(code=code, out=_read(directory, "stdout.txt"), err=_read(directory, "stderr.txt"))


def run_programs(programs: Sequence[Program], directory: Path) -> list[Ended]:
    """Runs many, one after the other, each in a folder and a process of its own."""
    with ForkedPrograms() as forked:
        return [forked.run(program, directory / str(number)) for number, program in enumerate(programs)]


def _surroundings(encoding: str) -> dict[str, str]:
    """This process's environment, without what it says about OpenAI and OpenTelemetry."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "OTEL_"))}
    return {**ours, "PYTHONIOENCODING": encoding, "COLUMNS": "80", "TERM": "dumb"}


def _read(directory: Path, name: str) -> str:
    return _text((directory / name).read_bytes(), "utf-8")


def _text(output: bytes, encoding: str) -> str:
    return output.decode(encoding).replace("\r\n", "\n")
