"""A failure on its way up through the operations that it leaves: recorded once, and told once, where it arose."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from rlm_otel.errors import weakly
from rlm_otel.outcome import Failure, Passage


class Told(NamedTuple):
    """Who knows already of an exception that came up from inside."""

    recorded: bool
    """Whether listeners have it with an operation: of a call refused at its start only hooks know."""
    listeners: bool
    """Whether they were told of it as a failure: of a tool's own the run or call tells that it leaves."""
    hooks: bool


_NOBODY: Final = Told(recorded=False, listeners=False, hooks=False)


class Risen(NamedTuple):
    """An exception that came up into an operation from one inside of it."""

    exception: Callable[[], BaseException | None]
    """Gives None where it is gone by now."""
    facts: tuple[str, str, int | None, str | None, str | None, float | None]
    """What was read of it: type, message, status, code, request id and when to try again."""
    told: Told
    state: tuple[int, ...]
    """How it was when it was read: the application may add something to it on the way."""


def risen(exception: BaseException, failure: Failure, told: Told) -> Risen:
    """What the operation above is to know: not the failure, which holds the exception and all that hangs on it."""
    it = failure
    facts = it.type, it.message, it.status, it.code, it.request_id, it.retry_after_s
    return Risen(weakly(exception), facts, told, _state(exception))


def _state(exception: BaseException) -> tuple[int, ...]:
    """By ids, which hold nothing."""
    return id(_args(exception)), *map(id, exception.__dict__.values())


_args: Final = BaseException.args.__get__  # type: ignore[attr-defined]  # a class may have its own, which fails


def told_inside(risen: Iterable[Risen], exception: BaseException | None) -> Told:
    """Who was told of it by an operation inside."""
    found = _NOBODY
    for one in risen:
        if exception is not None and one.exception() is exception:
            found = one.told if found is _NOBODY else Told(*map(max, found, one.told))
    return found


def failure_inside(risen: Iterable[Risen], exception: BaseException | None) -> Failure | None:
    """What an operation inside has read of it, if it still is as it was."""
    for one in risen:
        if exception is not None and one.exception() is exception and one.state == _state(exception):
            kind, message, status, code, request_id, retry_after_s = one.facts
            return Failure(
                type=kind,
                message=message,
                exception=exception,
                status=status,
                code=code,
                request_id=request_id,
                retry_after_s=retry_after_s,
            )
    return None


def passage(told: Told, exception: BaseException | None, *, leaves: bool) -> Passage:
    """How an operation stands to its failure."""
    if told.recorded:
        return "passing"
    return "new" if leaves or exception is None else "handled"
