"""What kind of callback an object is: one that gets events, one that makes spans, or one with hooks to be planned."""

from functools import lru_cache
from typing import NamedTuple, TypeGuard

from rlm_otel.callbacks.plan import HOOK_NAMES
from rlm_otel.events import Listener, Tracing


class _Kind(NamedTuple):
    """What all objects of a class are."""

    listens: bool
    makes_spans: bool
    only_listens: bool
    """Whether it has none of the hooks, so that there is nothing to plan."""


def is_listener(callback: object) -> TypeGuard[Listener]:
    """Whether it gets events: an object with `on_event`, of its class or its own (a Mock, which has all, is none)."""
    kind: type = type(callback)
    return _kind(kind).listens or "on_event" in getattr(callback, "__dict__", {})


def is_tracing(listener: object) -> TypeGuard[Tracing]:
    """Whether it makes spans; `isinstance` with a protocol would cost each run as much as a span."""
    kind: type = type(listener)
    return _kind(kind).makes_spans or _makes_spans(listener)


def only_listens(callback: object) -> bool:
    """Whether it is a listener without any hook."""
    kind: type = type(callback)
    return _kind(kind).only_listens and HOOK_NAMES.isdisjoint(getattr(callback, "__dict__", ()))


@lru_cache(maxsize=256)
def _kind(kind: type) -> _Kind:
    listens = callable(getattr(kind, "on_event", None))
    if issubclass(kind, type) or hasattr(kind, "__getattr__") or kind.__getattribute__ is not object.__getattribute__:
        return _Kind(listens, _makes_spans(kind), only_listens=False)
    return _Kind(listens, _makes_spans(kind), listens and not any(hasattr(kind, name) for name in HOOK_NAMES))


def _makes_spans(listener: object) -> bool:
    return hasattr(listener, "begin") and hasattr(listener, "current") and hasattr(listener, "suppressed")
