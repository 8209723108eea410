"""Folders of the stack: the user's own, private, and one writer at a time."""

import fcntl
from pathlib import Path

import pytest

from rlm_otel.stack import files


def test_the_shipped_files_are_one_copy() -> None:
    """In a checkout they lie at its root, in a wheel inside the package."""
    root = files.root()
    found = [(root / name).exists() for name in ("docker-compose.yml", "collector/config.yaml", "stack/jaeger/go.sum")]
    assert found == [True, True, True]
    assert files.checkout() == root


@pytest.mark.parametrize("chosen", [{}, {"XDG_STATE_HOME": "", "XDG_CACHE_HOME": "relative/folder"}])
def test_the_users_own_folders_are_used(chosen: dict[str, str]) -> None:
    """A relative one does not count, says the specification."""
    environ = {"HOME": "/data/алиса", **chosen}
    assert files.state_folder(environ) == Path("/data/алиса/.local/state/rlm-otel/stack")
    assert files.cache_folder(environ) == Path("/data/алиса/.cache/rlm-otel/binaries")


def test_other_places_can_be_chosen() -> None:
    """As the XDG base directory specification has it."""
    environ = {"HOME": "/data/a", "XDG_STATE_HOME": "/data/state", "XDG_CACHE_HOME": "/data/cache"}
    assert files.state_folder(environ) == Path("/data/state/rlm-otel/stack")
    assert files.cache_folder(environ) == Path("/data/cache/rlm-otel/binaries")


def test_one_at_a_time_and_nobody_else_may_look(tmp_path: Path) -> None:
    """Traces can hold what users wrote."""
    folder = tmp_path / "state"
    with files.locked(folder):
        assert folder.stat().st_mode & 0o777 == 0o700
        with (folder / "lock").open("w") as second, pytest.raises(BlockingIOError):
            fcntl.flock(second, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (folder / "lock").open("w") as third:
        fcntl.flock(third, fcntl.LOCK_EX | fcntl.LOCK_NB)
