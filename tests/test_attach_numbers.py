"""What an observed client's calls say in numbers, by those of the scenarios: tokens, cost, series, records."""

from collections.abc import Callable
from typing import Any

import openai
import pytest
from opentelemetry import _logs, metrics, trace

import rlm_otel
from rlm_otel import instrument_openai
from rlm_otel.testing import Answer, Failure, Item, RecordedRequest, Tokens, Tool
from tests.attached import ANY_WAY, FOUR, TWO_STREAMS, ask, close, facts, make, observed
from tests.rig import Rig

USAGE = "gen_ai.client.inference.usage."
FIRST_TOKEN = "rlm.client.time_to_first_token"


@ANY_WAY
async def test_s2_cached_tokens_of_a_call_are_counted_once(rig: Rig, way: str) -> None:
    """Of 300 tokens in, 40 were cached: 260 at 2.50 USD a million, 40 at 1.25 (12), counted beside the totals (10)."""
    answer = Answer("ok", usage=Tokens(input=300, output=20, cached=40, reasoning=12))
    streamed = {"stream_options": {"include_usage": True}} if way.endswith(("stream", "helper")) else {}
    async with observed(rig, rig.serve(answer), way) as client:
        await ask(client, way, **streamed)
    names = ("input_tokens", "output_tokens", "cache_read.input_tokens", "reasoning.output_tokens")
    assert [rig.value(f"{USAGE}{name}") for name in names] == [300, 20, 40, 12]
    assert rig.value("rlm.client.cost", rlm_cost_source="local") == pytest.approx(0.0009)


@FOUR
async def test_s12_a_call_of_a_model_without_a_price_is_counted(rig: Rig, way: str) -> None:
    """What it cost is unknown, and says so; no number is invented."""
    answer = Answer("ok", usage=Tokens(input=3, output=2))
    async with observed(rig, rig.serve(answer), way, include_usage=True) as client:
        await ask(client, way, model="house-model-7")
    assert rig.value("rlm.client.unpriced", rlm_reason="no_price") == 1
    assert "rlm.client.cost" not in rig.metric_names


@FOUR
async def test_s13_a_run_around_calls_adds_nothing_to_the_metrics(rig: Rig, way: str) -> None:
    """Its span shows the sum of the calls inside, and token metrics have each call once."""
    answer = Answer("ok", usage=Tokens(input=30, output=2))
    async with observed(rig, rig.serve(answer, answer), way, include_usage=True) as client:
        async with rlm_otel.run("outer", callbacks=[rig.callback]):
            await ask(client, way)
            with rlm_otel.tool("inner"):
                await ask(client, way)
    assert rig.span("invoke_agent outer").attributes["gen_ai.usage.input_tokens"] == 60
    assert rig.value(f"{USAGE}input_tokens") == 60


@TWO_STREAMS
async def test_s37_the_first_token_of_a_client_is_the_first_that_was_generated(rig: Rig, way: str) -> None:
    """A tool call has one, and no first text; after reasoning (38) the first text comes later than the first token."""
    tool = Answer(tool_calls=[Tool("add", {"a": 2})])
    thought = Answer("five", reasoning="hm well", chunk_delay_s=0.002)
    async with observed(rig, rig.serve(tool, thought), way) as client:
        for _ in range(2):
            await ask(client, way)
    called, thinking = (span.attributes for span in rig.spans)
    assert called["rlm.time_to_first_token"] >= called["gen_ai.response.time_to_first_chunk"]
    assert "rlm.time_to_first_visible" not in called
    assert thinking["rlm.time_to_first_visible"] > thinking["rlm.time_to_first_token"]
    assert rig.count(FIRST_TOKEN) == 2


@ANY_WAY
async def test_s48_the_status_of_a_call_goes_with_its_error_type(rig: Rig, way: str) -> None:
    """The same on the span and on the duration; one exception record (49), though a tool and a run are left by it."""
    async with observed(rig, rig.serve("ok", Failure(400)), way, max_retries=0) as client:
        await ask(client, way)
        with pytest.raises(openai.BadRequestError):
            await in_a_tool(rig, client, way)
    well, run, tool, failed = rig.spans
    assert (well.status, well.attributes.get("error.type")) == ("unset", None)
    assert [(span.status, span.attributes["error.type"]) for span in (failed, tool, run)] == [
        ("error", "openai.BadRequestError")
    ] * 3
    durations = rig.points("gen_ai.client.inference.duration")
    assert sorted(str(point.attributes.get("error.type")) for point in durations) == ["None", "openai.BadRequestError"]
    assert [len(span.events) for span in (run, tool, failed)] == [0, 0, 1]


async def in_a_tool(rig: Rig, client: Any, way: str) -> None:
    async with rlm_otel.run("outer", callbacks=[rig.callback]), rlm_otel.tool("inner"):
        await ask(client, way)


@FOUR
async def test_s84_many_users_of_a_client_are_as_many_series_as_one(rig: Rig, way: str) -> None:
    """Users, conversations, prompts, ids and system fingerprints: ten of each make no new series."""

    def answer(request: RecordedRequest) -> Item:
        user = request.body["user"]
        return Answer(user, system_fingerprint=f"fp-{user}", usage=Tokens(input=1, output=1))

    def series() -> list[str]:
        return [repr(sorted(point.attributes.items())) for name in rig.metric_names for point in rig.points(name)]

    async with observed(rig, rig.serve(respond=answer), way, include_usage=True) as client:
        sizes = []
        for number in range(10):
            with rlm_otel.conversation(f"chat-{number}"), rlm_otel.attributes(user=f"user-{number}"):
                await ask(client, way, user=f"user-{number}", messages=[{"role": "user", "content": f"I am {number}"}])
            sizes.append(len(series()))
    assert sizes == sizes[:1] * 10
    assert [word for word in ("user-", "chat-", "fp-", "I am") if word in "".join(series())] == []


@FOUR
async def test_s89_observing_a_client_sets_nothing_global(rigs: Callable[..., Rig], way: str) -> None:
    """Providers of others stay out of it, and ours out of theirs: neither gets a span of the other."""
    before = trace._TRACER_PROVIDER, metrics._internal._METER_PROVIDER, _logs._internal._LOGGER_PROVIDER
    ours, theirs = rigs(joined=False), rigs()
    async with observed(ours, ours.serve("ok"), way) as client:
        with theirs.tracer_provider.get_tracer("theirs").start_as_current_span("GET /"):
            await ask(client, way)
    assert (ours.outline(), theirs.outline()) == ("chat gpt-4o", "GET /")
    assert ours.span("chat gpt-4o").trace_id != theirs.span("GET /").trace_id
    assert before == (trace._TRACER_PROVIDER, metrics._internal._METER_PROVIDER, _logs._internal._LOGGER_PROVIDER)


@FOUR
async def test_s96_hooks_of_a_client_get_what_they_name_once(
    rig: Rig, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Fewer, other and more parameters than there are; a TypeError inside of a hook is its own, never a second try."""
    told: list[object] = []

    class Odd:
        def on_llm_start(self, model: str, text: str, missing: object = 7) -> None:
            told.append((model, text, missing))

        def on_llm_end(self) -> None:
            told.append("end")
            raise TypeError("mine")

    async with observed(rig, rig.serve("ok"), way, callbacks=[Odd()]) as client:
        await ask(client, way)
    assert told == [("gpt-4o", "Hi", 7), "end"]
    said = [record.getMessage().partition(" raised")[0] for record in caplog.records]
    assert said.count("Odd.on_llm_end") == 1
    assert facts(rig)[2] == {"completed": 1}


@pytest.mark.parametrize("way", ["create", "acreate"])
async def test_s15_embeddings_of_a_client(rig: Rig, way: str) -> None:
    """Tokens in and none out, no messages; the vectors are the caller's."""
    client = make(rig.serve("ok"), way)
    instrument_openai(client, callbacks=[rig.callback])
    reply = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    reply = await reply if way == "acreate" else reply
    await close(client)
    assert [item.index for item in reply.data] == [0, 1]
    span = rig.span("embeddings text-embedding-3-small").attributes
    assert span["gen_ai.usage.input_tokens"] == reply.usage.prompt_tokens
    assert [name for name in span if "output_tokens" in name or "messages" in name] == []
    assert [name for name in rig.metric_names if "output_tokens" in name] == []
