"""The tap on the SDK's own stream object: it reports chunks and how the stream was left, and changes nothing."""

import contextvars
from collections.abc import Iterator
from typing import Any

from rlm_otel.adapters.openai.leaving import OWNER, Leaving, unwatch
from rlm_otel.adapters.openai.replies import verdict_of
from rlm_otel.adapters.openai.usage import Asking, hint, is_extra
from rlm_otel.bracket import Bracket
from rlm_otel.callbacks.fifo import AsyncHooks
from rlm_otel.errors import Leave, TornStream
from rlm_otel.fence import fence
from rlm_otel.reader.surfaces import StreamReader
from rlm_otel.timing import StreamTimes


class Tap(Leaving):
    """What is known of one stream while its consumer reads it."""

    def __init__(
        self,
        bracket: Bracket,
        reader: StreamReader,
        asking: Asking,
        hooks: AsyncHooks | None = None,
        *,
        shown: bool = True,
    ) -> None:
        super().__init__(bracket, hooks)
        self.hides_extra = asking.hides_extra
        self.listens = False
        """Whether it is in a stream of the SDK; a raw response may never become one."""
        self._hints = asking.hints
        self._reader = reader
        self._times = StreamTimes(bracket)
        self._tell = bracket.token if shown and bracket.emitter.wants_tokens else None
        bracket.so_far, bracket.progress = reader.result, reader.pieces

    def took(self, chunk: object) -> None:
        """A chunk was read; raises the `StopRun` of an `on_token`."""
        text = self._reader.feed(chunk)
        if self._times.wanted:
            with fence(OWNER, "timing"):
                self._times.note(self._reader)
        if text and self._tell is not None:
            self._tell(text)

    def read(self) -> None:
        """Notes the reply as far as it came."""
        self.bracket.result, self.bracket.usage = self._reader.result()
        self.bracket.reported_cost = self._reader.reported_cost

    def left(self, response: Any, error: BaseException | None, *, whole: bool) -> None:  # noqa: ARG002 - of the base
        """Ends the call where it is."""
        # Whole without a chunk: the consumer reads the lines itself, and nobody can tell what was in them.
        if error is not None:
            self.fail(error)
        else:
            self.end(None if whole and self.bracket.first_chunk_s is None else Leave("closed"))

    def drained(self) -> None:
        """The SDK's iterator came to its end."""
        if self.over:
            return
        verdict = None
        with fence(OWNER, "reader"):
            verdict = verdict_of(self._reader.failure())
            if verdict is None and not self._reader.complete():
                msg = "the stream ended without a finish reason: the answer is incomplete"
                verdict = Leave("failed", TornStream(msg))
        self.end(verdict)
        if self._hints and self.bracket.usage is None:
            hint()


def listen(stream: Any, tap: Tap) -> bool:
    """Puts the tap into the SDK's stream; False where it has no iterator to be tapped."""
    inner = getattr(stream, "_iterator", None)
    if hasattr(inner, "__anext__"):
        stream._iterator = AsyncChunks(inner, tap, stream.response)
    elif hasattr(inner, "__next__"):
        stream._iterator = Chunks(inner, tap, stream.response)
    else:
        return False
    return True


class Chunks:
    """The SDK's iterator, tapped; whatever else is asked of it, it is the SDK's."""

    def __init__(self, inner: Any, tap: Tap, response: Any) -> None:
        self._inner = inner
        self._tap = tap
        self._response = response
        self._reading = False
        # The model call is current inside this context alone, which costs a tenth of setting it for each chunk.
        with tap.bracket.current():
            self._context = contextvars.copy_context()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        tap = self._tap
        while True:
            # Two threads at once are told so by the SDK's iterator.
            chunk = next(self._inner) if tap.over or self._reading else self._read()
            if not tap.over:
                self._take(chunk)
            if not (tap.hides_extra and is_extra(chunk)):
                return chunk

    def _read(self) -> Any:
        self._reading = True
        try:
            return self._context.run(next, self._inner)
        except StopIteration:
            unwatch(self._response)
            self._tap.drained()
            raise
        except BaseException as error:
            unwatch(self._response)
            self._tap.fail(error)
            raise
        finally:
            self._reading = False

    def _take(self, chunk: object) -> None:
        try:
            self._tap.took(chunk)
        except BaseException as stop:  # of a hook: nobody reads on
            self._tap.fail(stop)
            self._response.close()
            raise


class AsyncChunks:
    """The same of an async stream."""

    def __init__(self, inner: Any, tap: Tap, response: Any) -> None:
        self._inner = inner
        self._tap = tap
        self._response = response

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def __aiter__(self) -> "AsyncChunks":
        return self

    async def __anext__(self) -> Any:
        tap = self._tap
        while True:
            chunk = await (anext(self._inner) if tap.over else self._read())
            if not tap.over:
                await self._take(chunk)
            if not (tap.hides_extra and is_extra(chunk)):
                return chunk

    async def _read(self) -> Any:
        tap = self._tap
        try:
            with tap.bracket.current():
                return await anext(self._inner)
        except StopAsyncIteration:
            unwatch(self._response)
            tap.drained()
            await tap.settle()
            raise
        except BaseException as error:
            unwatch(self._response)
            tap.fail(error)
            if isinstance(error, Exception):
                await tap.settle()
            raise

    async def _take(self, chunk: object) -> None:
        try:
            self._tap.took(chunk)
        except BaseException as stop:  # of a hook: nobody reads on
            self._tap.fail(stop)
            await self._response.aclose()
            raise
