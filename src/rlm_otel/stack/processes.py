"""Processes that outlive us: started detached with a log, recognised later by when they were born, and stopped."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_KEPT_LOGS: Final = 3
# The shell starts the program in the background and ends, so nobody of ours has to wait for it. Its id is the shell's
# only output. Its descriptors are its own: ours would keep a caller's pipe open.
_DETACH: Final = '{ exec "$@"; } </dev/null >>"$RLM_OTEL_LOG" 2>&1 & echo $!'


@dataclass(frozen=True, slots=True)
class Process:
    """A process. `born` tells it from a later one with the same id."""

    pid: int
    born: str


def spawn(command: Sequence[str | Path], *, environ: Mapping[str, str], folder: Path, log: Path) -> Process:
    """Start `command` in `folder`, apart from our terminal and our life; all it says is appended to `log`."""
    answer = subprocess.run(
        ["/bin/sh", "-c", _DETACH, "sh", *command],
        env={**environ, "RLM_OTEL_LOG": str(log)},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        start_new_session=True,
        check=True,
    )
    pid = int(answer.stdout)
    return Process(pid, _born(pid) or "")


def is_running(process: Process) -> bool:
    """Whether it still runs; not so for another process that has got its id."""
    return bool(process.born) and _born(process.pid) == process.born


def stop(process: Process, grace_s: float = 15.0) -> bool:
    """End it: ask it to (SIGTERM), and kill it after `grace_s`. False if it had to be killed."""
    _signal(process, signal.SIGTERM)
    if _wait_for_end(process, grace_s):
        return True
    kill(process)
    return False


def kill(process: Process) -> None:
    """End it at once, as a crash would (SIGKILL)."""
    _signal(process, signal.SIGKILL)
    _wait_for_end(process, 5.0)


def rotate(log: Path) -> None:
    """Start a new log; the ones of the last starts are kept beside it as `.1` (the newest), `.2`..."""
    if not log.exists() or not log.stat().st_size:
        return
    for number in range(_KEPT_LOGS, 0, -1):
        older = log.with_name(f"{log.name}.{number - 1}") if number > 1 else log
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number}"))


def tail(log: Path, lines: int = 12) -> str:
    """The end of a log."""
    if not log.is_file():
        return ""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16_384))
        return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])


def _signal(process: Process, number: signal.Signals) -> None:
    if is_running(process):
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            pass  # it ended between the two


def _wait_for_end(process: Process, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while is_running(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _born(pid: int) -> str | None:
    """When a living process was started, in the system's own words; None if there is none."""
    proc = Path("/proc")
    if (proc / "self" / "stat").exists():  # Linux
        try:
            # After the name, which may hold anything: state, ..., number of threads, 0, start in ticks since boot.
            fields = (proc / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        boot = proc / "sys" / "kernel" / "random" / "boot_id"
        # Killed, its first thread may be gone while others still hold its ports.
        has_ended = fields[0] in "ZX" and int(fields[17]) <= 1
        return None if has_ended else f"{boot.read_text().strip()}:{fields[19]}"
    answer = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, born = answer.stdout.strip().partition(" ")
    return None if not born or state.startswith("Z") else born.strip()
