"""What an attached client costs beside our runner: CPU time a call and a chunk, less the same calls unobserved.

The SDK answers with ready-made objects, as for `bench.py`. The runner makes two spans, an attached client one. `other`
is a further client of the same process that nobody observes.
"""
# ruff: noqa: D102 - `Way` says what the methods are

import asyncio
import gc
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final

import httpx2
from bench_server import ASYNC_CLIENT, CHUNKS, CLIENT, FEW_CHUNKS, MODEL, arguments
from bench_ways import PROMPT, Ours, Plain, Rig, Way
from openai import AsyncOpenAI, OpenAI, Stream
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from rlm_otel import OTelCallback, instrument_openai

ROUNDS, CALLS, CONCURRENT = 25, 60, 50
LOOP: Final = asyncio.new_event_loop()
_SETTINGS: Final[dict[str, Any]] = {"api_key": "none", "base_url": "https://api.openai.com/v1", "max_retries": 0}


class _Client(OpenAI):
    """Answers as the clients of `bench_server`, with the SDK's own stream around the chunks."""

    def request(self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        answer = CLIENT.request(cast_to, options, stream=stream, stream_cls=stream_cls).parse()
        if not stream:
            return answer
        response = httpx2.Response(200, request=httpx2.Request("POST", "https://api.openai.com/v1"))
        made: Stream[Any] = Stream(cast_to=cast_to, response=response, client=self)
        made._iterator = answer
        return made


class _AsyncClient(AsyncOpenAI):
    async def request(self, cast_to: Any, options: Any, *, stream: bool = False, stream_cls: Any = None) -> Any:
        return (await ASYNC_CLIENT.request(cast_to, options, stream=stream, stream_cls=stream_cls)).parse()


class Bare:
    """The application's calls, unobserved."""

    def __init__(self) -> None:
        self.client, self.async_client = _Client(**_SETTINGS), _AsyncClient(**_SETTINGS)

    def chat(self, prompt: str, model: str) -> None:
        self.client.chat.completions.create(**arguments(prompt, model, CHUNKS, stream=False))

    def stream(self, count: int) -> None:
        for chunk in self.client.chat.completions.create(**arguments(PROMPT, MODEL, count, stream=True)):
            _ = chunk.choices[0].delta.content if chunk.choices else None

    async def achat(self) -> None:
        await self.async_client.chat.completions.create(**arguments(PROMPT, MODEL, CHUNKS, stream=False))


class Attached(Bare):
    """The same with one line before."""

    def __init__(self, rig: Rig, content: str) -> None:
        super().__init__()
        callback = OTelCallback(tracer_provider=rig.tracers, meter_provider=rig.meters, content=content)
        for client in (self.client, self.async_client):
            instrument_openai(client, callbacks=[callback])


class _Discard(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:  # noqa: ARG002
        return SpanExportResult.SUCCESS


def _chat(way: Way) -> None:
    for _ in range(CALLS):
        way.chat(PROMPT, MODEL)


def _stream(way: Way, count: int) -> None:
    for _ in range(max(1, CALLS * FEW_CHUNKS // count)):
        way.stream(count)


def _concurrent(way: Way) -> None:
    async def at_once() -> None:
        await asyncio.gather(*[way.achat() for _ in range(CONCURRENT)])

    LOOP.run_until_complete(at_once())


def _measure(work: Callable[[Way], None], content: str, units: int) -> tuple[float, float, float]:
    """Microseconds a unit that the runner, an attached client and one beside it add, in the typical round."""
    rigs = [Rig(BatchSpanProcessor(_Discard())) for _ in range(2)]
    ways: list[Way] = [Plain(), Ours(rigs[0], content), Bare(), Attached(rigs[1], content), Bare()]
    spent: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS):
        for way, times in zip(ways, spent, strict=True):
            gc.collect()
            began = time.process_time()
            work(way)
            for rig in rigs:
                rig.tracers.force_flush()
            times.append((time.process_time() - began) / units * 1e6)
    plain, ours, bare, attached, other = spent
    return (
        median(a - b for a, b in zip(ours, plain, strict=True)),
        median(a - b for a, b in zip(attached, bare, strict=True)),
        median(a - b for a, b in zip(other, bare, strict=True)),
    )


def main() -> None:
    """One line a scenario."""
    print(f"{'added, microseconds':32} {'runner':>8} {'attached':>9} {'other':>7}  not dearer")
    chunks = max(1, CALLS * FEW_CHUNKS // CHUNKS) * CHUNKS
    for content in ("none", "span"):
        for name, work, units in (
            ("a call", _chat, CALLS),
            ("an async call, 50 at once", _concurrent, CONCURRENT),
            ("a stream of 8 chunks", lambda way: _stream(way, FEW_CHUNKS), CALLS),
            ("a chunk of 200", lambda way: _stream(way, CHUNKS), chunks),
        ):
            runner, attached, other = _measure(work, content, units)
            named = name + (", content on" if content == "span" else "")
            verdict = "yes" if attached <= runner else "NO"
            print(f"{named:32} {runner:8.1f} {attached:9.1f} {other:7.1f}  {verdict}")


if __name__ == "__main__":
    main()
