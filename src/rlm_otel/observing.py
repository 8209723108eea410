"""Who sees what happens outside of our runner: the callbacks given, else the enclosing run's, else a shared one."""

from collections.abc import Iterable
from functools import cache

from rlm_otel.ambient import current_operation, is_suppressed
from rlm_otel.callbacks.fifo import AsyncHooks
from rlm_otel.emitter import Emitter


def emitter_for(callbacks: Iterable[object] | None, *, async_hooks: AsyncHooks | None = None) -> Emitter:
    """The emitter for one operation that begins here; inside a run without callbacks of its own it is the run's."""
    outer = current_operation()
    if callbacks is None and outer is not None:
        emitter = outer.emitter
    else:
        emitter = Emitter((shared_callback(),) if callbacks is None else callbacks, async_hooks=async_hooks)
    return emitter.silenced() if is_suppressed.get() else emitter


@cache
def shared_callback() -> object:
    """The process's one `OTelCallback()` without arguments, made when somebody first needs it."""
    from rlm_otel import OTelCallback

    return OTelCallback()
