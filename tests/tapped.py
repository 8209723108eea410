"""A runner whose HTTP client tells of what it does: each event of a stream before the SDK gets it, and its closing."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Unpack

import httpx2
from openai import AsyncOpenAI, OpenAI

from rlm_otel.clients import Clients
from rlm_otel.rlm import RLM
from rlm_otel.testing import ScriptedServer
from rlm_otel.testing.runner import RunnerOptions
from tests.rig import Rig


def _nothing(*_: object) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """What to call; an exception goes to the SDK as one of the transport."""

    send: Callable[[], object] = _nothing
    """Before a request is sent."""
    read: Callable[[int], object] = _nothing
    """Before an event is given to the SDK; its number, from 1."""
    close: Callable[[], object] = _nothing
    """After a response was closed."""


@asynccontextmanager
async def tapped(rig: Rig, server: ScriptedServer, tap: Tap, **options: Unpack[RunnerOptions]) -> AsyncIterator[RLM]:
    """A runner with clients of the user's own, a sync and an async one, that are tapped."""
    options.setdefault("callbacks", [rig.callback])
    where: dict[str, Any] = {"base_url": server.base_url, "api_key": "scripted", "timeout": 10.0}
    with httpx2.Client(transport=_Transport(tap)) as http:
        async with httpx2.AsyncClient(transport=_AsyncTransport(tap)) as async_http:
            client = OpenAI(**where, http_client=http)
            async_client = AsyncOpenAI(**where, http_client=async_http)
            yield RLM("gpt-4o", Clients(client=client, async_client=async_client), **options)


class _Transport(httpx2.HTTPTransport):
    def __init__(self, tap: Tap) -> None:
        super().__init__()
        self._tap = tap

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        self._tap.send()
        response = super().handle_request(request)
        response.stream = _Stream(response.stream, self._tap)
        return response


class _Stream(httpx2.SyncByteStream):
    def __init__(self, stream: Any, tap: Tap) -> None:
        self._stream = stream
        self._tap = tap

    def __iter__(self) -> Iterator[bytes]:
        for number, event in enumerate(_events(self._stream), start=1):
            self._tap.read(number)
            yield event

    def close(self) -> None:
        self._stream.close()
        self._tap.close()


class _AsyncTransport(httpx2.AsyncHTTPTransport):
    def __init__(self, tap: Tap) -> None:
        super().__init__()
        self._tap = tap

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self._tap.send()
        response = await super().handle_async_request(request)
        response.stream = _AsyncStream(response.stream, self._tap)
        return response


class _AsyncStream(httpx2.AsyncByteStream):
    def __init__(self, stream: Any, tap: Tap) -> None:
        self._stream = stream
        self._tap = tap

    async def __aiter__(self) -> AsyncIterator[bytes]:
        number = 0
        async for piece in self._stream:
            for event in _events([piece]):
                number += 1
                self._tap.read(number)
                yield event

    async def aclose(self) -> None:
        await self._stream.aclose()
        self._tap.close()


def _events(pieces: Any) -> Iterator[bytes]:
    """One event at a time, however the network cut them: the server sends whole ones."""
    for piece in pieces:
        yield from (event + b"\n\n" for event in piece.split(b"\n\n") if event)
