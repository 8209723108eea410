"""A `with` of the application as one operation: begun and current inside it, ended on every way out, sync and async."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import Self

from rlm_otel import reaper
from rlm_otel.ambient import current_bracket, current_operation, running_hooks
from rlm_otel.bracket import Bracket
from rlm_otel.callbacks.fifo import AsyncHooks
from rlm_otel.current import Current
from rlm_otel.emitter import Emitter
from rlm_otel.errors import Leave, StopRun
from rlm_otel.events import Finished, Operation
from rlm_otel.observing import emitter_for

Callbacks = Iterable[object] | None


class Block:
    """What a `with` of `run`, `tool` or `llm_call` gives; it can be entered once.

    Left in another thread or task than it was entered in (a generator that is closed elsewhere), it ends all the same,
    and its operation is current nowhere any more once one of ours begins there.
    """

    def __init__(self, operation: Operation, callbacks: Callbacks, agent: str | None = None) -> None:
        self._operation = operation
        self._callbacks = callbacks
        self._agent = agent
        self._hooks: AsyncHooks | None = None
        """Async hooks that are this block's to wait for."""
        self._bracket: Bracket | None = None
        self._current: Current | None = None

    # For the application ------------------------------------------------------------

    @property
    def id(self) -> str | None:
        """The operation's id, as in the hooks' `operation_id`; None before it began."""
        return self._bracket.id if self._bracket else None

    @property
    def trace_id(self) -> str | None:
        """32 hex digits; None before it began, or where nothing makes spans."""
        return self._bracket.link.trace_id if self._bracket and self._bracket.link else None

    @property
    def span_id(self) -> str | None:
        """16 hex digits; None before it began, or where nothing makes spans."""
        return self._bracket.link.span_id if self._bracket and self._bracket.link else None

    def __enter__(self) -> Self:
        self._enter(self._begin(emitter_for(self._callbacks)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()
        self.end(error)

    async def __aenter__(self) -> Self:
        self._enter(await self._abegin())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()
        await self.aend(error)

    # Inside ------------------------------------------------------------

    @property
    def _ours(self) -> Bracket:
        if self._bracket is None:
            msg = f"this {type(self).__name__} has not begun: use it in a with"
            raise RuntimeError(msg)
        return self._bracket

    def end(self, error: BaseException | None) -> None:
        """Ends it; the exception is how it was left."""
        bracket = self._ours
        self._before_end()
        if isinstance(error, GeneratorExit):
            # Perhaps the garbage collector closes us, anywhere: telling takes locks that may be held right here.
            self._tell_later(error)
        else:
            bracket.__exit__(type(error) if error else None, error, None)

    async def aend(self, error: BaseException | None) -> None:
        """The same in async code: its async hooks are waited for."""
        try:
            self.end(error)
        finally:
            if self._hooks is not None and not isinstance(error, GeneratorExit):  # what is being closed may not wait
                await self._hooks.drain()
        if error is None and self._hooks is not None:
            self._ours.emitter.check_stop()

    def abandon(self) -> None:
        """Ends it because nobody refers to it any more; for finalizers."""
        self._before_end()
        self._tell_later(Leave("abandoned"))

    def _begin(self, emitter: Emitter) -> Bracket:
        if self._bracket is not None:
            msg = f"this {type(self).__name__} was entered before; make a new one for each with"
            raise RuntimeError(msg)
        reaper.start()
        bracket = Bracket(emitter, self._operation, parent=current_operation(), agent=self._agent)
        bracket.begun_here = not running_hooks.get()  # in a hook the spans of the application are not those of the run
        bracket.__enter__()
        self._bracket = bracket
        return bracket

    async def _abegin(self) -> Bracket:
        emitter = emitter_for(self._callbacks)
        if emitter.has_hooks and emitter.async_hooks is None and running_loop() is not None:
            self._hooks = AsyncHooks()
            emitter = emitter.with_async_hooks(self._hooks)
        bracket = self._begin(emitter)
        if self._hooks is not None:
            try:
                await self._hooks.begin()
                bracket.emitter.check_stop()
            except BaseException as error:  # no `__aexit__` comes after this
                await self.aend(error)
                raise
        return bracket

    def _enter(self, bracket: Bracket) -> None:
        self._current = Current(bracket)
        self._current.__enter__()

    def _leave(self) -> None:
        """Makes it current no more; where something else is (another context, or a block above) that stays."""
        bracket, current = self._ours, self._current
        if current is None:
            return
        if current_bracket.get() is bracket:
            current.__exit__(None, None, None)
            if current_bracket.get() is not bracket:
                current_operation()  # what was left behind below is taken back as well
                return
        bracket.left_behind = current

    def _tell_later(self, error: BaseException) -> None:
        bracket = self._ours
        if (finished := bracket.end(error)) is not None:
            reaper.put(partial(_announce, bracket, finished))

    def _before_end(self) -> None:
        """Where a kind of block completes what it knows."""


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The event loop of this thread; None in sync code, and in async code of another library."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _announce(bracket: Bracket, finished: Finished) -> None:
    with suppress(StopRun):  # there is nobody left to stop
        bracket.announce(finished)
