"""A FastAPI service with OpenTelemetry's instrumentations and an observed client: request > call > HTTP, each once."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.instrumentation.httpx import HTTPX2ClientInstrumentor, HTTPXClientInstrumentor

from rlm_otel.testing import Answer, Repeat, ScriptedServer
from tests.attached import HI, HTTP, observed
from tests.rig import Rig

OK = Repeat(Answer("one two"))


def service(client: Any) -> FastAPI:
    """Two endpoints on the client that the service has."""
    app = FastAPI()
    request = {"model": "gpt-4o", "messages": HI}

    @app.get("/plain")
    async def plain() -> str:
        reply = await client.chat.completions.create(**request)
        return str(reply.choices[0].message.content)

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        async def text() -> AsyncIterator[str]:
            async with await client.chat.completions.create(stream=True, **request) as chunks:
                async for chunk in chunks:
                    yield chunk.choices[0].delta.content or ""

        return StreamingResponse(text())

    return app


@asynccontextmanager
async def running(rig: Rig, server: ScriptedServer) -> AsyncIterator[FastAPI]:
    """The service, instrumented as usual."""
    async with observed(rig, server, "acreate") as client:
        kind = HTTPX2ClientInstrumentor if HTTP.__name__ == "httpx2" else HTTPXClientInstrumentor
        kind.instrument_client(client._client, tracer_provider=rig.tracer_provider)
        app = service(client)
        FastAPIInstrumentor.instrument_app(app, tracer_provider=rig.tracer_provider, exclude_spans=["receive", "send"])
        yield app


@pytest.mark.parametrize(("path", "text"), [("/plain", '"one two"'), ("/stream", "one two")])
async def test_s80_a_request_its_call_and_the_calls_request(rig: Rig, path: str, text: str) -> None:
    """One span each, one inside the other."""
    async with running(rig, rig.serve(OK)) as app:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://service") as user:
            assert (await user.get(path)).text == text
    assert rig.outline() == f"GET {path}\n  chat gpt-4o\n    POST"
    assert rig.count("gen_ai.client.inference.duration") == 1


async def test_s77_a_user_who_goes_away(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """The framework cancels the endpoint's stream: the call ends then, and nothing is left in any context."""
    sent: list[Any] = []
    first = asyncio.Event()

    async def send(message: Any) -> None:
        sent.append(message)
        if message.get("body"):
            first.set()

    messages: Iterator[Any] = iter([{"type": "http.request", "body": b""}])

    async def receive() -> Any:
        for message in messages:
            return message
        await first.wait()
        return {"type": "http.disconnect"}

    server = rig.serve(Repeat(Answer("one two", chunk_delay_s=30)))
    scope = {
        **{"type": "http", "method": "GET", "path": "/stream", "headers": [], "query_string": b"", "root_path": ""},
        **{"asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http"},
        **{"server": ("service", 80), "client": ("user", 1)},
    }
    async with running(rig, server) as app:
        await app(scope, receive, send)
        assert rig.open_spans == []
    assert rig.span("chat gpt-4o").attributes["rlm.outcome"] in ("cancelled", "closed")
    assert [record for record in caplog.records if "detach" in record.getMessage()] == []
