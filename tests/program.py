"""Runs Python text as a program of its own: an interpreter, a scripted model server and an OTLP receiver."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlm_otel.receiver import Receiver
from rlm_otel.testing import ScriptedServer

ROOT = Path(__file__).parents[1]
_OURS = ("OPENAI_", "OTEL_")
_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A program that ended."""

    code: int
    out: str
    err: str


def run_program(
    source: str,
    directory: Path,
    *,
    server: ScriptedServer,
    receiver: Receiver | None = None,
    encoding: str = "utf-8",
    environ: Mapping[str, str] | None = None,
) -> Ended:
    """Writes `source` into `directory` and runs it there; `encoding` is that of its stdin, stdout and stderr."""
    file = directory / "program.py"
    file.write_text(source, encoding="utf-8")
    return run_command([str(file)], directory, server=server, receiver=receiver, encoding=encoding, environ=environ)


def run_command(
    arguments: Sequence[str],
    directory: Path,
    *,
    server: ScriptedServer | None = None,
    receiver: Receiver | None = None,
    encoding: str = "utf-8",
    environ: Mapping[str, str] | None = None,
) -> Ended:
    """Runs this interpreter with `arguments`; whatever the surroundings say about OpenAI and OTel is left out."""
    child = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    child |= {"PYTHONIOENCODING": encoding, "COLUMNS": "80", "TERM": "dumb"}
    if server is not None:
        child |= {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "any"}
    if receiver is not None:
        child["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.endpoint
    child |= environ or {}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=directory, env=child, capture_output=True, check=False, timeout=_LIMIT_S
    )
    return Ended(code=done.returncode, out=_text(done.stdout, encoding), err=_text(done.stderr, encoding))


def _text(output: bytes, encoding: str) -> str:
    return output.decode(encoding).replace("\r\n", "\n")
