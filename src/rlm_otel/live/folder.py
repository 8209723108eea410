"""Where the doors of this user's processes are: a folder that nobody else can look into."""

import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple

OFF_VARIABLE: Final = "RLM_OTEL_PS"
_OFF: Final = frozenset({"off", "0", "false", "no"})
_NAME: Final = "rlm-otel"
_LONGEST_PATH: Final = 100
"""Bytes; the address of a Unix socket has room for 103 on macOS."""
_ENTRY: Final = re.compile(r"(\d+)-([0-9a-f]{6})-(.*)\.sock", re.DOTALL)
_PRIVATE: Final = 0o700
_A_DAY_S: Final = 86_400.0


class Entry(NamedTuple):
    """What the name of a door says."""

    path: Path
    pid: int
    program: str


def is_off(environ: Mapping[str, str]) -> bool:
    """Whether the environment forbids a door."""
    return environ.get(OFF_VARIABLE, "").strip().lower() in _OFF


def folders(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where doors may be, the best place first: the user's runtime folder, else one among the temporary files.

    A service may have been started without the first, so whoever looks looks into all.
    """
    if not hasattr(os, "getuid"):
        return
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime):
        yield Path(runtime, _NAME)
    temporary = environ.get("TMPDIR") or tempfile.gettempdir()
    yield Path(temporary, f"{_NAME}-{os.getuid()}")


def make(folder: Path) -> None:
    """Makes it where it is missing; OSError where it cannot be made or is not the user's alone."""
    try:
        folder.mkdir(_PRIVATE)
    except FileExistsError:
        pass
    if not is_ours(folder):
        msg = f"{folder} is not a folder of this user alone"
        raise PermissionError(msg)


def is_ours(folder: Path) -> bool:
    """Whether it is a real folder that only this user can enter: among temporary files anybody could have made one."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077


def path_for(folder: Path, pid: int, mark: str) -> Path:
    """The path of a process's door; its name says whose it is after the process is gone."""
    head = f"{pid}-{mark}-"
    room = _LONGEST_PATH - len(os.fsencode(folder)) - len(head) - len("/.sock")
    program = re.sub(r"[^\w.+-]", "_", program_name(), flags=re.ASCII)[: max(room, 0)]
    return folder / f"{head}{program}.sock"


def entries(folder: Path) -> list[Entry]:
    """The doors in a folder; none where it is missing or not this user's alone."""
    if not is_ours(folder):
        return []
    found = ((path, _ENTRY.fullmatch(path.name)) for path in sorted(folder.iterdir()))
    return [Entry(path, int(name[1]), name[3]) for path, name in found if name is not None]


def sweep(folder: Path, *, older_than_s: float = _A_DAY_S) -> None:
    """Removes what processes have left that are gone for long, where nobody ever looked."""
    for entry in entries(folder):
        with suppress(OSError):
            if time.time() - entry.path.stat().st_mtime > older_than_s and not _is_there(entry.pid):
                entry.path.unlink()


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def program_name() -> str:
    """The program's file, without its folder and its arguments: those may hold secrets."""
    started = sys.argv[0] if getattr(sys, "argv", None) else ""
    if started in ("", "-c", "-m"):
        return "python"
    path = Path(started)
    return path.parent.name if path.name == "__main__.py" else path.name
