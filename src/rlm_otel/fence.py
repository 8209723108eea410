"""The one place where an exception is swallowed: around foreign code that must not harm the observed application."""

import logging
import sys
import traceback as tracebacks
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from types import EllipsisType, TracebackType
from typing import Final

from rlm_otel.errors import StopRun

logger: Final = logging.getLogger("rlm_otel")
_failures: Counter[tuple[str, str]] = Counter()


class fence:
    """Swallows an `Exception` of the block; logs the first of each (owner, where) with its traceback.

    The rest are counted. `StopRun`, cancellation and Ctrl-C pass. `strict` lets everything pass. `quiet` logs class and
    place alone: what the block works on is content, and its exceptions may quote it.

    Where each call comes by, it is put up once something was raised, and told what was being handled `before`:
    `except Exception: with fence(owner, where, before=before): raise`.
    """

    __slots__ = ("_before", "_owner", "_quiet", "_strict", "_where")

    def __init__(
        self,
        owner: str,
        where: str,
        *,
        strict: bool = False,
        quiet: bool = False,
        before: BaseException | EllipsisType | None = ...,
    ) -> None:
        self._owner = owner
        self._where = where
        self._strict = strict
        self._quiet = quiet
        self._before: BaseException | None = sys.exception() if before is ... else before

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or isinstance(error, StopRun) or self._strict:
            return False
        key = (self._owner, self._where)
        _failures[key] += 1
        if _failures[key] == 1:
            told = None if self._quiet else _without(error, self._before)
            # Without logging set up, Python's handler of last resort prints this on stderr.
            logger.warning(
                "%s.%s raised %s%s; it is ignored, and further failures there are only counted",
                *key,
                type(error).__name__,
                _place(traceback) if told is None else "",
                exc_info=told,
            )
        return True


def _without(error: Exception, before: BaseException | None) -> Exception | None:
    """The exception, apart from one that was already under way and all that it led to: an API's may quote the prompt.

    None where that cannot be taken out of it: it is one of them, or a group that holds one.
    """
    if before is None:
        return error
    known = {id(one) for one in _chain(before)}
    for link in list(_chain(error, known)):
        if id(link) in known or any(id(one) in known for one in _members(link)):
            return None
        if id(link.__cause__) in known:
            link.__cause__ = None
        if id(link.__context__) in known:
            link.__context__ = None
    return error


def _chain(error: BaseException | None, known: Iterable[int] = ()) -> Iterator[BaseException]:
    """It, and what it came of, groups' members too, as far as that is not known."""
    seen, waiting = set(known), [error]
    first = True
    while waiting:
        one = waiting.pop()
        if one is not None and (first or id(one) not in seen):
            seen.add(id(one))
            yield one
            waiting += (one.__cause__, one.__context__, *_members(one))
        first = False


def _members(error: BaseException) -> Sequence[BaseException]:
    return error.exceptions if isinstance(error, BaseExceptionGroup) else ()


def _place(traceback: TracebackType | None) -> str:
    frames = tracebacks.extract_tb(traceback)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def failures() -> dict[tuple[str, str], int]:
    """How often foreign code failed, by (owner, where)."""
    return dict(_failures)


def forget_failures() -> None:
    """Starts the counts anew: the next failure of each pair is logged again (for tests)."""
    _failures.clear()
