"""Every surface of the SDK that is observed, in each way to use it: scenarios 6, 15, 16 to 20, 27, 41, 50, 57 to 61."""

import gc
from typing import Any

import openai
import pytest

from rlm_otel.reader import error_type
from rlm_otel.testing import Answer, Broken, Failure, Tokens
from tests.attached import BROKE_OFF, Told, observed
from tests.rig import Rig

OK = Answer("one two", usage=Tokens(input=5, output=2))
SIDES = pytest.mark.parametrize("way", ["sync", "async"])
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "completions": ("text_completion gpt-4o", {"model": "gpt-4o", "prompt": "Hi"}),
    "responses": ("chat gpt-4o", {"model": "gpt-4o", "input": "Hi"}),
    "embeddings": ("embeddings gpt-4o", {"model": "gpt-4o", "input": ["Hi", "Ho"]}),
}
EACH = pytest.mark.parametrize("surface", list(REQUESTS))
EACH_STREAM = pytest.mark.parametrize("surface", ["completions", "responses"])


async def done(made: Any) -> Any:
    """What was made, awaited where it has to be."""
    return await made if hasattr(made, "__await__") else made


async def read(stream: Any) -> list[Any]:
    return [item async for item in stream] if hasattr(stream, "__anext__") else list(stream)


@EACH
@SIDES
@pytest.mark.parametrize("form", ["plain", "raw", "streaming"])
async def test_s6_a_plain_call_of_each_surface(rig: Rig, surface: str, way: str, form: str) -> None:
    """One span of the right name with its tokens, raw or not; the caller gets the SDK's own type."""
    name, request = REQUESTS[surface]
    told = Told()
    async with observed(rig, rig.serve(OK), "a" if way == "async" else "", callbacks=[told]) as client:
        resource = getattr(client, surface)
        if form == "plain":
            reply = await done(resource.create(**request))
        elif form == "raw":
            reply = (await done(resource.with_raw_response.create(**request))).parse()
        elif way == "async":
            async with resource.with_streaming_response.create(**request) as response:
                reply = await response.parse()
        else:
            with resource.with_streaming_response.create(**request) as response:
                reply = response.parse()
    assert (
        type(reply).__name__
        == {"completions": "Completion", "responses": "Response", "embeddings": "CreateEmbeddingResponse"}[surface]
    )
    assert rig.outline(["rlm.outcome"]) == f"{name} rlm.outcome=completed"
    assert rig.span(name).attributes["gen_ai.usage.input_tokens"] == 5
    assert ("gen_ai.usage.output_tokens" in rig.span(name).attributes) is (surface != "embeddings")
    assert told.hooks == ["on_llm_start", "on_llm_end"]


@EACH_STREAM
@SIDES
@pytest.mark.parametrize("leave", ["drained", "closed", "abandoned", "failed"])
async def test_s16_a_stream_of_each_surface(rig: Rig, surface: str, way: str, leave: str) -> None:
    """Each way to leave a stream has its outcome, on whichever surface."""
    name, request = REQUESTS[surface]
    told = Told()
    async with observed(rig, rig.serve(OK), "a" if way == "async" else "", callbacks=[told]) as client:
        stream = await done(getattr(client, surface).create(stream=True, **request))
        assert isinstance(stream, openai.Stream | openai.AsyncStream)
        if leave == "drained":
            assert await read(stream)
        elif leave == "closed":
            await done(stream.close())
        elif leave == "failed":
            with pytest.raises(ValueError, match="mine"):
                await _raise_within(stream)
        del stream
        gc.collect()
        assert rig.open_spans == []
    outcome = "completed" if leave == "drained" else leave
    assert rig.span(name).attributes["rlm.outcome"] == outcome
    assert told.hooks == ["on_llm_start", "on_error" if leave == "failed" else "on_llm_end"]
    if leave == "drained":
        assert told.texts == ["one ", "two"]


async def _raise_within(stream: Any) -> None:
    if hasattr(stream, "__aenter__"):
        async with stream:
            raise ValueError("mine")
    with stream:
        raise ValueError("mine")


@SIDES
async def test_s6_a_response_stream_tells_its_usage_unasked(rig: Rig, way: str) -> None:
    """The terminal event has it: nothing is asked for, and nothing is hidden."""
    server = rig.serve(OK)
    async with observed(rig, server, "a" if way == "async" else "", include_usage=True) as client:
        stream = await done(client.responses.create(model="gpt-4o", input="Hi", stream=True))
        events = await read(stream)
    assert events[-1].type == "response.completed"
    assert "stream_options" not in server.requests[0].body
    assert rig.span("chat gpt-4o").attributes["gen_ai.usage.input_tokens"] == 5


@SIDES
async def test_s5_a_text_stream_is_asked_for_its_usage(rig: Rig, way: str) -> None:
    """`include_usage=True` works on text completions as on chat; the extra chunk is hidden."""
    server = rig.serve(OK)
    async with observed(rig, server, "a" if way == "async" else "", include_usage=True) as client:
        chunks = await read(await done(client.completions.create(model="gpt-4o", prompt="Hi", stream=True)))
    assert [] not in [chunk.choices for chunk in chunks]
    assert rig.span("text_completion gpt-4o").attributes["gen_ai.usage.input_tokens"] == 5


@SIDES
@pytest.mark.parametrize("leave", [False, True], ids=["drained", "left"])
async def test_s34_the_helper_of_responses(rig: Rig, way: str, leave: bool) -> None:
    """`responses.stream()`: drained it is completed, left early closed."""
    async with observed(rig, rig.serve(OK), "a" if way == "async" else "") as client:
        helper = client.responses.stream(model="gpt-4o", input="Hi")
        if way == "async":
            async with helper as stream:
                async for _ in stream:
                    if leave:
                        break
        else:
            with helper as stream:
                for _ in stream:
                    if leave:
                        break
        assert rig.open_spans == []
    assert rig.span("chat gpt-4o").attributes["rlm.outcome"] == ("closed" if leave else "completed")


@SIDES
async def test_s61_parsing_a_response_into_a_model(rig: Rig, way: str) -> None:
    """`responses.parse(text_format=Model)` is one call."""
    from pydantic import BaseModel

    class City(BaseModel):
        name: str

    async with observed(rig, rig.serve(Answer('{"name": "Минск"}')), "a" if way == "async" else "") as client:
        reply = await done(client.responses.parse(model="gpt-4o", input="Hi", text_format=City))
    assert reply.output_parsed == City(name="Минск")
    assert rig.outline() == "chat gpt-4o"


@SIDES
@pytest.mark.parametrize("streamed", [False, True], ids=["plain", "stream"])
async def test_s50_a_response_that_says_it_failed(rig: Rig, way: str, streamed: bool) -> None:
    """Nothing is raised to the caller, who looks at `status`; the call has failed, and `on_error` knows."""
    told = Told()
    server = rig.serve(Answer("", status="failed"))
    async with observed(rig, server, "a" if way == "async" else "", callbacks=[told]) as client:
        reply = await done(client.responses.create(model="gpt-4o", input="Hi", stream=streamed))
        last = (await read(reply))[-1].response if streamed else reply
    assert last.status == "failed"
    assert rig.span("chat gpt-4o").attributes["rlm.outcome"] == "failed"
    assert told.hooks == ["on_llm_start", "on_error"]


@SIDES
async def test_s50_fetching_a_stored_response(rig: Rig, way: str) -> None:
    """`retrieve` is no inference: a span of its own name without tokens; a stored failure is no failed retrieval."""
    server = rig.serve(Answer("", status="failed"), Answer("", status="failed"))
    async with observed(rig, server, "a" if way == "async" else "") as client:
        await done(client.responses.retrieve("resp_1"))
    (span,) = rig.spans
    assert span.attributes["gen_ai.operation.name"] == "fetch_response"
    assert span.attributes["rlm.outcome"] == "completed"
    assert "gen_ai.client.inference.usage.input_tokens" not in rig.metric_names


@SIDES
async def test_s50_fetching_a_stored_response_as_a_stream(rig: Rig, way: str) -> None:
    """It is read to its end and told apart from an inference all the same."""
    async with observed(rig, rig.serve(OK), "a" if way == "async" else "") as client:
        events = await read(await done(client.responses.retrieve("resp_1", stream=True)))
    assert events[-1].type == "response.completed"
    (span,) = rig.spans
    assert (span.attributes["gen_ai.operation.name"], span.attributes["rlm.outcome"]) == ("fetch_response", "completed")
    assert "gen_ai.client.inference.usage.input_tokens" not in rig.metric_names


@EACH
@SIDES
async def test_s42_an_error_of_each_surface(rig: Rig, surface: str, way: str) -> None:
    """The SDK's exception, recorded once."""
    name, request = REQUESTS[surface]
    async with observed(rig, rig.serve(Failure(404)), "a" if way == "async" else "") as client:
        with pytest.raises(openai.NotFoundError):
            await done(getattr(client, surface).create(**request))
    assert rig.outline() == f"{name} !openai.NotFoundError"


@EACH
@SIDES
async def test_s53_retries_of_each_surface(rig: Rig, surface: str, way: str) -> None:
    """They are seen on all of them."""
    name, request = REQUESTS[surface]
    server = rig.serve(Failure(429, headers={"retry-after-ms": "1"}), OK)
    async with observed(rig, server, "a" if way == "async" else "") as client:
        await done(getattr(client, surface).create(**request))
    assert rig.span(name).attributes["rlm.retry.count"] == 1


@EACH_STREAM
@SIDES
@pytest.mark.parametrize("how", ["cut", "clean_end"])
async def test_s27_a_stream_of_each_surface_that_breaks(rig: Rig, surface: str, way: str, how: Any) -> None:
    """Cut or torn: failed, with the text so far."""
    name, request = REQUESTS[surface]
    async with observed(rig, rig.serve(Broken(OK, how=how, after=2)), "a" if way == "async" else "") as client:
        stream = await done(getattr(client, surface).create(stream=True, **request))
        error = await _error_of(stream)
    assert isinstance(error, BROKE_OFF) is (how == "cut")
    expected = "rlm_otel.errors.TornStream" if error is None else error_type(error)
    assert rig.span(name).attributes["error.type"] == expected


async def _error_of(stream: Any) -> Exception | None:
    try:
        await read(stream)
    except BROKE_OFF as error:
        return error
    return None
