"""Raw responses: `with_raw_response` and `with_streaming_response`, whose body is parsed when the caller wants it."""

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rlm_otel.adapters.openai.leaving import OWNER, Leaving, unwatch, watch
from rlm_otel.adapters.openai.replies import json_of, note_reply, verdict_of
from rlm_otel.adapters.openai.streams import Tap, listen
from rlm_otel.bracket import Bracket
from rlm_otel.callbacks.fifo import AsyncHooks
from rlm_otel.errors import Leave
from rlm_otel.fence import fence
from rlm_otel.outcome import Reply
from rlm_otel.reader.surfaces import Surface

if TYPE_CHECKING:
    from rlm_otel.adapters.openai.call import ObservedCall


class Body(Leaving):
    """A body that is not read yet: the caller parses it, or reads it in its own way."""

    def __init__(self, bracket: Bracket, surface: Surface, hooks: AsyncHooks | None) -> None:
        super().__init__(bracket, hooks)
        self._surface = surface
        self._whole = False

    def left(self, response: Any, error: BaseException | None, *, whole: bool) -> None:
        """Reads what is there; of a body that was read otherwise nothing is known but that it came."""
        if whole:  # it may be parsed now
            self._whole = True
            return
        body = json_of(response)
        if body is not None:
            self.parsed(body, response, error)
        elif error is not None:
            self.fail(error)
        else:
            self.end(None if self._whole else Leave("closed"))

    def parsed(self, reply: object, response: Any, error: BaseException | None = None) -> None:
        """Ends the call with its reply; with `error`, if that is leaving."""
        if self.over:
            return
        failure = None
        with fence(OWNER, "response"):
            failure = note_reply(self.bracket, self._surface, reply, response)
        if error is not None:
            self.fail(error)
        else:
            self.end(verdict_of(failure))

    def refused(self, error: BaseException, response: Any) -> None:
        """The SDK raised when it parsed the body."""
        body = json_of(response)
        if body is not None:
            self.parsed(body, response, error)
        elif not self.over:
            self.fail(error)


def follow_raw(call: "ObservedCall", raw: Any) -> bool:
    """Reads a raw response: at once if its body is there, else when it is parsed or closed. Whether it goes on."""
    http = raw.http_response
    call.saw(http, getattr(raw, "retries_taken", None))
    leaving: Tap | Body
    if call.streams:
        leaving = call.tap(http)
    elif not http.is_closed:
        leaving = call.body()
    else:
        # Not the SDK's own parsing: that may raise, and is for the caller to do.
        body = json_of(http)
        call.failure = note_reply(call.bracket, call.surface, http.text if body is None else body, http)
        if isinstance(reply := call.bracket.result, Reply):
            call.bracket.result = replace(reply, raw=raw)
        return False
    call.forget()
    watch(http, leaving, is_async=call.is_async)
    raw.parse = _async_parsing(raw, leaving) if inspect.iscoroutinefunction(raw.parse) else _parsing(raw, leaving)
    return True


def _parsing(raw: Any, leaving: Tap | Body) -> Any:
    parse, http = raw.parse, raw.http_response

    def parsing(*args: Any, **kwargs: Any) -> Any:
        try:
            parsed = parse(*args, **kwargs)
        except BaseException as error:
            _refused(leaving, error, http)
            raise
        _parsed(leaving, parsed, raw)
        return parsed

    return parsing


def _async_parsing(raw: Any, leaving: Tap | Body) -> Any:
    parse, http = raw.parse, raw.http_response

    async def parsing(*args: Any, **kwargs: Any) -> Any:
        try:
            parsed = await parse(*args, **kwargs)
        except BaseException as error:
            _refused(leaving, error, http)
            raise
        _parsed(leaving, parsed, raw)
        if leaving.over:
            await leaving.settle()
        return parsed

    return parsing


def _parsed(leaving: Tap | Body, parsed: Any, raw: Any) -> None:
    vars(raw).pop("parse", None)  # the SDK keeps what it parsed; ours holds the response, which would keep itself
    if isinstance(leaving, Body):
        leaving.parsed(parsed, raw.http_response)
        unwatch(raw.http_response)
    elif not leaving.over and not leaving.listens:
        with fence(OWNER, "response"):
            leaving.listens = listen(parsed, leaving)


def _refused(leaving: Tap | Body, error: BaseException, http: Any) -> None:
    if isinstance(leaving, Body):
        leaving.refused(error, http)
    else:
        leaving.fail(error)
