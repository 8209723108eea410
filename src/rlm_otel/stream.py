"""What `stream()` and `astream()` return: the answer piece by piece, in an object that knows how it was left."""

import asyncio
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from inspect import GEN_RUNNING, getgeneratorstate
from types import TracebackType
from typing import Any, Self

from rlm_otel import reaper
from rlm_otel.conversation import Conversation, Steps, adrive, drive
from rlm_otel.effects import Effect, Reading, aperform, hang_up, perform
from rlm_otel.emitter import Emitter
from rlm_otel.errors import Leave
from rlm_otel.result import Result

Start = Callable[[], tuple[Conversation, Emitter]]


class RunStream:
    """A run whose answer is read with `for` (of `stream()`) or `async for` (of `astream()`).

    It starts at first use: entering its `with` or asking for the first piece; one that was never used makes no request.
    Read to its end it is `completed`; left early by `close()` or out of its `with` it is `closed`; by an exception in
    the `with`, `failed` with that exception; dropped without a word, `abandoned`. Raises what the run raises.
    """

    def __init__(self, start: Start, *, is_async: bool) -> None:
        self._start = start
        self._is_async = is_async
        self._conversation: Conversation | None = None
        self._emitter: Emitter | None = None
        self._steps: Steps | None = None
        self._reading: Reading | None = None
        self._finalizer: weakref.finalize[..., RunStream] | None = None
        self._done = False
        self._asked: Leave | None = None
        """How to end at the next step: asked for while the steps themselves were running."""

    @property
    def result(self) -> Result | None:
        """What the run came to, once it ended; whatever had come, where it was left early."""
        return self._conversation.result() if self._conversation is not None and self._done else None

    # Sync ------------------------------------------------------------

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        if self._reading is None:
            self._advance()
        while self._reading is not None:
            try:
                text = self._reading.pull()
            except BaseException as error:  # noqa: BLE001 - raised in the steps, which raise it again
                self._advance(error)
                continue
            if text is not None:
                return text
            self._advance()
        raise StopIteration

    def __enter__(self) -> Self:
        if self._reading is None:
            self._advance()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(error)

    def close(self) -> None:
        """Ends the run where it is; nothing happens the second time."""
        self._leave(None)

    def _leave(self, error: BaseException | None) -> None:
        steps = self._left(error)
        if steps is None:
            return
        try:
            drive(steps, _reason(error))
        except BaseException as raised:
            if not _is_the_leave(raised, error):
                raise
        finally:
            self._end()

    def _advance(self, error: BaseException | None = None) -> None:
        """Goes on to the next stream of text, or to the end of the run."""
        steps = self._running(is_async=False)
        answer: object = None
        try:
            while (effect := self._step(steps, answer, error)) is not None:
                answer, error = perform(effect)
        finally:
            del error  # its traceback holds this frame

    # Async ------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        if self._reading is None:
            await self._aadvance()
        while self._reading is not None:
            try:
                text = await self._reading.apull()
            except BaseException as error:  # noqa: BLE001 - raised in the steps, which raise it again
                await self._aadvance(error)
                continue
            if text is not None:
                return text
            await self._aadvance()
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        if self._reading is None:
            await self._aadvance()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._aleave(error)

    async def aclose(self) -> None:
        """Ends the run where it is; nothing happens the second time."""
        await self._aleave(None)

    async def _aleave(self, error: BaseException | None) -> None:
        steps = self._left(error)
        if steps is None:
            return
        try:
            await adrive(steps, _reason(error))
        except BaseException as raised:
            if not _is_the_leave(raised, error):
                raise
        finally:
            self._end()
            await self._drain()

    async def _aadvance(self, error: BaseException | None = None) -> None:
        steps = self._running(is_async=True)
        answer: object = None
        try:
            while (effect := self._step(steps, answer, error)) is not None:
                answer, error = await aperform(effect)
        finally:
            del error
            if self._done:
                await self._drain()

    async def _drain(self) -> None:
        if self._emitter is not None and self._emitter.async_hooks is not None:
            await self._emitter.async_hooks.drain()

    # Both ------------------------------------------------------------

    def _running(self, *, is_async: bool) -> Steps:
        """The steps, started at first use."""
        if is_async is not self._is_async:
            name, word = ("astream", "async ") if self._is_async else ("stream", "")
            msg = f"this stream was made by {name}(): read it with {word}for or {word}with"
            raise TypeError(msg)
        if self._steps is None and not self._done:
            self._conversation, self._emitter = self._start()
            self._steps = self._conversation.steps()
            reaper.start()
            loop = asyncio.get_running_loop() if is_async else None
            end = partial(_abandon, self._conversation, self._steps, loop)
            self._finalizer = weakref.finalize(self, reaper.put, end)
            self._finalizer.atexit = False  # at exit open spans end as abandoned with their callback
        return self._steps or _nothing()

    def _step(self, steps: Steps, answer: object, error: BaseException | None) -> Effect | None:
        """The next thing to do; None where the consumer's turn has come, or the end."""
        self._reading = None
        if self._done:
            return None
        try:
            effect = steps.send(answer) if error is None else steps.throw(error)
            while self._asked is not None:
                reason, self._asked = self._asked, None
                effect = steps.throw(reason)
        except (StopIteration, Leave):
            self._end()
            return None
        except BaseException:
            self._end()
            raise
        finally:
            del error
        if isinstance(effect, Reading) and effect.shown:
            self._reading = effect
            return None
        return effect

    def _left(self, error: BaseException | None) -> Steps | None:
        """The steps of a run that is to be left early; None where there is nothing to be done here."""
        steps, self._reading = self._steps, None
        if steps is not None and not self._done and getgeneratorstate(steps) == GEN_RUNNING:
            self._asked = _reason(error)  # a hook closes its own run, or another thread: its reader ends it
            return None
        was_done, self._done = self._done, True  # whoever is reading in another thread or task does no further step
        return None if was_done else steps

    def _end(self) -> None:
        self._done = True
        self._reading = None
        if self._finalizer is not None:
            self._finalizer.detach()


def _reason(error: BaseException | None) -> Leave:
    return Leave("closed") if error is None or isinstance(error, GeneratorExit) else Leave("failed", error)


def _is_the_leave(raised: BaseException, error: BaseException | None) -> bool:
    return isinstance(raised, Leave) or raised is error


def _abandon(conversation: Conversation, steps: Steps, loop: asyncio.AbstractEventLoop | None) -> None:
    """Ends a dropped run, in the reaper's thread, and then gives its connection back."""
    try:
        with suppress(Leave):
            steps.throw(Leave("abandoned"))
    finally:
        _give_back(conversation.open_stream, loop)


def _give_back(stream: Any, loop: asyncio.AbstractEventLoop | None) -> None:
    if stream is None:
        return
    if loop is None:
        stream.close()
    elif loop.is_running():
        asyncio.run_coroutine_threadsafe(hang_up(stream), loop)


def _nothing() -> Steps:
    """The steps of a stream that was closed before its first use."""
    yield from ()
    return Result()
