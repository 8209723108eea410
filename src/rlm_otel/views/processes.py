"""The processes of this user that use the package, as they themselves say what is open in them."""

import json
import os
import socket
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Literal

from rlm_otel.live.folder import Entry, entries, folders
from rlm_otel.live.records import OpenOperation

State = Literal["running", "silent", "gone"]
"""It answers; it does not, since it is stopped or busy; it is gone and did not end by itself."""
_PATIENCE_S: Final = 0.6
_AT_ONCE: Final = 16
_PIECE: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process; what does not answer has no operations."""

    pid: int
    program: str
    state: State
    age_s: float | None = None
    """Since its first operation."""
    operations: tuple[OpenOperation, ...] = ()


def processes(environ: Mapping[str, str], *, patience_s: float = _PATIENCE_S) -> list[Process]:
    """All of them, by number. One that is gone is told once: its entry is removed."""
    found = [entry for folder in dict.fromkeys(folders(environ)) for entry in entries(folder)]
    if not found:
        return []
    with ThreadPoolExecutor(min(len(found), _AT_ONCE)) as pool:
        asked = list(pool.map(lambda entry: _ask(entry, patience_s), found))
    return sorted((process for process in asked if process is not None), key=lambda process: process.pid)


def _ask(entry: Entry, patience_s: float) -> Process | None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(patience_s)
        try:
            asking.connect(str(entry.path))
            told = _read(iter(lambda: asking.recv(_PIECE), b""))
        except ConnectionRefusedError:
            with suppress(OSError):
                entry.path.unlink()
            return Process(pid=entry.pid, program=entry.program, state="gone")
        except FileNotFoundError:  # it has just ended
            return None
        except (OSError, ValueError):  # too slow, or its answer broke off
            return Process(pid=entry.pid, program=entry.program, state="silent")
    return Process(
        pid=told["pid"],
        program=told["program"],
        state="running",
        age_s=told["age_s"],
        operations=tuple(map(OpenOperation.read, told["operations"])),
    )


def _read(pieces: Iterable[bytes]) -> dict[str, Any]:
    told = json.loads(b"".join(pieces))
    if not isinstance(told, dict):
        msg = "no object"
        raise ValueError(msg)
    return told


def can_ask() -> bool:
    """Whether this system has Unix sockets."""
    return hasattr(socket, "AF_UNIX") and hasattr(os, "getuid")
