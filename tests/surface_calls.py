"""One call of the real SDK, read by its surface and told to a callback: what an attached client does, without it."""

import asyncio
from typing import Any

import openai
from openai import AsyncOpenAI, OpenAI

from rlm_otel.bracket import Bracket
from rlm_otel.emitter import Emitter
from rlm_otel.reader import read_cost, surface_of
from rlm_otel.testing import Item, RecordedRequest, ScriptedServer
from rlm_otel.testing.endpoints import fetched


def by_sync(server: ScriptedServer, method: str, request: dict[str, Any]) -> Any:
    """What `client.<method>(**request)` gives, a stream as the list of what came."""
    with OpenAI(base_url=server.base_url, api_key="key", max_retries=0) as sdk:
        given = _method(sdk, method)(**request)
        return list(given) if isinstance(given, openai.Stream) else given


def by_async(server: ScriptedServer, method: str, request: dict[str, Any]) -> Any:
    """The same by the asynchronous client."""

    async def call() -> Any:
        async with AsyncOpenAI(base_url=server.base_url, api_key="key", max_retries=0) as sdk:
            given = await _method(sdk, method)(**request)
            return [one async for one in given] if isinstance(given, openai.AsyncStream) else given

    return asyncio.run(call())


def _method(sdk: Any, path: str) -> Any:
    for name in path.split("."):
        sdk = getattr(sdk, name)
    return sdk


def observe(emitter: Emitter, item: Item, method: str, parent: Bracket | None = None, **request: Any) -> Bracket:
    """One call against a server that answers with this item; the bracket tells how it ended."""
    with ScriptedServer([item]) as server:
        given = by_sync(server, method, request)
        return tell(emitter, server.requests[-1], given, parent)


def tell(emitter: Emitter, sent: RecordedRequest, given: Any, parent: Bracket | None) -> Bracket:
    """The events of a call that sent this and got that."""
    surface = surface_of(sent.path, sent.method)
    assert surface is not None
    body = sent.body if sent.method == "POST" else fetched(sent.path)
    headers = {"x-request-id": "req_1"}
    operation = surface.model_call(body, provider="openai", server_address="api.openai.com", server_port=443)
    with Bracket(emitter, operation, parent=parent) as call:
        call.attempts = 1
        if isinstance(given, list):
            reader = surface.chunk_reader(headers)
            for chunk in given:
                reader.feed(chunk)
            call.result, call.usage = reader.result()
            call.reported_cost, failure = reader.reported_cost, reader.failure()
            assert failure is not None or reader.complete()
        else:
            call.result, call.usage = surface.reply(given, headers)
            call.reported_cost, failure = read_cost(given), surface.failure(given)
        if failure is not None:
            call.finish(failure.exception)
    return call
