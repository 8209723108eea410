"""A sign of life: one line as soon as something takes longer than a second."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, TextIO

_PATIENCE_S: Final = 1.0


@contextmanager
def working(what: str, err: TextIO, *, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """While the block runs: after a second, and only then, say what it does."""
    timer = threading.Timer(patience_s, lambda: print(f"... {what}", file=err, flush=True))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
