"""What comes in a stream, whole or torn, and what is kept when our own part fails: scenarios 24, 27, 28 and 30."""

import json
from collections.abc import Callable
from typing import Literal

import pytest
from openai.types.chat.chat_completion_chunk import Choice as ChunkChoice
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from rlm_otel import TornStream, fence
from rlm_otel.reader import ChunkReader
from rlm_otel.testing import Answer, Broken, Raw, Repeat, Tokens
from rlm_otel.testing.script import Json
from tests.rig import Rig
from tests.stream_kinds import Open, both_kinds

Rigs = Callable[..., Rig]
COUNT = Answer("one two three", usage=Tokens(input=5, output=3))
COMPLETED = "invoke_agent root\n  chat gpt-4o"


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Our warnings."""
    return [record.getMessage() for record in caplog.records if record.name == "rlm_otel"]


class BadProcessor(SpanProcessor):
    """A span processor with a bug; the SDK lets it through to whoever ends a span."""

    def on_end(self, span: ReadableSpan) -> None:
        raise RuntimeError("bad")


@both_kinds
async def test_s24_failing_span_processor(rig: Rig, open_stream: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Where ending the span fails, the stream and the metrics do not notice; it is logged once, then counted."""
    rig.tracer_provider.add_span_processor(BadProcessor())
    rlm = rig.rlm(Repeat(COUNT))
    for _ in range(2):
        assert [text async for text in open_stream(rlm, "count")] == ["one ", "two ", "three"]
    assert rig.value("rlm.client.operations", rlm_outcome="completed") == 2
    assert fence.failures() == {("OTelCallback", "end"): 4}
    assert logged(caplog) == [
        "OTelCallback.end raised RuntimeError; it is ignored, and further failures there are only counted"
    ]
    fence.forget_failures()


@both_kinds
async def test_s24_failing_finalising(
    rig: Rig, open_stream: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Where putting the reply together fails, the user has had the text, and the stream ends as usual; logged once."""
    monkeypatch.setattr(ChunkReader, "result", lambda _: 1 / 0)
    rlm = rig.rlm(COUNT, COUNT, name="root")
    for _ in range(2):
        assert [text async for text in open_stream(rlm, "count")] == ["one ", "two ", "three"]
    assert rig.outline() == f"{COMPLETED}\n{COMPLETED}"
    assert fence.failures() == {("rlm_otel", "reader"): 2}
    assert len(logged(caplog)) == 1
    fence.forget_failures()


@both_kinds
async def test_s24_failing_chunk_processing(
    rig: Rig, open_stream: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A chunk that we fail to read (here the first one, with the role) does not end the stream; logged once."""
    read_choice = ChunkReader._feed_choice

    def fail_at_first(reader: ChunkReader, choice: ChunkChoice) -> str:
        return str(1 / 0) if choice.delta.role else read_choice(reader, choice)

    monkeypatch.setattr(ChunkReader, "_feed_choice", fail_at_first)
    assert [text async for text in open_stream(rig.rlm(COUNT, name="root"), "count")] == ["one ", "two ", "three"]
    assert rig.outline(["gen_ai.usage.output_tokens"]) == (
        "invoke_agent root gen_ai.usage.output_tokens=3\n  chat gpt-4o gen_ai.usage.output_tokens=3"
    )
    assert fence.failures() == {("rlm_otel", "reader"): 1}
    assert len(logged(caplog)) == 1
    fence.forget_failures()


def test_s24_unread_chunk_tears_no_stream() -> None:
    """Where the chunk that we failed to read may have had the finish reason, nobody is told of a torn stream."""

    class Strange:
        @property
        def choices(self) -> object:
            raise RuntimeError("strange")

    reader = ChunkReader()
    assert (reader.complete(), reader.feed(Strange()), reader.complete()) == (False, "", True)
    fence.forget_failures()


def said(rig: Rig) -> list[list[object]]:
    """What the choices of the one call say: texts, and tool requests as (id, name, arguments)."""
    messages = json.loads(rig.span("chat gpt-4o").attributes["gen_ai.output.messages"])
    return [
        [p["content"] if p["type"] == "text" else (p["id"], p["name"], p["arguments"]) for p in message["parts"]]
        for message in messages
    ]


TORN = "invoke_agent root !rlm_otel.errors.TornStream\n  chat gpt-4o !rlm_otel.errors.TornStream"


@both_kinds
@pytest.mark.parametrize("how", ["clean_end", "no_finish"])
async def test_s27_torn_stream_failed(rigs: Rigs, open_stream: Open, how: Literal["clean_end", "no_finish"]) -> None:
    """A transfer that ends cleanly without a finish reason has failed; text and tokens so far are kept, no retry."""
    rig = rigs(content="span")
    server = rig.serve(Broken(COUNT, how=how), Repeat(COUNT))
    stream = open_stream(rig.rlm(server=server, name="root"), "count")
    assert [await anext(stream) for _ in range(3)] == ["one ", "two ", "three"]
    with pytest.raises(TornStream, match="without a finish reason"):
        await anext(stream)
    assert len(server.requests) == 1
    assert rig.outline() == TORN
    chat = rig.span("chat gpt-4o").attributes
    assert (chat["gen_ai.usage.output_tokens"], chat["gen_ai.response.finish_reasons"]) == (3, ("error",))
    assert said(rig) == [["one two three"]]
    assert rig.value("rlm.client.operations", rlm_outcome="failed") == 1


@both_kinds
async def test_s27_one_unfinished_choice_is_torn(rig: Rig, open_stream: Open) -> None:
    """With several choices each needs its finish reason."""
    answer = Answer(("one", "two"), finish_reason=("stop", None))
    with pytest.raises(TornStream):
        async for _ in open_stream(rig.rlm(answer, name="root"), "count", n=2):
            pass
    assert rig.span("chat gpt-4o").attributes["gen_ai.response.finish_reasons"] == ("stop", "error")


def chunk(*choices: object, **more: object) -> Json:
    return {"id": "c1", "object": "chat.completion.chunk", "created": 0, "model": "m1", "choices": list(choices)} | more


def choice(index: int, finish_reason: str | None = None, **delta: object) -> Json:
    return {"index": index, "delta": delta, "finish_reason": finish_reason}


def call_piece(index: int, arguments: str, **head: object) -> Json:
    name = head.pop("name", None)
    function = {"arguments": arguments} | ({"name": name} if name else {})
    return {"index": index, "function": function, **head}


ODD_CHUNKS: list[Json | str] = [
    chunk(prompt_filter_results=[]),
    chunk(choice(0, role="assistant", content="")),
    chunk(choice(0, content=None)),
    {"id": "c1", "object": "chat.completion.chunk", "created": 0, "model": "m1", "choices": None},
    {"id": "c1", "object": "chat.completion.chunk", "created": 0, "model": "m1"},
    chunk({"index": 0, "delta": None, "finish_reason": None}),
    chunk(choice(0)),
    chunk(choice(0, content="Да")),
    chunk(choice(0, "stop")),
    chunk(choice(0, "stop")),
    chunk(),
    "data: [DONE]\n\n",
]

PIECES: list[Json | str] = [
    chunk(choice(0, role="assistant", content=""), choice(1, role="assistant", content="")),
    chunk(choice(1, tool_calls=[call_piece(0, '{"a"', id="call_1", name="add")])),
    chunk(choice(0, tool_calls=[call_piece(0, "", id="call_2", name="look")])),
    chunk(
        choice(0, tool_calls=[call_piece(1, '{"q"', id="call_3", name="find"), call_piece(0, "{")]),
        choice(1, tool_calls=[call_piece(0, ": 1}")]),
    ),
    chunk(choice(0, tool_calls=[call_piece(1, ': "кот"}')])),
    chunk(choice(0, tool_calls=[call_piece(0, "}")])),
    chunk(choice(1, "tool_calls")),
    chunk(choice(0, "tool_calls")),
    "data: [DONE]\n\n",
]


@both_kinds
async def test_s28_odd_chunks_add_nothing(rigs: Rigs, open_stream: Open) -> None:
    """Chunks without choices, delta or content do no harm and invent nothing; a reason said twice counts once."""
    rig = rigs(content="span")
    stream = open_stream(rig.rlm(Raw(events=ODD_CHUNKS), name="root"), "count")
    assert [text async for text in stream] == ["Да"]
    assert rig.outline() == COMPLETED
    assert rig.span("chat gpt-4o").attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert said(rig) == [["Да"]]


@both_kinds
async def test_s28_only_the_first_choice_is_the_answer(rigs: Rigs, open_stream: Open) -> None:
    """The texts of several choices, which come in turns, are kept apart; the stream gives the first one's."""
    rig = rigs(content="span")
    stream = open_stream(rig.rlm(Answer(("one two", "three four")), name="root"), "count", n=2)
    assert [text async for text in stream] == ["one ", "two"]
    assert said(rig) == [["one two"], ["three four"]]


@both_kinds
async def test_s28_pieces_are_assembled_by_index(rigs: Rigs, open_stream: Open) -> None:
    """Tool calls of several choices that come in pieces, in any order, are put together by their indexes."""
    rig = rigs(content="span")
    assert [text async for text in open_stream(rig.rlm(Raw(events=PIECES)), "count", n=2)] == []
    assert rig.span("chat gpt-4o").attributes["gen_ai.response.finish_reasons"] == ("tool_calls", "tool_calls")
    assert said(rig) == [
        [("call_2", "look", {}), ("call_3", "find", {"q": "кот"})],
        [("call_1", "add", {"a": 1})],
    ]


@both_kinds
async def test_s30_open_at_shutdown_is_abandoned(rigs: Rigs, open_stream: Open) -> None:
    """A stream that is still in use at `shutdown()` is exported with what is known, as abandoned; it can be read on."""
    rig = rigs(content="span")
    stream = open_stream(rig.rlm(COUNT, name="root"), "count")
    assert await anext(stream) == "one "
    rig.callback.shutdown()
    assert rig.open_spans == []
    assert rig.outline(["gen_ai.request.stream"]) == (
        "invoke_agent root (abandoned)\n  chat gpt-4o gen_ai.request.stream=true (abandoned)"
    )
    chat = rig.span("chat gpt-4o")
    assert (chat.status, json.loads(chat.attributes["gen_ai.input.messages"])[0]["role"]) == ("unset", "user")
    assert json.loads(chat.attributes["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "one "}]}
    ]
    assert chat.attributes["gen_ai.response.time_to_first_chunk"] > 0
    assert [text async for text in stream] == ["two ", "three"]
    assert len(rig.spans) == 2
    assert rig.value("rlm.client.active") == 0
