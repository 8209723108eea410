"""What the surroundings say: the operation that is current, labels, and which hooks are running in this context."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, Final

from rlm_otel.events import Labels, Link

if TYPE_CHECKING:
    from rlm_otel.bracket import Bracket

current_bracket: Final[ContextVar["Bracket | None"]] = ContextVar("rlm_otel.current", default=None)
running_hooks: Final[ContextVar[tuple[object, ...]]] = ContextVar("rlm_otel.hooks", default=())
"""Callbacks whose hook is running: what a hook itself starts is not told to it, or it would never end."""
current_labels: Final[ContextVar[Labels]] = ContextVar("rlm_otel.labels", default=())


@contextmanager
def attributes(**labels: str) -> Iterator[None]:
    """Labels everything inside, whoever makes it: `with rlm_otel.attributes(team="search"): ...`.

    They are on spans as `rlm.label.<key>`, and on `rlm.*` metrics where `OTelCallback(labels=...)` declares them.
    Inner ones win. Use it in a `with` that does not cross a `yield`. Raises TypeError for a value that is no str.
    """
    given: dict[str, object] = {**labels}
    for key, value in given.items():
        if not isinstance(value, str):
            msg = f"attributes({key}={value!r}): a label is a str; write {key}={str(value)!r}"
            raise TypeError(msg)
    token = current_labels.set(tuple({**dict(current_labels.get()), **labels}.items()))
    try:
        yield
    finally:
        current_labels.reset(token)


def restore(token: Token[Any]) -> None:
    """Takes back what a variable was set to.

    A coroutine that was dropped is closed by the garbage collector, in whatever context that runs: there it is not set.
    """
    try:
        token.var.reset(token)
    except ValueError:
        pass


def current_link() -> Link | None:
    """The span of the operation that runs in this context; None outside any, or where nothing makes spans."""
    bracket = current_bracket.get()
    return bracket.link if bracket else None


def current_trace_id() -> str | None:
    """The trace id (32 hex digits) of the operation that runs in this context, for the application's own logs."""
    link = current_link()
    return link.trace_id if link else None


def annotate(**values: str | bool | int | float) -> None:
    """Adds attributes to the span of the operation that runs in this context; the names are yours.

    Outside of any operation it does nothing.
    """
    bracket = current_bracket.get()
    if bracket is not None and bracket.link is not None:
        bracket.emitter.annotate(bracket.id, values)
