"""The emitter hands events to listeners and, by plan, to the hooks of callbacks."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from rlm_otel.ambient import current_bracket, restore, running_hooks
from rlm_otel.callbacks import hooks
from rlm_otel.callbacks.fifo import AsyncHooks
from rlm_otel.callbacks.kinds import is_listener, is_tracing, only_listens
from rlm_otel.callbacks.plan import HOOKS, Hook, Payload, PlannedCallback, is_coroutine, plan
from rlm_otel.clock import SYSTEM_CLOCK, Clock, new_id
from rlm_otel.errors import StopRun
from rlm_otel.events import Chunk, Event, Finished, Link, Listener, Retrying, Started, Tracing
from rlm_otel.fence import fence, logger
from rlm_otel.outcome import Score
from rlm_otel.prices import PriceList

if TYPE_CHECKING:
    from rlm_otel.bracket import Bracket

Hooked = Mapping[str, tuple[tuple[PlannedCallback, Hook], ...]]
Told = tuple[Listener, str, bool]
"""A listener, the name of its class, and whether its exceptions go on (`raise_error = True`)."""

_NO_HOOKS: Final[Hooked] = MappingProxyType(dict.fromkeys(HOOKS, ()))
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
        self.listeners: list[Told] = []
        self._chunk_listeners: list[Told] = []
        self.tracing: Tracing | None = None
        self.chunk_times = False
        planned: list[PlannedCallback] = []
        for callback in listed:  # one loop, since each run comes here
            if is_listener(callback):
                self._listen(callback)
                if not only_listens(callback):
                    planned.append(plan(callback, must_have_hooks=False))
            else:
                planned.append(plan(callback))
        # The tracing learns of a start by `begin`; mostly there is nobody else.
        alone = len(self.listeners) == 1 and id(self.listeners[0][0]) == id(self.tracing)
        self.start_listeners = [] if alone else [it for it in self.listeners if id(it[0]) != id(self.tracing)]
        self._hooked = _hooked(planned)
        self.has_hooks = bool(planned)
        """Whether some callback may define some hook."""
        self.wants_tokens = bool(self._hooked["on_token"] or self._chunk_listeners)
        self._prices: PriceList | None = None
        self.silent = False

    def _listen(self, listener: Listener) -> None:
        told = listener, type(listener).__name__, getattr(listener, "raise_error", False) is True
        self.listeners.append(told)
        if getattr(listener, "chunks", False) is True:
            self._chunk_listeners.append(told)
        if getattr(listener, "chunk_times", False) is True:
            self.chunk_times = True
        if self.tracing is None and is_tracing(listener):
            self.tracing = listener

    def with_async_hooks(self, async_hooks: AsyncHooks) -> "Emitter":
        """The same for a block of async code inside of sync code, which waits for async hooks itself."""
        if self.silent:
            return self
        return Emitter(self.callbacks, clock=self.clock, make_id=self.make_id, async_hooks=async_hooks)

    def silenced(self) -> "Emitter":
        """One that tells nobody, for what happens inside `suppress()`."""
        if self.silent:
            return self
        silent = Emitter((), clock=self.clock, make_id=self.make_id)
        silent._prices, silent.silent = self.prices, True
        return silent

    @property
    def prices(self) -> PriceList:
        """The price list of the first callback that has one, so that all agree; else the public one."""
        if self._prices is None:
            self._prices = _prices(self.callbacks)
        return self._prices

    def has(self, hook: str) -> bool:
        """Whether some callback defines this hook."""
        return bool(self._hooked[hook])

    def tell(self, event: Event) -> None:
        """Gives an event to every listener, then raises the first `StopRun`, or exception of a strict one."""
        if self.listeners:
            _tell(self.listeners, event)

    def tell_start(self, started: Started) -> None:
        """Gives the start of an operation to all listeners but the tracing, which has begun it."""
        _tell(self.start_listeners, started)

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

    def call_start(self, started: Started, scope: "Bracket | None") -> None:
        """Calls the hook of an operation's start."""
        self.call(hooks.start_hook(started.operation), hooks.start_payload(started), scope)

    def call_end(self, finished: Finished, scope: "Bracket | None", *, is_for_on_error: bool) -> None:
        """Calls `on_error` where that is to be, then the hook of the end; a `StopRun` of the first is raised last."""
        name = hooks.end_hook(finished)
        stop: StopRun | None = None
        if is_for_on_error and self.has("on_error"):
            try:
                self.call("on_error", hooks.error_payload(finished), scope)
            except StopRun as raised:
                stop = raised
        if name is not None and self.has(name):
            self.call(name, hooks.end_payload(finished), scope)
        if stop is not None:
            raise stop

    def token(self, chunk: Chunk, scope: "Bracket | None") -> None:
        """Gives a piece of the answer to whoever wants tokens."""
        if self._chunk_listeners:
            _tell(self._chunk_listeners, chunk)
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
                with (
                    _Within(scope, planned.callback),
                    fence(planned.name, "on_retry", strict=planned.strict, before=_under_way(payload)),
                ):
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

    def feedback(self, link: Link | None, score: Score) -> None:
        """Has a score of an operation recorded, by its span."""
        record = getattr(self.tracing, "feedback", None)
        if record is not None:
            with fence(type(self.tracing).__name__, "feedback"):
                record(link, score)

    def _call_inline(
        self, planned: PlannedCallback, name: str, hook: Hook, payload: Payload, scope: "Bracket | None"
    ) -> None:
        with (
            _Within(scope, planned.callback),
            fence(planned.name, name, strict=planned.strict, before=_under_way(payload)),
        ):
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
                "%s.%s is an async hook and this run is not: it is skipped; use arun(), astream() or async with",
                planned.name,
                name,
            )


def _hooked(planned: Sequence[PlannedCallback]) -> Hooked:
    if not planned:
        return _NO_HOOKS
    hooked = dict(_NO_HOOKS)
    for name in {name for p in planned for name in p.hooks}:
        hooked[name] = tuple((p, p.hooks[name]) for p in planned if name in p.hooks)
    return hooked


def _tell(listeners: Iterable[Told], event: Event) -> None:
    first: Exception | None = None
    before = sys.exception()
    for listener, name, strict in listeners:
        try:
            listener.on_event(event)
        except Exception:  # noqa: BLE001 - the fence decides
            try:
                with fence(name, "on_event", strict=strict, before=before or _exception_of(event)):
                    raise
            except Exception as error:  # noqa: BLE001 - raised once all know
                first = first or error
    if first is not None:
        raise first


def _exception_of(event: Event) -> BaseException | None:
    """What the event tells of, which is no longer handled when a retry is told."""
    failure = getattr(event, "failure", None)
    return failure.exception if failure is not None else None


def _under_way(payload: Payload) -> BaseException | None:
    """What a hook is told of, which is no longer handled when it is a retry."""
    error = payload.get("error")
    return sys.exception() or (error if isinstance(error, BaseException) else None)


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
    for callback in callbacks:
        prices = getattr(callback, "prices", None)
        if isinstance(prices, PriceList):
            return prices
    return _public_prices()


@cache
def _public_prices() -> PriceList:
    return PriceList()
