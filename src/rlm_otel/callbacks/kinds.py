"""What kind of callback an object is: one that gets events, one that makes spans, or one with hooks to be planned."""

from functools import lru_cache
from typing import TypeGuard

from rlm_otel.callbacks.plan import HOOK_NAMES
from rlm_otel.events import Listener, Tracing


def is_listener(callback: object) -> TypeGuard[Listener]:
    """Whether it gets events: an object with `on_event`, of its class or its own (a Mock, which has all, is none)."""
    return callable(getattr(type(callback), "on_event", None)) or "on_event" in getattr(callback, "__dict__", {})


def is_tracing(listener: object) -> TypeGuard[Tracing]:
    """Whether it makes spans; `isinstance` with a protocol would cost each run as much as a span."""
    return hasattr(listener, "begin") and hasattr(listener, "current") and hasattr(listener, "suppressed")


@lru_cache(maxsize=256)
def _class_only_listens(kind: type) -> bool:
    """Whether a class has `on_event` and none of the hooks, so that there is nothing to plan for its objects."""
    if issubclass(kind, type) or hasattr(kind, "__getattr__") or kind.__getattribute__ is not object.__getattribute__:
        return False
    return callable(getattr(kind, "on_event", None)) and not any(hasattr(kind, name) for name in HOOK_NAMES)


def only_listens(callback: object) -> bool:
    """Whether it is a listener without any hook."""
    kind: type = type(callback)
    return _class_only_listens(kind) and HOOK_NAMES.isdisjoint(getattr(callback, "__dict__", ()))
