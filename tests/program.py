"""Runs Python text as a program: an interpreter's own process, with a scripted model server to talk to."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
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


class Programs:
    """Runs programs one after the other, each in a process of its own that need not import the big packages anew."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0
        self._server = subprocess.Popen(
            [sys.executable, str(_FORKED)], env=_surroundings("utf-8"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def run(self, program: Program) -> Ended:
        """Runs it in a folder of its own."""
        self._count += 1
        directory = self._directory / str(self._count)
        program.write(directory)
        job = {"directory": str(directory), "environ": dict(program.environ), "limit_s": int(_LIMIT_S)}
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(job).encode() + b"\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        return Ended(code=code, out=_read(directory, "stdout.txt"), err=_read(directory, "stderr.txt"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.communicate(timeout=_LIMIT_S)


def run_programs(programs: Sequence[Program], directory: Path) -> list[Ended]:
    """Runs many, one after the other."""
    with Programs(directory) as runner:
        return [runner.run(program) for program in programs]


def _surroundings(encoding: str) -> dict[str, str]:
    """This process's environment, without what it says about OpenAI and OpenTelemetry."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "OTEL_"))}
    return {**ours, "PYTHONIOENCODING": encoding, "COLUMNS": "80", "TERM": "dumb"}


def _read(directory: Path, name: str) -> str:
    return _text((directory / name).read_bytes(), "utf-8")


def _text(output: bytes, encoding: str) -> str:
    return output.decode(encoding).replace("\r\n", "\n")
