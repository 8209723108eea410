"""One observed call: the bracket around the SDK's own `request`, the same `with` for sync and async clients."""

import sys
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from rlm_otel.adapters.openai.leaving import OWNER, watch
from rlm_otel.adapters.openai.raw import Body, follow_raw
from rlm_otel.adapters.openai.replies import json_of, note_reply, verdict_of
from rlm_otel.adapters.openai.streams import Tap, listen
from rlm_otel.adapters.openai.usage import Asking
from rlm_otel.ambient import restore, running_hooks
from rlm_otel.bracket import Bracket
from rlm_otel.callbacks.fifo import AsyncHooks
from rlm_otel.events import ModelCall, Retrying
from rlm_otel.fence import fence
from rlm_otel.outcome import Failure
from rlm_otel.reader.surfaces import Surface

if TYPE_CHECKING:
    from rlm_otel.adapters.openai.observer import Observer

_RETRIES_HEADER: Final = "x-stainless-retry-count"

sending: Final[ContextVar["ObservedCall | None"]] = ContextVar("rlm_otel.adapters.openai.sending", default=None)
"""The call whose request is under way in this context: the SDK's own steps look it up here."""


class ObservedCall:
    """A request from its start to its end; where a stream came back, to the end of that.

    Entering raises what a start hook raised: then nothing is sent.
    """

    def __init__(
        self,
        observer: "Observer",
        bracket: Bracket,
        surface: Surface,
        asking: Asking,
        *,
        is_async: bool,
        shown: bool,
        hooks: AsyncHooks | None,
    ) -> None:
        self.observer = observer
        self.bracket = bracket
        self.surface = surface
        self.asking = asking
        self.is_async = is_async
        self._shown = shown
        self.failure: Failure | None = None
        """What the reply says itself that went wrong."""
        self._hooks = hooks  # those of a run around it are the run's to wait for
        self._response: Any = None
        self._goes_on = False
        self.wait_s: float | None = None
        """How long the SDK is going to wait before it repeats the request, seconds."""

    # The request ------------------------------------------------------------

    def __enter__(self) -> Self:
        self.bracket.__enter__()
        self.bracket.attempts = 1
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None:
            with fence(OWNER, "error"):
                self._read_error(error)
            self.bracket.__exit__(kind, error, traceback)
        elif not self._goes_on:
            self.bracket.finish(verdict_of(self.failure))

    def sends(self) -> "_Sending":
        """What surrounds the SDK's own `request`: the call is current, so that HTTP spans become its children."""
        return _Sending(self)

    def came(self, response: object) -> None:
        """Reads what came back. A stream, or a body that nobody has read yet, goes on as this call."""
        with fence(OWNER, "response"):
            self._goes_on = self._follow(response)

    def saw(self, response: Any, retries_taken: object) -> None:
        """The SDK got an HTTP response for which it does not repeat the request."""
        self._response = response
        if isinstance(retries_taken, int):
            self.bracket.attempts = max(self.bracket.attempts, retries_taken + 1)

    def spent(self, seconds: float) -> None:
        """Hooks took so long: they are part of the wait."""
        if self.wait_s is not None:
            self.wait_s = max(0.0, self.wait_s - seconds)

    def take_wait(self) -> float | None:
        """The wait that was told to hooks, once."""
        wait_s, self.wait_s = self.wait_s, None
        return wait_s

    # What came back ------------------------------------------------------------

    def tap(self, response: Any) -> Tap:
        """Reads the stream that begins with this HTTP response."""
        reader = self.surface.chunk_reader(getattr(response, "headers", None))
        return Tap(self.bracket, reader, self.asking, self._hooks, shown=self._shown)

    def body(self) -> Body:
        """Waits for a body."""
        return Body(self.bracket, self.surface, self._hooks)

    @property
    def streams(self) -> bool:
        """Whether the reply is a stream."""
        return isinstance(self.bracket.operation, ModelCall) and self.bracket.operation.stream

    def forget(self) -> None:
        """Lets go of the HTTP response: whether its consumer drops it is seen by the collector."""
        self._response = None

    def _follow(self, response: Any) -> bool:
        import openai

        if isinstance(response, openai.Stream | openai.AsyncStream):
            http = response.response
            self.forget()
            tap = self.tap(http)
            tap.listens = listen(response, tap)
            if tap.listens:  # else nobody could tell its end
                watch(http, tap, is_async=self.is_async)
            return tap.listens
        if hasattr(response, "http_response") and callable(getattr(response, "parse", None)):
            return follow_raw(self, response)
        reply = json_of(response) if hasattr(response, "is_stream_consumed") else response
        self.failure = note_reply(self.bracket, self.surface, reply, self._response)
        return False

    def _read_error(self, error: BaseException) -> None:
        sent = getattr(getattr(error, "request", None), "headers", None)
        retried = sent.get(_RETRIES_HEADER) if sent is not None else None
        if isinstance(retried, str) and retried.isdigit():
            self.bracket.attempts = max(self.bracket.attempts, int(retried) + 1)
        reply = json_of(self._response)
        if reply is not None and self.bracket.result is None:  # it did come: the SDK refused it afterwards
            note_reply(self.bracket, self.surface, reply, self._response)

    # Hooks ------------------------------------------------------------

    def tell_retry(self, event: Retrying) -> None:
        """Tells of a failed attempt; what the hooks take is part of the wait."""
        self.spent(self.bracket.emitter.retry(event, self.bracket.run))

    async def atell_retry(self, event: Retrying) -> None:
        """The same in async code; in a hook nothing is awaited: it may itself be what would be waited for."""
        emitter, run = self.bracket.emitter, self.bracket.run
        awaited = emitter.async_hooks is not None and not running_hooks.get()
        self.spent(await emitter.aretry(event, run) if awaited else emitter.retry(event, run))

    async def heed(self) -> None:
        """Lets async start hooks run up to where they first wait; raises the `StopRun` of one."""
        if self._hooks is not None:
            await self._hooks.begin()
            self.bracket.emitter.check_stop()

    async def settle(self) -> None:
        """Waits until all async hooks have run; raises the `StopRun` of one."""
        if self._hooks is not None and not self._goes_on:
            await self._hooks.drain()
            if sys.exception() is None:
                self.bracket.emitter.check_stop()


class _Sending:
    """One `request` of the SDK."""

    __slots__ = ("_call", "_current", "_token")

    def __init__(self, call: ObservedCall) -> None:
        self._call = call
        self._current = call.bracket.current()

    def __enter__(self) -> None:
        self._token = sending.set(self._call)
        self._current.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._current.__exit__(None, None, None)
        restore(self._token)
