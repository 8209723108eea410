"""Where the viewing stack's files lie: what we ship, what it stores, what is built; and one lock for each of them."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rlm_otel.stack.problem import StackProblem

COMPOSE_FILE: Final = "docker-compose.yml"


def root() -> Path:
    """The folder that holds `docker-compose.yml`, `collector/`, `stack/`...: the wheel's copy, else the checkout."""
    packaged = Path(__file__).parent / "files"
    return packaged if packaged.is_dir() else checkout() or packaged


def checkout() -> Path | None:
    """The repository this package is run from, or None where it was installed."""
    folder = Path(__file__).parents[3]
    return folder if (folder / "stack" / "collector").is_dir() else None


def state_folder(environ: Mapping[str, str]) -> Path:
    """What the stack stores without Docker: data, logs, and which processes run. In the user's own state folder."""
    return _users(environ, "XDG_STATE_HOME", ".local/state") / "stack"


def cache_folder(environ: Mapping[str, str]) -> Path:
    """What can be built again: the programs."""
    return _users(environ, "XDG_CACHE_HOME", ".cache") / "binaries"


def make_folder(folder: Path) -> Path:
    """`folder`, made when missing; only its owner may look inside, since traces can hold what users wrote."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StackProblem(f"Cannot make the folder {folder}: {error.strerror}.") from None
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Nobody else does the same in this folder meanwhile; another process waits. The lock ends with its process."""
    import fcntl  # not on Windows, where only the way with Docker works

    with (make_folder(folder) / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _users(environ: Mapping[str, str], variable: str, otherwise: str) -> Path:
    """A folder of the XDG base directory specification, which says that a relative one is to be ignored."""
    chosen = Path(environ.get(variable, ""))
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    return (chosen if chosen.is_absolute() else home / otherwise) / "rlm-otel"
