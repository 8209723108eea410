"""`llm_call`: one call of a model by any SDK or bare HTTP, told by the application as it goes."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from rlm_otel import semconv as sc
from rlm_otel.block import Block, Callbacks
from rlm_otel.bracket import Bracket
from rlm_otel.emitter import Emitter
from rlm_otel.errors import Leave
from rlm_otel.events import ModelCall, Retrying
from rlm_otel.messages import Message, Text
from rlm_otel.outcome import Reply, Usage
from rlm_otel.plain_json import json_of
from rlm_otel.reader import read_request
from rlm_otel.told import told_cost, told_messages, told_reasons, told_usage

_PORTS: Final = {"http": 80, "https": 443}
logger: Final = logging.getLogger("rlm_otel")

Piece = Literal["text", "reasoning", "tool_call"]


class LLMCall(Block):
    """One call of a model; made by `rlm_otel.llm_call`."""

    _finished: bool = False
    _last_ns: int = 0

    def __init__(self, call: ModelCall, callbacks: Callbacks) -> None:
        super().__init__(call, callbacks)
        self._texts: list[str] = []

    def chunk(self, text: str | None = "", *, kind: Piece = "text") -> None:
        """A piece of a streamed reply arrived, also an empty one; `kind` is what it is a piece of.

        The first one, the first with something in it, and the first of the answer's text are timed. What is no text
        counts as empty: vendors send None, and worse.
        """
        call = self._ours
        if self._finished:
            return
        text = text if isinstance(text, str) else ""
        if isinstance(call.operation, ModelCall) and not call.operation.stream:
            call.operation = replace(call.operation, stream=True)
            call.emitter.annotate(call.id, {sc.REQUEST_STREAM: True})
        now_ns = call.emitter.clock.monotonic_ns()
        elapsed_s = call.elapsed_s(now_ns)
        if call.first_chunk_s is None:
            call.first_chunk_s = elapsed_s
        elif call.emitter.chunk_times:
            call.chunk_gaps_s.append((now_ns - self._last_ns) / 1e9)
        self._last_ns = now_ns
        if call.first_token_s is None and (text or kind == "tool_call"):
            call.first_token_s = elapsed_s
        if kind == "text" and text:
            call.first_visible_s = elapsed_s if call.first_visible_s is None else call.first_visible_s
            self._texts.append(text)
            if call.emitter.wants_tokens and not call.origin.depth:
                call.token(text)

    def finish(
        self,
        text: str | None = None,
        *,
        usage: Usage | Mapping[str, object] | None = None,
        finish_reason: str | Iterable[str] | None = None,
        cost: float | None = None,
        model: str | None = None,
        response_id: str | None = None,
    ) -> None:
        """The reply is complete: the call ends here, not at the end of the `with`. Only the first time counts.

        `text`: else that of the chunks. `usage`: a `Usage`, a mapping with its names, or the usage block of OpenAI's or
        Anthropic's API as it came. `finish_reason`: in the vendor's words, one a choice. `cost`: in USD, where the
        vendor says so. `model`: the one that answered. Raises TypeError or ValueError for what is no usage, cost or
        reason.
        """
        call, counted, usd = self._ours, told_usage(usage), told_cost(cost)
        reasons = told_reasons(finish_reason)
        if self._finished:
            return
        self._finished = True
        said = self._texts if text is None else [json_of(text)]
        call.result = replace(_reply(said), finish_reasons=reasons, id=response_id, model=model)
        call.usage, call.reported_cost = counted, usd
        call.finish()

    def retrying(self, error: BaseException, *, delay_s: float = 0.0, max_attempts: int = 0) -> float:
        """An attempt failed and will be repeated in `delay_s` seconds, at most `max_attempts` times.

        It is on the span, in the metrics, and told to `on_retry`. Returns how many seconds the hooks took.
        """
        return self._ours.emitter.retry(self._retrying(error, delay_s, max_attempts), self._ours.run)

    async def aretrying(self, error: BaseException, *, delay_s: float = 0.0, max_attempts: int = 0) -> float:
        """The same in async code: hooks that sleep do not hold up the event loop."""
        return await self._ours.emitter.aretry(self._retrying(error, delay_s, max_attempts), self._ours.run)

    # Inside ------------------------------------------------------------

    def _retrying(self, error: BaseException, delay_s: float, max_attempts: int) -> Retrying:
        call = self._ours
        event = call.retrying(call.attempts, max_attempts, error, delay_s)
        call.attempts += 1
        return event

    def _begin(self, emitter: Emitter) -> Bracket:
        call = super()._begin(emitter)
        call.attempts = 1
        call.so_far = partial(_so_far, self._texts)  # not through this block: it would keep itself alive
        call.progress = self._texts.__len__
        return call

    def end(self, error: BaseException | None) -> None:
        """Ends it; left without `finish` and without an exception, it is `closed`: what came of it is not known."""
        if error is None and not self._finished:
            _hint()
            error = Leave("closed")
        super().end(error)

    def _before_end(self) -> None:
        if not self._finished:
            self._ours.result = _reply(self._texts)


def llm_call(
    *,
    provider: str,
    model: str,
    input: object = None,  # noqa: A002
    url: str | None = None,
    stream: bool = False,
    operation: str = "chat",
    request: Mapping[str, Any] | None = None,
    callbacks: Callbacks = None,
) -> LLMCall:
    """A call of a model that you make yourself, with another vendor's SDK or bare HTTP, also as `async with`.

        with rlm_otel.llm_call(provider="anthropic", model="claude-opus-4-5", input=question, url=url) as call:
            reply = post(url, ...)
            call.finish(text=..., usage=reply["usage"], finish_reason=reply["stop_reason"])

    `provider` is the vendor's name in the conventions; `input` text or messages; `url` gives `server.address`;
    `request` the parameters sent (temperature, max_tokens... in the OpenAI API's words); `operation` chat,
    text_completion or embeddings. Streams: `stream=True`, and `call.chunk(text)` for each piece. `callbacks`: as in
    `run`.
    """
    _check("provider", provider, "anthropic")
    _check("model", model, "gpt-4o")
    _check("operation", operation, "chat")
    address, port = _server(url)
    call = ModelCall(
        provider=provider,
        model=model,
        name=operation,
        server_address=address,
        server_port=port,
        stream=stream,
        request=read_request(request or {}),
        messages=told_messages(input),
    )
    return LLMCall(call, callbacks)


def _check(name: str, value: object, example: str) -> None:
    if not isinstance(value, str) or not value:
        msg = f"llm_call({name}={value!r}): give a text, such as {name}={example!r}"
        raise TypeError(msg)


def _server(url: str | None) -> tuple[str | None, int | None]:
    """Host and port of an address; both None where it has none."""
    if url is None:
        return None, None
    parts = urlsplit(str(url))
    try:
        port = parts.port
    except ValueError:  # no number
        return None, None
    port = port or _PORTS.get(parts.scheme)
    return (parts.hostname, port) if parts.hostname and port else (None, None)


def _reply(texts: list[str]) -> Reply:
    said = "".join(texts)
    return Reply(messages=(Message("assistant", (Text(said),)),) if said else ())


def _so_far(texts: list[str]) -> tuple[Reply, None]:
    return _reply(texts), None


@cache
def _hint() -> None:
    logger.warning("a block of llm_call was left without finish(): it is recorded as closed, without usage and cost")
