"""What the surroundings say: the operation that is current, labels, and which hooks are running in this context."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from contextvars import Context, ContextVar, Token
from typing import TYPE_CHECKING, Any, Final, TypeVar

from rlm_otel.events import Labels, Link, NamedPrompt

if TYPE_CHECKING:
    from rlm_otel.bracket import Bracket

current_bracket: Final[ContextVar["Bracket | None"]] = ContextVar("rlm_otel.current", default=None)
running_hooks: Final[ContextVar[tuple[object, ...]]] = ContextVar("rlm_otel.hooks", default=())
"""Callbacks whose hook is running: what a hook itself starts is not told to it, or it would never end."""
current_labels: Final[ContextVar[Labels]] = ContextVar("rlm_otel.labels", default=())
current_conversation: Final[ContextVar[str | None]] = ContextVar("rlm_otel.conversation", default=None)
current_prompt: Final[ContextVar[NamedPrompt | None]] = ContextVar("rlm_otel.prompt", default=None)
is_suppressed: Final[ContextVar[bool]] = ContextVar("rlm_otel.suppressed", default=False)
remote_parent: Final[ContextVar[Link | None]] = ContextVar("rlm_otel.remote", default=None)
"""The span of another process that what has no parent here belongs under."""
_SURROUNDINGS: Final[tuple[ContextVar[Any], ...]] = (
    current_conversation,
    current_prompt,
    is_suppressed,
    remote_parent,
)
V = TypeVar("V")


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
    with holding(current_labels, tuple({**dict(current_labels.get()), **labels}.items())):
        yield


@contextmanager
def conversation(id: str, /) -> Iterator[None]:  # noqa: A002 - what the conventions call it
    """The session that everything inside belongs to: `with rlm_otel.conversation("chat-17"): ...`.

    It is on spans as `gen_ai.conversation.id`, never on metrics. Inner ones win. Raises TypeError for what is no text.
    """
    with holding(current_conversation, _text("conversation", id)):
        yield


@contextmanager
def prompt(name: str, version: str | None = None) -> Iterator[None]:
    """The template that the prompts inside are made from: `with rlm_otel.prompt("summary", "3"): ...`.

    It is on the spans of model calls, as `gen_ai.prompt.name` and `gen_ai.prompt.version`. Inner ones win. Raises
    TypeError for what is no text.
    """
    named = NamedPrompt(_text("prompt", name), None if version is None else _text("prompt version", version))
    with holding(current_prompt, named):
        yield


@contextmanager
def suppress() -> Iterator[None]:
    """Nothing inside is observed: no callback is told of it, and no run outside counts it."""
    with holding(is_suppressed, True):
        yield


@contextmanager
def as_in(other: Context) -> Iterator[None]:
    """A block with the surroundings of another context; labels that are only here stay."""
    labels: Labels | None = other.get(current_labels)
    there = [variable for variable in _SURROUNDINGS if variable in other]
    if not labels and not there:  # as mostly
        yield
        return
    with ExitStack() as stack:
        stack.enter_context(attributes(**dict(labels or ())))
        for variable in there:
            stack.enter_context(holding(variable, other[variable]))
        yield


@contextmanager
def holding(variable: ContextVar[V], value: V) -> Iterator[None]:
    """A block in which the variable has this value."""
    token = variable.set(value)
    try:
        yield
    finally:
        restore(token)


def labels_inside(above: Labels) -> Labels:
    """The labels of what begins here below an operation: a bare thread has not those of the run above."""
    here = current_labels.get()
    if not above or not here or above == here:
        return here or above
    return tuple({**dict(above), **dict(here)}.items())


def current_operation() -> "Bracket | None":
    """The operation that runs in this context.

    A generator that is closed in another thread or task leaves its own behind here: that one is taken back now, where
    Python allows it, and otherwise passed over.
    """
    bracket = current_bracket.get()
    while bracket is not None and bracket.left_behind is not None:
        bracket.left_behind.__exit__(None, None, None)
        restored = current_bracket.get()
        bracket = bracket.parent if restored is bracket else restored
    return bracket


def restore(token: Token[Any]) -> None:
    """Takes back what a variable was set to.

    A coroutine that was dropped is closed by the garbage collector, in whatever context that runs: there it is not set.
    """
    try:
        token.var.reset(token)
    except (ValueError, RuntimeError):  # the latter: it was taken back before
        pass


def current_link() -> Link | None:
    """The span of the operation that runs in this context; None outside any, or where nothing makes spans."""
    bracket = current_operation()
    return bracket.link if bracket else None


def current_trace_id() -> str | None:
    """The trace id (32 hex digits) of the operation that runs in this context, for the application's own logs."""
    link = current_link()
    return link.trace_id if link else None


def annotate(**values: str | bool | int | float) -> None:
    """Adds attributes to the span of the operation that runs in this context; the names are yours.

    Outside of any operation it does nothing.
    """
    bracket = current_operation()
    if bracket is not None and bracket.link is not None:
        bracket.emitter.annotate(bracket.id, values)


def _text(what: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        msg = f"{what}({value!r}): give a text with something in it"
        raise TypeError(msg)
    return value
