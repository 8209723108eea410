"""The emitter hands events to listeners and, by plan, to the hooks of callbacks."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import TYPE_CHECKING, Final, TypeGuard

from rlm_otel.ambient import current_bracket, restore, running_hooks
from rlm_otel.callbacks import hooks
from rlm_otel.callbacks.fifo import AsyncHooks
from rlm_otel.callbacks.plan import HOOKS, Hook, Payload, PlannedCallback, is_coroutine, plan
from rlm_otel.clock import SYSTEM_CLOCK, Clock, new_id
from rlm_otel.errors import StopRun
from rlm_otel.events import Chunk, Event, Listener, Retrying, Tracing
from rlm_otel.fence import fence, logger
from rlm_otel.prices import PriceList

if TYPE_CHECKING:
    from rlm_otel.bracket import Bracket

_skipped_async: Final[set[tuple[str, str]]] = set()


class Emitter:
    """One run's callbacks, made ready: listeners get events, everything else gets the hooks that it defines.

    Raises TypeError for something that is no callback.
    """

    def __init__(
        self,
        callbacks: Iterable[object],
        *,
        clock: Clock = SYSTEM_CLOCK,
        make_id: Callable[[], str] = new_id,
        async_hooks: AsyncHooks | None = None,
    ) -> None:
        listed = tuple(callbacks)
        self.callbacks = listed
        self.clock = clock
        self.make_id = make_id
        self.async_hooks = async_hooks
        self.listeners: tuple[Listener, ...] = tuple(c for c in listed if is_listener(c))
        planned = [plan(c, must_have_hooks=not is_listener(c)) for c in listed]
        self._hooked: dict[str, tuple[tuple[PlannedCallback, Hook], ...]] = dict.fromkeys(HOOKS, ())
        for name in {name for p in planned for name in p.hooks}:
            self._hooked[name] = tuple((p, p.hooks[name]) for p in planned if name in p.hooks)
        self.tracing = next((c for c in self.listeners if is_tracing(c)), None)
        self._chunk_listeners = tuple(c for c in self.listeners if getattr(c, "chunks", False) is True)
        self.wants_tokens = bool(self._hooked["on_token"] or self._chunk_listeners)
        self.chunk_times = any(getattr(c, "chunk_times", False) is True for c in self.listeners)
        self.prices = _prices(listed)

    def has(self, hook: str) -> bool:
        """Whether some callback defines this hook."""
        return bool(self._hooked[hook])

    def tell(self, event: Event) -> None:
        """Gives an event to every listener."""
        for listener in self.listeners:
            with fence(type(listener).__name__, "on_event"):
                listener.on_event(event)

    def call(self, hook: str, payload: Payload, scope: "Bracket | None") -> None:
        """Calls one hook of every callback, in order, with `scope` as the current operation.

        All are called, then the first `StopRun` is raised. Async hooks are queued in async runs, skipped in sync ones.
        """
        stop: StopRun | None = None
        running = running_hooks.get()
        for planned, planned_hook in self._hooked[hook]:
            if any(planned.callback is other for other in running):
                continue
            if planned_hook.is_async:
                self._queue(planned, hook, partial(planned_hook.call, payload), scope)
                continue
            try:
                self._call_inline(planned, hook, planned_hook, payload, scope)
            except StopRun as error:
                stop = stop or error
        if stop is not None:
            raise stop

    def token(self, chunk: Chunk, scope: "Bracket | None") -> None:
        """Gives a piece of the answer to whoever wants tokens."""
        for listener in self._chunk_listeners:
            with fence(type(listener).__name__, "on_event"):
                listener.on_event(chunk)
        if self._hooked["on_token"]:
            self.call("on_token", hooks.token_payload(chunk, chunk.text), scope)

    def retry(self, event: Retrying, scope: "Bracket | None") -> float:
        """Tells of a failed attempt; returns the seconds that the hooks took: they are part of the wait."""
        self.tell(event)
        began = time.monotonic()
        if self._hooked["on_retry"]:
            self.call("on_retry", hooks.retry_payload(event), scope)
        return time.monotonic() - began

    async def aretry(self, event: Retrying, scope: "Bracket | None") -> float:
        """The same in an async run: a sync hook runs in a thread, since tutorials sleep in it; all are awaited."""
        self.tell(event)
        began = time.monotonic()
        payload = hooks.retry_payload(event)
        if self.async_hooks is not None:
            await self.async_hooks.drain()  # the call's own start hooks come first
        stop: StopRun | None = None
        for planned, hook in self._hooked["on_retry"]:
            if any(planned.callback is other for other in running_hooks.get()):
                continue
            try:
                with _Within(scope, planned.callback), fence(planned.name, "on_retry", strict=planned.strict):
                    result = hook.call(payload) if hook.is_async else await asyncio.to_thread(hook.call, payload)
                    if is_coroutine(result):
                        await result
            except StopRun as error:
                stop = stop or error
        if stop is not None:
            raise stop
        return time.monotonic() - began

    def check_stop(self) -> None:
        """Raises what an async hook raised to be heard: a `StopRun` takes effect before the next call."""
        if self.async_hooks is not None and self.async_hooks.stop is not None:
            stop, self.async_hooks.stop = self.async_hooks.stop, None
            raise stop

    def annotate(self, operation_id: str, values: Mapping[str, str | bool | int | float]) -> None:
        """Adds the user's attributes to an operation's span."""
        annotate = getattr(self.tracing, "annotate", None)
        if annotate is not None:
            with fence(type(self.tracing).__name__, "annotate"):
                annotate(operation_id, values)

    def _call_inline(
        self, planned: PlannedCallback, name: str, hook: Hook, payload: Payload, scope: "Bracket | None"
    ) -> None:
        with _Within(scope, planned.callback), fence(planned.name, name, strict=planned.strict):
            result = hook.call(payload)
            if is_coroutine(result):
                self._queue(planned, name, lambda: result, scope, made=result)

    def _queue(
        self,
        planned: PlannedCallback,
        name: str,
        call: Callable[[], object],
        scope: "Bracket | None",
        made: object = None,
    ) -> None:
        if self.async_hooks is not None:
            self.async_hooks.put(planned.callback, planned.name, name, planned.strict, partial(_awaited, scope, call))
            return
        close = getattr(made, "close", None)
        if close is not None:
            close()
        if (planned.name, name) not in _skipped_async:
            _skipped_async.add((planned.name, name))
            logger.warning(
                "%s.%s is an async hook and this run is not: it is skipped; use arun() or astream()", planned.name, name
            )


def is_listener(callback: object) -> TypeGuard[Listener]:
    """Whether it gets events: an object with `on_event`, of its class or its own (a Mock, which has all, is none)."""
    return callable(getattr(type(callback), "on_event", None)) or "on_event" in getattr(callback, "__dict__", {})


def is_tracing(listener: object) -> TypeGuard[Tracing]:
    """Whether it makes spans; `isinstance` with a protocol would cost each run as much as a span."""
    return hasattr(listener, "begin") and hasattr(listener, "current") and hasattr(listener, "suppressed")


class _Within:
    """One hook dispatch: its context knows the enclosing operation and which callback is running."""

    __slots__ = ("_callback", "_hooks", "_scope", "_token")

    def __init__(self, scope: "Bracket | None", callback: object) -> None:
        self._scope = scope
        self._callback = callback

    def __enter__(self) -> None:
        self._token = current_bracket.set(self._scope)
        self._hooks = running_hooks.set((*running_hooks.get(), self._callback))

    def __exit__(self, *_: object) -> None:
        restore(self._hooks)
        restore(self._token)


async def _awaited(scope: "Bracket | None", call: Callable[[], object]) -> object:
    token = current_bracket.set(scope)
    try:
        result = call()
        return await result if is_coroutine(result) else result  # type: ignore[misc]  # is_coroutine narrows nothing
    finally:
        restore(token)


def _prices(callbacks: tuple[object, ...]) -> PriceList:
    """The price list of the first callback that has one, so that all agree; else the public one."""
    own = (getattr(callback, "prices", None) for callback in callbacks)
    return next((prices for prices in own if isinstance(prices, PriceList)), None) or _public_prices()


@cache
def _public_prices() -> PriceList:
    return PriceList()
