"""Who sees what happens outside of our runner: the callbacks given, else the enclosing run's, else a shared one."""

from collections.abc import Iterable
from functools import cache
from typing import Final, Protocol

from rlm_otel.ambient import current_operation, is_suppressed
from rlm_otel.callbacks.fifo import AsyncHooks
from rlm_otel.emitter import Emitter

_DEFAULT_TIMEOUT_S: Final = 5.0


def emitter_for(callbacks: Iterable[object] | None, *, async_hooks: AsyncHooks | None = None) -> Emitter:
    """The emitter for one operation that begins here; inside a run without callbacks of its own it is the run's."""
    outer = current_operation()
    if callbacks is None and outer is not None:
        emitter = outer.emitter
    else:
        emitter = Emitter((shared_callback(),) if callbacks is None else callbacks, async_hooks=async_hooks)
    return emitter.silenced() if is_suppressed.get() else emitter


class _Sends(Protocol):
    """What is asked of the shared callback here."""

    def flush(self, timeout_s: float) -> bool: ...

    def shutdown(self, timeout_s: float) -> bool: ...


@cache
def shared_callback() -> _Sends:
    """The process's one `OTelCallback()` without arguments, made when somebody first needs it."""
    from rlm_otel import OTelCallback

    return OTelCallback()


def flush(timeout_s: float = _DEFAULT_TIMEOUT_S) -> bool:
    """Sends what is finished, of all that was told to no callback of yours: before a process is frozen or killed.

    False where that takes longer than `timeout_s` seconds. A callback that you made has a `flush` of its own.
    """
    return not _is_made() or shared_callback().flush(timeout_s)


def shutdown(timeout_s: float = _DEFAULT_TIMEOUT_S) -> bool:
    """The last of it: ends what is open as abandoned, sends everything, and closes private providers.

    For servers that end by a signal (uvicorn does), where nothing runs at the interpreter's exit. True if everything
    arrived within `timeout_s` seconds. What happens later is not recorded.
    """
    return not _is_made() or shared_callback().shutdown(timeout_s)


def _is_made() -> bool:
    return shared_callback.cache_info().currsize > 0
