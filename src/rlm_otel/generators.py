"""Generators as blocks: from the first item to the end, each step in a context of its own, nothing current between.

The body of such a generator runs in a copy of the context in which it was called, with the labels and the operation of
there: a web framework reads it after the view has returned. What the body sets in it (a span, a variable of the
application) stays there: the consumer never sees it, and closing it in another thread or task finds it as it was.
"""

import asyncio
import contextvars
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial
from types import AsyncGeneratorType, GeneratorType, TracebackType
from typing import Any, Final

from rlm_otel.block import Block, running_loop
from rlm_otel.content import LIMIT_CHARS
from rlm_otel.errors import Leave


class _Pieces:
    """What a generator gave, as its result: text pieces joined, up to a limit; or the value that it returned."""

    def __init__(self, block: Any) -> None:
        self._block = block
        self._texts: list[str] = []
        self._room = 2 * LIMIT_CHARS

    def add(self, item: object) -> None:
        if isinstance(item, str) and self._room > 0:
            self._texts.append(item)
            self._room -= len(item)

    def tell(self, returned: object = None) -> None:
        if returned is not None or self._texts:
            self._block.result("".join(self._texts) if returned is None else returned)


class ObservedGenerator(Generator[object, object, object]):
    """A generator whose iteration is one operation; dropped before its end, that is `abandoned`."""

    _is_open: bool = False
    _ended: bool = False

    def __init__(self, inner: "GeneratorType[object, object, object]", block: Block) -> None:
        self._inner = inner
        self._block = block
        self._pieces = _Pieces(block)
        self._context = contextvars.copy_context()

    def send(self, value: object) -> object:
        """Goes on to the next item."""
        if not self._is_open and not self._ended:
            self._ended = True  # unless it begins: what a hook stopped is over, as any generator that raised
            self._context.run(self._block.__enter__)
            self._is_open, self._ended = True, False
        return self._step(partial(self._inner.send, value))

    def throw(self, kind: object, value: object = None, traceback: TracebackType | None = None) -> object:
        """Raises an exception where the generator waits."""
        error = _thrown(kind, value, traceback)
        return self._step(partial(self._inner.throw, error))

    def close(self) -> None:
        """Ends it where it is."""
        if not self._is_open or self._inner.gi_running:
            self._ended = self._ended or not self._is_open
            self._inner.close()
            return
        try:
            self._context.run(self._inner.close)
        except BaseException as error:
            self._end(error)
            raise
        self._end(Leave("closed"))

    def _step(self, step: Callable[[], object]) -> object:
        if not self._is_open:
            if self._ended:
                self._inner.close()  # it may never have begun
            return step()
        if self._inner.gi_running:  # in its own body, or in another thread: it says so itself, and goes on
            return step()
        try:
            item = self._context.run(step)
        except StopIteration as stop:
            self._pieces.tell(stop.value)
            self._end(None)
            raise
        except BaseException as error:
            self._end(error)
            raise
        self._pieces.add(item)
        return item

    def _end(self, error: BaseException | None) -> None:
        self._is_open, self._ended = False, True
        if error is not None:
            self._pieces.tell()
        self._block.end(error)

    def __del__(self) -> None:
        if self._is_open:
            self._is_open = False
            try:
                self._context.run(self._inner.close)
            finally:
                self._pieces.tell()
                self._block.abandon()


class ObservedAsyncGenerator(AsyncGenerator[object, object]):
    """The same of an async generator."""

    _is_open: bool = False
    _ended: bool = False
    _loop: asyncio.AbstractEventLoop | None = None

    def __init__(self, inner: "AsyncGeneratorType[object, object]", block: Block) -> None:
        self._inner = inner
        self._block = block
        self._pieces = _Pieces(block)
        self._context = contextvars.copy_context()

    async def asend(self, value: object) -> object:
        """Goes on to the next item."""
        if not self._is_open and not self._ended:
            self._ended = True
            await _Within(self._context, self._block.__aenter__)
            self._is_open, self._ended = True, False
            self._loop = running_loop()
        return await self._step(partial(self._inner.asend, value))

    async def athrow(self, kind: object, value: object = None, traceback: TracebackType | None = None) -> object:
        """Raises an exception where the generator waits."""
        error = _thrown(kind, value, traceback)
        return await self._step(partial(self._inner.athrow, error))

    async def aclose(self) -> None:
        """Ends it where it is."""
        if not self._is_open or self._inner.ag_running:
            self._ended = self._ended or not self._is_open
            await self._inner.aclose()
            return
        try:
            await _Within(self._context, self._inner.aclose)
        except BaseException as error:
            await self._end(error)
            raise
        await self._end(Leave("closed"))

    async def _step(self, step: Callable[[], Awaitable[object]]) -> object:
        if not self._is_open:
            if self._ended:
                await self._inner.aclose()
            return await step()
        if self._inner.ag_running:  # another task waits for it
            return await step()
        try:
            item = await _Within(self._context, step)
        except StopAsyncIteration:
            await self._end(None)
            raise
        except BaseException as error:
            await self._end(error)
            raise
        self._pieces.add(item)
        return item

    async def _end(self, error: BaseException | None) -> None:
        self._is_open, self._ended = False, True
        self._pieces.tell()
        await self._block.aend(error)

    def __del__(self) -> None:
        if self._is_open:
            self._is_open = False
            self._pieces.tell()
            self._block.abandon()
            if self._loop is not None and not self._loop.is_closed():  # as asyncio itself does, but in our context
                self._loop.call_soon_threadsafe(_close_soon, self._loop, self._inner, self._context)


def _thrown(kind: Any, value: object, traceback: TracebackType | None) -> BaseException:
    """The exception that `throw` was given, in its older form as well: class, value and traceback."""
    error: Any = kind if value is None else value
    if not isinstance(error, BaseException):
        error = kind() if value is None else kind(value)
    thrown: BaseException = error if traceback is None else error.with_traceback(traceback)
    return thrown


class _Within:
    """Awaits something in a context: each step of it runs there."""

    def __init__(self, context: contextvars.Context, begin: Callable[[], Awaitable[object]]) -> None:
        self._context = context
        self._begin = begin

    def __await__(self) -> Generator[object, object, object]:
        run = self._context.run
        steps: Generator[object, object, object] = run(lambda: self._begin().__await__())
        go_on: Any
        go_on, value = steps.send, None
        while True:
            try:
                waiting_for = run(go_on, value)
            except StopIteration as done:
                return done.value
            try:
                go_on, value = steps.send, (yield waiting_for)
            except BaseException as error:  # noqa: BLE001 - raised where the awaited thing waits
                go_on, value = steps.throw, error


_closing: Final[set[asyncio.Task[None]]] = set()
"""The event loop alone would let go of its tasks."""


def _close_soon(
    loop: asyncio.AbstractEventLoop, inner: AsyncGenerator[object, object], context: contextvars.Context
) -> None:
    task = loop.create_task(_closed(inner), context=context)
    _closing.add(task)
    task.add_done_callback(_closing.discard)


async def _closed(inner: AsyncGenerator[object, object]) -> None:
    await inner.aclose()
