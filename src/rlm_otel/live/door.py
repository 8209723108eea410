"""A Unix socket of the user's own, at which a daemon thread tells who asks what is open."""

import atexit
import json
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rlm_otel.fence import fence
from rlm_otel.live.folder import folders, is_off, make, path_for, program_name, sweep
from rlm_otel.live.snapshot import Watched

if TYPE_CHECKING:
    from rlm_otel.bracket import Bracket

LOOK_S: Final = 1.0
"""How often it looks which streams have moved, while something is open."""
_PATIENCE_S: Final = 2.0
_log: Final = logging.getLogger("rlm_otel")


class Door:
    """One process's socket and thread. `close` it at the end; a forked child `leave`s it."""

    def __init__(self, path: Path, all_open: Callable[[], list["Bracket"]]) -> None:
        """OSError or RuntimeError where it cannot be opened."""
        self._path = path
        self._pid = os.getpid()
        self._all_open = all_open
        self._began = time.monotonic()
        self._watched = Watched()
        self._closed = False
        self._socket = _listen(path)
        self._thread = threading.Thread(target=self._run, name="rlm-otel-ps", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # the interpreter is about to end, or there are too many threads
            self.close()
            raise
        atexit.register(self.close)
        _at_the_end_of_a_worker(self.close)

    def close(self) -> None:
        """Nobody is answered any more; the socket is gone."""
        if self._closed or self._pid != os.getpid():
            return
        self._closed = True
        self._path.unlink(missing_ok=True)
        self._socket.close()

    def leave(self) -> None:
        """In a forked child: the socket is the parent's, who alone is to be asked there."""
        self._socket.close()

    def _run(self) -> None:
        with fence("rlm_otel", "ps"):
            sweep(self._path.parent)
        while not self._closed:
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                with fence("rlm_otel", "ps"):
                    self._watched.look(self._all_open())
                continue
            except OSError:  # closed, or no file is free for a connection
                time.sleep(LOOK_S)
                continue
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        with fence("rlm_otel", "ps"):
            told = {
                "pid": self._pid,
                "program": program_name(),
                "age_s": round(time.monotonic() - self._began, 3),
                "operations": self._watched.records(self._all_open()),
            }
            data = json.dumps(told).encode()  # escapes whatever is not ASCII, half characters too
            try:
                connection.settimeout(_PATIENCE_S)
                connection.sendall(data)
            except OSError:  # whoever asked has gone
                pass


def open_door(all_open: Callable[[], list["Bracket"]], environ: Mapping[str, str] = os.environ) -> Door | None:
    """The door of this process; None where it is switched off or there is no place for one."""
    if is_off(environ) or not hasattr(socket, "AF_UNIX"):
        return None
    for folder in folders(environ):
        try:
            make(folder)
            return Door(path_for(folder, os.getpid(), os.urandom(3).hex()), all_open)
        except (OSError, RuntimeError) as error:
            _log.debug("rlm-otel ps will not see this process in %s: %s", folder, error)
    return None


def _listen(path: Path) -> socket.socket:
    """It gets its name when it listens: whoever finds a name at which nobody listens knows that the process is gone."""
    unfinished = path.with_name(f".{path.name[:24]}")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(unfinished))
        unfinished.chmod(0o600)
        listening.listen(16)
        listening.settimeout(LOOK_S)
        unfinished.rename(path)
    except OSError:
        listening.close()
        unfinished.unlink(missing_ok=True)
        raise
    return listening


def _at_the_end_of_a_worker(close: Callable[[], None]) -> None:
    """A process of `multiprocessing` ends without `atexit`."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.Finalize(None, close, exitpriority=0)
