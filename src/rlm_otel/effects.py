"""What a run asks of the world: each effect is done in a sync and in an async way, everything else is written once."""

import asyncio
import contextvars
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, Protocol

from rlm_otel.bracket import Bracket
from rlm_otel.callbacks.fifo import AsyncHooks
from rlm_otel.clients import Clients
from rlm_otel.events import Retrying
from rlm_otel.reader import ChunkReader
from rlm_otel.timing import StreamTimes

if TYPE_CHECKING:
    from rlm_otel.execution import Execution

_END: Final = object()


class Effect(Protocol):
    """One thing to do; its result goes back into the run's steps, its exception is raised there."""

    def perform(self) -> Any:
        """Does it in the calling thread."""

    async def aperform(self) -> Any:
        """Does it in the running event loop."""


def perform(effect: Effect) -> tuple[object, BaseException | None]:
    """Its result, or what it raised: that is raised in the run's steps, where the brackets are."""
    try:
        return effect.perform(), None
    except BaseException as error:  # noqa: BLE001 - handed on
        return None, error


async def aperform(effect: Effect) -> tuple[object, BaseException | None]:
    """The same in an event loop."""
    try:
        return await effect.aperform(), None
    except BaseException as error:  # noqa: BLE001 - handed on
        return None, error


class Connect:
    """Finds the client to call with."""

    def __init__(self, clients: Clients, hooks: AsyncHooks | None) -> None:
        self.clients = clients
        self._hooks = hooks

    def perform(self) -> Any:
        return self.clients.sync()

    async def aperform(self) -> Any:
        if self._hooks is not None:
            await self._hooks.begin()
        return await self.clients.in_loop()


class Send:
    """One HTTP request, while the model call is current: HTTP spans become its children."""

    def __init__(self, call: Bracket, create: Callable[..., Any], arguments: dict[str, Any]) -> None:
        self._call = call
        self._create = create
        self._arguments = arguments

    def perform(self) -> Any:
        with self._call.current():
            return self._create(**self._arguments)

    async def aperform(self) -> Any:
        with self._call.current():
            return await self._create(**self._arguments)


class Reading:
    """The chunks of one stream. `pull` reads up to the next piece of visible text: the hot path."""

    def __init__(self, call: Bracket, stream: Any, headers: object, *, shown: bool) -> None:
        self.reader = ChunkReader(headers)
        self.shown = shown
        """Whether its text is the run's answer, for `stream()` and `on_token`."""
        self._call = call
        self._stream = stream
        self._tell = call.token if shown and call.emitter.wants_tokens else None
        self._times = StreamTimes(call)
        # The model call is current inside this context alone, which costs a tenth of setting it for each chunk.
        with call.current():
            self._context = contextvars.copy_context()
        self._chunks: Iterator[Any] | None = None

    def pull(self) -> str | None:
        """The next piece of the answer; None at the end of the stream."""
        if self._chunks is None:
            self._chunks = iter(self._stream)
        while True:
            chunk = self._context.run(next, self._chunks, _END)
            if chunk is _END:
                return None
            text = self.reader.feed(chunk)
            if self._times.wanted:
                self._times.note(self.reader)
            if text:
                if self._tell is not None:
                    self._tell(text)
                return text

    async def apull(self) -> str | None:
        """The same in an event loop."""
        while True:
            with self._call.current():
                chunk = await anext(self._stream, _END)
            if chunk is _END:
                return None
            text = self.reader.feed(chunk)
            if self._times.wanted:
                self._times.note(self.reader)
            if text:
                if self._tell is not None:
                    self._tell(text)
                return text

    def perform(self) -> None:
        while self.pull() is not None:
            pass

    async def aperform(self) -> None:
        while await self.apull() is not None:
            pass


class Close:
    """Gives a stream's connection back."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def perform(self) -> None:
        self._stream.close()

    async def aperform(self) -> None:
        await hang_up(self._stream)


async def hang_up(stream: Any) -> None:
    """Closes an async stream, the SDK's generator first: left to the collector, it and those inside are closed at once.

    The SDK has no public way to do that.
    """
    close_iterator = getattr(getattr(stream, "_iterator", None), "aclose", None)
    if close_iterator is not None:
        await close_iterator()
    await stream.close()


class Tell:
    """Tells of a failed attempt; the result is how many seconds the hooks took."""

    def __init__(self, call: Bracket, event: Retrying) -> None:
        self._call = call
        self._event = event

    def perform(self) -> float:
        return self._call.emitter.retry(self._event, self._call.run)

    async def aperform(self) -> float:
        return await self._call.emitter.aretry(self._event, self._call.run)


class Wait:
    """Waits before the next attempt."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def perform(self) -> None:
        time.sleep(self._seconds)

    async def aperform(self) -> None:
        await asyncio.sleep(self._seconds)


class Settle:
    """Waits until all async hooks have run; their `StopRun` leaves here."""

    def __init__(self, bracket: Bracket) -> None:
        self._emitter = bracket.emitter

    def perform(self) -> None:
        return None

    async def aperform(self) -> None:
        if self._emitter.async_hooks is not None:
            await self._emitter.async_hooks.drain()
        self._emitter.check_stop()


class Execute:
    """Runs the tools of one turn, at most `limit` at once; the result is their texts, in order."""

    def __init__(self, executions: "list[Execution]", limit: int) -> None:
        self._executions = executions
        self._limit = limit

    def perform(self) -> list[str]:
        if len(self._executions) == 1 and not self._executions[0].is_async:
            return [self._executions[0].run()]
        pool = ThreadPoolExecutor(min(len(self._executions), self._limit), "rlm-otel-tool")
        try:
            # A copy of the context for each: two threads cannot enter the same one.
            running = [pool.submit(contextvars.copy_context().run, execution.run) for execution in self._executions]
            return [future.result() for future in running]
        except Exception:  # StopRun: no further tool begins, and those that run belong to the run's sums
            pool.shutdown(wait=True, cancel_futures=True)
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    async def aperform(self) -> list[str]:
        gate = asyncio.Semaphore(self._limit)

        async def run(execution: "Execution") -> str:
            async with gate:
                return await execution.arun()

        tasks = [asyncio.create_task(run(execution)) for execution in self._executions]
        may_await = True
        try:
            return await asyncio.gather(*tasks)
        except GeneratorExit:  # a coroutine that is being closed may not await any more
            may_await = False
            raise
        finally:
            for task in tasks:
                task.cancel()
            if may_await:
                await asyncio.gather(*tasks, return_exceptions=True)
