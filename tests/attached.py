"""An application with its own openai client, observed: each way to ask it, and each way to read a stream, as one."""

import importlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

import openai
import pytest

from rlm_otel import instrument_openai
from rlm_otel.testing import ScriptedServer
from tests.rig import Rig

HTTP: Final[Any] = importlib.import_module(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
"""The HTTP library of this version of the SDK: `httpx2`, or `httpx` before 3.0."""
BROKE_OFF: Final[tuple[type[Exception], ...]] = (openai.APIConnectionError, HTTP.TransportError)
"""What the SDK raises where a connection breaks in the middle of a stream; before 3.0 what the library below does."""
HI: Final = [{"role": "user", "content": "Hi"}]
_SYNC: Final = ("create", "parse", "raw", "sr")
_SYNC_STREAMS: Final = ("stream", "raw_stream", "sr_stream", "helper")
_ASYNC: Final = tuple(f"a{way}" for way in _SYNC)
_ASYNC_STREAMS: Final = tuple(f"a{way}" for way in _SYNC_STREAMS)
"""`sr` is `with_streaming_response`, `helper` is `chat.completions.stream()`; async ones begin with an `a`."""

PLAIN: Final = pytest.mark.parametrize("way", [*_SYNC, *_ASYNC])
STREAMED: Final = pytest.mark.parametrize("way", [*_SYNC_STREAMS, *_ASYNC_STREAMS])
ANY_WAY: Final = pytest.mark.parametrize("way", [*_SYNC, *_ASYNC, *_SYNC_STREAMS, *_ASYNC_STREAMS])
EITHER: Final = pytest.mark.parametrize("way", ["create", "astream"])
"""For what is the same code in all ways."""
FOUR: Final = pytest.mark.parametrize("way", ["create", "acreate", "stream", "astream"])
TWO_STREAMS: Final = pytest.mark.parametrize("way", ["stream", "astream"])


def is_async(way: str) -> bool:
    return way.startswith("a")


def is_stream(way: str) -> bool:
    return way.endswith(("stream", "helper"))


def make(server: ScriptedServer, way: str, **options: Any) -> Any:
    """A client as an application makes it."""
    kind = openai.AsyncOpenAI if is_async(way) else openai.OpenAI
    return kind(base_url=server.base_url, api_key="any", **{"timeout": 10.0, **options})


async def close(client: Any) -> None:
    """Closes a client of either kind."""
    closing = client.close()
    if closing is not None:
        await closing


@asynccontextmanager
async def observed(
    rig: Rig,
    server: ScriptedServer,
    way: str,
    *,
    callbacks: Iterable[object] = (),
    include_usage: bool = False,
    **options: Any,
) -> AsyncIterator[Any]:
    """A client that is observed by the rig's callback and by these."""
    client = make(server, way, **options)
    instrument_openai(client, callbacks=[rig.callback, *callbacks], include_usage=include_usage)
    try:
        yield client
    finally:
        await close(client)


async def ask(client: Any, way: str, **request: Any) -> Any:
    """Asks in this way and reads to the end: the completion, or the list of chunks."""
    request = {"model": "gpt-4o", "messages": HI, **request}
    if is_stream(way):
        async with opened(client, way, **request) as stream:
            return [chunk async for chunk in stream]
    chat, sync_way = client.chat.completions, way.removeprefix("a") if is_async(way) else way
    if sync_way == "sr":
        return await _ask_streaming_response(chat, way, request)
    method = {"create": chat.create, "parse": chat.parse, "raw": chat.with_raw_response.create}[sync_way]
    reply = method(**request)
    reply = await reply if is_async(way) else reply
    return reply.parse() if sync_way == "raw" else reply


async def _ask_streaming_response(chat: Any, way: str, request: dict[str, Any]) -> Any:
    if is_async(way):
        async with chat.with_streaming_response.create(**request) as response:
            return await response.parse()
    with chat.with_streaming_response.create(**request) as response:
        return response.parse()


class View:
    """A stream of the SDK, to be read with `async for` whichever it is: its chunks, also of the helper's events."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._iterator = aiter(stream) if hasattr(stream, "__anext__") else iter(stream)

    def __aiter__(self) -> "View":
        return self

    async def __anext__(self) -> Any:
        while True:
            if hasattr(self._iterator, "__anext__"):
                item = await anext(self._iterator)
            else:
                try:
                    item = next(self._iterator)
                except StopIteration:
                    raise StopAsyncIteration from None
            if getattr(item, "type", "chunk") == "chunk":
                return getattr(item, "chunk", item)

    async def close(self) -> None:
        """As its consumer would."""
        closing = self.stream.close()
        if closing is not None:
            await closing


async def begin(client: Any, way: str, **request: Any) -> View:
    """Starts a stream without any `with`."""
    request = {"model": "gpt-4o", "messages": HI, "stream": True, **request}
    chat = client.chat.completions
    if way.endswith("raw_stream"):
        raw = chat.with_raw_response.create(**request)
        return View((await raw if is_async(way) else raw).parse())
    stream = chat.create(**request)
    return View(await stream if is_async(way) else stream)


@asynccontextmanager
async def opened(client: Any, way: str, **request: Any) -> AsyncIterator[View]:
    """A stream inside the `with` that the SDK has for it."""
    chat = client.chat.completions
    request = {"model": "gpt-4o", "messages": HI, **request}
    if way == "helper":
        with chat.stream(**request) as stream:
            yield View(stream)
    elif way == "ahelper":
        async with chat.stream(**request) as stream:
            yield View(stream)
    elif way == "sr_stream":
        with chat.with_streaming_response.create(stream=True, **request) as response:
            yield View(response.parse())
    elif way == "asr_stream":
        async with chat.with_streaming_response.create(stream=True, **request) as response:
            yield View(await response.parse())
    elif is_async(way):
        async with (await begin(client, way, **request)).stream as stream:
            yield View(stream)
    else:
        with (await begin(client, way, **request)).stream as stream:
            yield View(stream)


class Told:
    """A callback that notes the hooks that it was called with."""

    def __init__(self) -> None:
        self.hooks: list[str] = []
        self.errors: list[BaseException] = []
        self.texts: list[str] = []

    def on_llm_start(self, prompt: str) -> None:
        self.hooks.append("on_llm_start")

    def on_token(self, token: str) -> None:
        self.texts.append(token)

    def on_retry(self, attempt: int, max_attempts: int, error: BaseException) -> None:
        self.hooks.append(f"on_retry {attempt}/{max_attempts} {type(error).__name__}")

    def on_llm_end(self) -> None:
        self.hooks.append("on_llm_end")

    def on_error(self, error: BaseException) -> None:
        self.hooks.append("on_error")
        self.errors.append(error)


def facts(rig: Rig) -> tuple[object, ...]:
    """Of the one call: its span's status and finish reasons, and by outcome how often it is in the metrics."""
    chat = rig.span("chat gpt-4o")
    outcomes = {point.attributes["rlm.outcome"]: point.value for point in rig.points("rlm.client.operations")}
    return chat.status, chat.attributes.get("gen_ai.response.finish_reasons"), outcomes
