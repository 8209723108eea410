"""Runs Python text as a program: an interpreter's own process, with a scripted model server to talk to."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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


def run_programs(programs: Sequence[Program], directory: Path) -> list[Ended]:
    """Runs many, one after the other, each in a folder and a process of its own."""
    jobs = []
    for number, program in enumerate(programs):
        program.write(directory / str(number))
        jobs.append({"directory": str(directory / str(number)), "environ": dict(program.environ)})
    done = subprocess.run(
        [sys.executable, str(_FORKED)],
        input=json.dumps(jobs).encode(),
        env=_surroundings("utf-8"),
        stdout=subprocess.PIPE,
        check=True,
        timeout=_LIMIT_S,
    )
    return [
        Ended(code=code, out=_read(job["directory"], "stdout.txt"), err=_read(job["directory"], "stderr.txt"))
        for code, job in zip(json.loads(done.stdout), jobs, strict=True)
    ]


def _surroundings(encoding: str) -> dict[str, str]:
    """This process's environment, without what it says about OpenAI and OpenTelemetry."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "OTEL_"))}
    return {**ours, "PYTHONIOENCODING": encoding, "COLUMNS": "80", "TERM": "dumb"}


def _read(directory: object, name: str) -> str:
    return _text(Path(str(directory), name).read_bytes(), "utf-8")


def _text(output: bytes, encoding: str) -> str:
    return output.decode(encoding).replace("\r\n", "\n")
