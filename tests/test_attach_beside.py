"""An observed client beside OpenTelemetry's own instrumentation of openai: scenario 90."""

import sys
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any, Final

import openai
import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rlm_otel import RLM, instrument_openai
from rlm_otel.testing import Answer, Repeat, Tokens
from tests.attached import FOUR, Told, ask, close, is_async, make
from tests.rig import Rig

INVOCATION: Final = "opentelemetry.util.genai.invocation"
OK = Repeat(Answer("ok fine", usage=Tokens(input=2, output=2)))


@cache
def installed() -> tuple[Any, ModuleType]:
    """Their instrumentor, and the module by which we know of them, which is taken away: other tests are without it."""
    from opentelemetry.instrumentation.genai.openai import OpenAIInstrumentor

    return OpenAIInstrumentor(), sys.modules.pop(INVOCATION)


class Theirs:
    """OpenTelemetry's instrumentation with providers of its own."""

    def __init__(self, instrumentor: Any) -> None:
        self._instrumentor = instrumentor
        self.exporter = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        self._tracers = TracerProvider(shutdown_on_exit=False)
        self._tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self._meters = MeterProvider([self.reader], shutdown_on_exit=False)

    def install(self) -> None:
        self._instrumentor.instrument(tracer_provider=self._tracers, meter_provider=self._meters)

    @property
    def spans(self) -> list[str]:
        return [span.name for span in self.exporter.get_finished_spans()]

    @property
    def metrics(self) -> list[str]:
        data: Any = self.reader.get_metrics_data()
        return (
            [metric.name for r in data.resource_metrics for s in r.scope_metrics for metric in s.metrics]
            if data
            else []
        )


@pytest.fixture
def theirs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Theirs]:
    """Not installed yet; taken out after the test."""
    instrumentor, invocation = installed()
    monkeypatch.setitem(sys.modules, INVOCATION, invocation)
    yield Theirs(instrumentor)
    instrumentor.uninstrument()


@FOUR
@pytest.mark.parametrize("first", ["ours", "theirs"])
async def test_s90_one_span_whoever_was_installed_first(rig: Rig, theirs: Theirs, way: str, first: str) -> None:
    """Theirs is outside, around `create()`: it has the span and the metrics, our user's callbacks are still told."""
    told = Told()
    if first == "theirs":
        theirs.install()
    client = make(rig.serve(OK), way)
    instrument_openai(client, callbacks=[rig.callback, told])
    if first == "ours":
        theirs.install()
    await ask(client, way)
    await close(client)
    assert theirs.spans == ["chat gpt-4o"]
    assert "gen_ai.client.operation.duration" in theirs.metrics
    assert (rig.spans, rig.metric_names) == ([], [])
    assert told.hooks == ["on_llm_start", "on_llm_end"]


@pytest.mark.parametrize("way", ["create", "acreate"])
async def test_s90_embeddings_beside_theirs(rig: Rig, theirs: Theirs, way: str) -> None:
    """Their key for embeddings is another one."""
    client = make(rig.serve(OK), way)
    instrument_openai(client, callbacks=[rig.callback])
    theirs.install()
    made = client.embeddings.create(model="gpt-4o", input="Hi")
    if is_async(way):
        await made
    await close(client)
    assert (theirs.spans, rig.spans) == (["embeddings gpt-4o"], [])


@pytest.mark.parametrize("first", ["ours", "theirs"])
async def test_s90_the_whole_process_beside_theirs(rig: Rig, theirs: Theirs, first: str) -> None:
    """Whichever came first, there is one span: ours stays out, or is inside theirs."""
    if first == "theirs":
        theirs.install()
    with instrument_openai(callbacks=[rig.callback]):
        if first == "ours":
            theirs.install()
        client = make(rig.serve(OK), "create")
        await ask(client, "create")
        await close(client)
    assert (theirs.spans, rig.spans) == (["chat gpt-4o"], [])


def test_s107_inside_of_our_runner_theirs_is_quiet(rig: Rig, theirs: Theirs) -> None:
    """Our runner has the call already: theirs makes neither span nor metric."""
    client = make(rig.serve(OK), "create")
    theirs.install()
    assert isinstance(client, openai.OpenAI)
    with RLM.from_openai("gpt-4o", client=client, callbacks=[rig.callback]) as rlm:
        rlm.run("Hi")
    client.close()
    assert (theirs.spans, theirs.metrics) == ([], [])
    assert rig.outline() == "invoke_agent\n  chat gpt-4o"
