"""A failure on its way up through the operations that it leaves: recorded once, and told once, where it arose."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

from rlm_otel.outcome import Passage


class Risen(NamedTuple):
    """An exception that came up into an operation from one inside of it."""

    exception: Callable[[], BaseException | None]
    recorded: bool
    """Whether listeners have it with an operation: of a call refused at its start only hooks know."""
    listeners_told: bool
    """Whether they were told of it as a failure: of a tool's own the run or call tells that it leaves."""
    hooks_told: bool

    def is_of(self, exception: BaseException | None) -> bool:
        """Whether it is this one; an exception may be gone by now."""
        return exception is not None and self.exception() is exception


def passage(risen: Iterable[Risen], exception: BaseException | None, *, leaves: bool) -> Passage:
    """How an operation stands to its failure."""
    if exception is None:
        return "new"
    if any(one.recorded for one in risen if one.is_of(exception)):
        return "passing"
    return "new" if leaves else "handled"


def are_told(risen: Iterable[Risen], exception: BaseException | None) -> tuple[bool, bool]:
    """Whether listeners, and whether hooks, were told of it by an operation inside."""
    ways = [(one.listeners_told, one.hooks_told) for one in risen if one.is_of(exception)]
    return any(listeners for listeners, _ in ways), any(hooks for _, hooks in ways)
