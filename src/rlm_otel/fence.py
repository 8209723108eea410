"""The one place where an exception is swallowed: around foreign code that must not harm the observed application."""

import logging
from collections import Counter
from types import TracebackType
from typing import Final

from rlm_otel.errors import StopRun

logger: Final = logging.getLogger("rlm_otel")
_failures: Counter[tuple[str, str]] = Counter()


class fence:
    """Swallows an `Exception` of the block; logs the first of each (owner, where) with its traceback.

    The rest are counted. `StopRun`, cancellation and Ctrl-C pass. `strict` lets everything pass.
    """

    __slots__ = ("_owner", "_strict", "_where")

    def __init__(self, owner: str, where: str, *, strict: bool = False) -> None:
        self._owner = owner
        self._where = where
        self._strict = strict

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or isinstance(error, StopRun) or self._strict:
            return False
        key = (self._owner, self._where)
        _failures[key] += 1
        if _failures[key] == 1:
            # Without logging set up, Python's handler of last resort prints this on stderr.
            logger.warning(
                "%s.%s raised %s; it is ignored, and further failures there are only counted",
                *key,
                type(error).__name__,
                exc_info=error,
            )
        return True


def failures() -> dict[tuple[str, str], int]:
    """How often foreign code failed, by (owner, where)."""
    return dict(_failures)


def forget_failures() -> None:
    """Starts the counts anew: the next failure of each pair is logged again (for tests)."""
    _failures.clear()
