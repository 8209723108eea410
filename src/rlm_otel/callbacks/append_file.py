"""A file that threads and processes append whole lines to, and that a log rotation may take away at any time."""

import errno
import os
from typing import Final

from rlm_otel.callbacks.lock import ForkLock

_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
_CANNOT_SYNC: Final = (errno.EINVAL, errno.ENOTSUP, errno.EROFS)
"""What pipes and terminals answer."""


class AppendFile:
    """Opened at once, created for its owner only. Raises OSError that says what to do where that is impossible."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.path.abspath(path)  # the application may change its folder later
        self._lock = ForkLock()
        self._is_torn = False
        self._descriptor: int | None = None
        self._identity: tuple[int, int] | None = None
        try:
            self._open()
        except OSError as error:
            advice = "make its folder, allow writing, or choose another path"
            raise OSError(error.errno, f"cannot append here ({error.strerror}); {advice}", self._path) from None

    def append(self, line: bytes) -> None:
        """Writes the line and its end in one call, so that no other line gets into it."""
        with self._lock:
            if self._descriptor is None:
                raise ValueError(f"{self._path} was closed")
            if self._was_taken_away():
                self._reopen()
            self._write(b"\n" + line + b"\n" if self._is_torn else line + b"\n")

    def sync(self) -> None:
        """Waits until the disk has what was written; no line is ever held back before that."""
        with self._lock:
            if self._descriptor is None:
                return
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                if error.errno not in _CANNOT_SYNC:
                    raise

    def close(self) -> None:
        """Closes the file; a second time does nothing."""
        with self._lock:
            if self._descriptor is not None:
                os.close(self._descriptor)
                self._descriptor = None

    def _open(self) -> None:
        descriptor = os.open(self._path, _FLAGS, 0o600)
        status = os.fstat(descriptor)
        self._descriptor, self._identity = descriptor, (status.st_dev, status.st_ino)

    def _reopen(self) -> None:
        old = self._descriptor
        self._open()
        self._is_torn = False
        if old is not None:
            os.close(old)

    def _was_taken_away(self) -> bool:
        try:
            status = os.stat(self._path)
        except FileNotFoundError:
            return True
        return (status.st_dev, status.st_ino) != self._identity

    def _write(self, data: bytes) -> None:
        assert self._descriptor is not None
        left = memoryview(data)
        while left:
            try:
                written = os.write(self._descriptor, left)
            except OSError:
                # A full disk may take the beginning of a line: the next one must not be glued to it.
                self._is_torn = self._is_torn or len(left) < len(data)
                raise
            left = left[written:]
        self._is_torn = False
