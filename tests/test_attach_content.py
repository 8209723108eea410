"""What an observed client's calls say in words, by the numbers of the scenarios: content, where it is asked for."""

import base64
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import openai
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from rlm_otel.callbacks import JSONLLogger
from rlm_otel.testing import Answer, Failure, Tokens, Tool
from tests.attached import ANY_WAY, FOUR, ask, is_stream, observed
from tests.rig import Rig

EXCEPTIONS_TWICE: Final = {"OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": "logs/dup"}
IN, OUT = "gen_ai.input.messages", "gen_ai.output.messages"
TEXTS: Final = {IN, OUT, "gen_ai.tool.definitions"}
QUESTION: Final = [{"role": "system", "content": "Ты синоптик"}, {"role": "user", "content": "Что надеть? 👕"}]
WEATHER: Final = {"type": "function", "function": {"name": "погода", "description": "Какая погода ☀️."}}
ASKS_TOOL: Final = Answer(tool_calls=[Tool("погода", {"город": "Пермь 🏙"}, id="call_1")])


def told(rig: Rig) -> str:
    """All that the signals say, in one text."""
    return repr((rig.spans, [(name, rig.points(name)) for name in rig.metric_names], rig.logs))


@ANY_WAY
async def test_s65_nothing_of_a_call_leaves_unless_asked(rig: Rig, way: str) -> None:
    """No prompt, no answer, no tool and no argument of one is in any signal."""
    async with observed(rig, rig.serve(ASKS_TOOL), way) as client:
        await ask(client, way, messages=QUESTION, **({} if "helper" in way or "parse" in way else {"tools": [WEATHER]}))
    assert [word for word in ("Что", "синоптик", "Пермь", "город", "Какая") if word in told(rig)] == []
    assert {name for span in rig.spans for name in span.attributes} & TEXTS == set()
    assert (len(rig.spans), rig.logs) == (1, [])


@FOUR
async def test_s66_text_of_a_call_is_readable_in_every_alphabet(rigs: Callable[..., Rig], way: str) -> None:
    """Prompt, tools and what the model asks of them are the very characters, no escapes."""
    rig = rigs(content="span")
    async with observed(rig, rig.serve(ASKS_TOOL), way) as client:
        await ask(client, way, messages=QUESTION, tools=[WEATHER])
    chat = rig.span("chat gpt-4o").attributes
    assert chat[IN] == (
        '[{"role":"system","parts":[{"type":"text","content":"Ты синоптик"}]},'
        '{"role":"user","parts":[{"type":"text","content":"Что надеть? 👕"}]}]'
    )
    assert chat[OUT] == (
        '[{"role":"assistant","parts":[{"type":"tool_call","id":"call_1","name":"погода",'
        '"arguments":{"город":"Пермь 🏙"}}]}]'
    )
    assert chat["gen_ai.tool.definitions"] == ('[{"type":"function","name":"погода","description":"Какая погода ☀️."}]')


@FOUR
async def test_s67_a_picture_in_a_call_becomes_a_reference(rigs: Callable[..., Rig], way: str) -> None:
    """A megabyte of base64 is sent whole and named by its hash on the span; a plain address stays."""
    rig = rigs(content="span")
    server = rig.serve("Кот")
    data = base64.b64encode(bytes(range(256)) * 4096).decode()
    pictures = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/кот.png"}},
    ]
    async with observed(rig, server, way) as client:
        await ask(client, way, messages=[{"role": "user", "content": pictures}])
    first, second = json.loads(rig.span("chat gpt-4o").attributes[IN])[0]["parts"]
    assert (first["type"], first["uri"][:7], len(first["uri"])) == ("uri", "sha256:", 71)
    assert second["uri"] == "https://example.com/кот.png"
    assert server.requests[0].body["messages"][0]["content"] == pictures


@FOUR
async def test_s68_a_long_chat_of_a_client_is_one_attribute(rigs: Callable[..., Rig], way: str) -> None:
    """200 messages: none is dropped by a limit of the SDK; too long ones (69) lose the oldest, and stay JSON."""
    rig = rigs(content="span")
    async with observed(rig, rig.serve("ok", "ok"), way) as client:
        for text in ("щ", "щ" * 1000):
            await ask(client, way, messages=[{"role": "user", "content": f"{n} {text}"} for n in range(200)])
    (short, short_sdk), (long, _) = zip(rig.spans, rig.sdk_spans, strict=True)
    assert len(json.loads(short.attributes[IN])) == 200
    assert (short_sdk.dropped_attributes, len(short.attributes) < 32) == (0, True)
    assert len(long.attributes[IN].encode()) <= 60_000
    kept = json.loads(long.attributes[IN])
    assert kept[-1]["parts"][0]["content"][:4] == "199 "
    assert long.attributes["rlm.content.omitted"] == 200 - len(kept)


@FOUR
async def test_s70_a_history_that_is_sent_again_each_turn_stays_within_bounds(
    rigs: Callable[..., Rig], way: str
) -> None:
    """Each span holds the latest that fits and counts the rest: what is stored grows with turns, not with history."""
    rig = rigs(content="span")
    history: list[dict[str, str]] = []
    async with observed(rig, rig.serve(*["ok"] * 4), way) as client:
        for turn in range(4):
            history += [{"role": "user", "content": f"{turn}-{n} {'щ' * 500}"} for n in range(40)]
            await ask(client, way, messages=history)
    assert all(len(span.attributes[IN].encode()) <= 60_000 for span in rig.spans)
    assert [len(json.loads(span.attributes[IN])) for span in rig.spans] == [40, 56, 56, 56]
    assert [span.attributes.get("rlm.content.omitted", 0) for span in rig.spans] == [0, 24, 64, 104]


@FOUR
async def test_s72_a_call_that_is_not_sampled_is_not_serialised(rigs: Callable[..., Rig], way: str) -> None:
    """The redaction rule never sees a text; the metrics are those of a call that is (88)."""
    seen: list[str] = []

    def rule(text: str) -> str:
        seen.append(text)
        return text

    rig, plain = rigs(content="both", sampler=ALWAYS_OFF, redact=rule), rigs()
    usage = Answer("ok", usage=Tokens(input=3, output=1))
    for each in (rig, plain):
        async with observed(each, each.serve(usage), way, include_usage=True) as client:
            await ask(client, way, messages=QUESTION)
    assert (seen, rig.spans, rig.logs) == ([], [], [])
    assert rig.metric_names == plain.metric_names
    assert rig.value("gen_ai.client.inference.usage.input_tokens") == 3


def rule_of_names(text: str) -> str:
    return text.replace("Иван", "[имя]")


@ANY_WAY
async def test_s73_a_rule_applies_to_all_of_a_call(rigs: Callable[..., Rig], tmp_path: Path, way: str) -> None:
    """Attributes, events, status, exceptions, log events and the file: nothing has the name."""
    rig = rigs(content="both", redact=rule_of_names, environ=EXCEPTIONS_TWICE)
    server = rig.serve("Иван ушёл", Failure(400, message="Иван — плохое слово"))
    question = [{"role": "user", "content": "Где Иван?"}]
    with JSONLLogger(tmp_path / "log.jsonl", redact=rule_of_names) as file:
        async with observed(rig, server, way, callbacks=[file], max_retries=0) as client:
            await ask(client, way, messages=question)
            with pytest.raises(openai.BadRequestError):
                await ask(client, way, messages=question)
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    assert ("Иван" in told(rig), "Иван" in lines) == (False, False)
    first, last = rig.spans
    assert ('"Где [имя]?"' in first.attributes[IN], "[имя] ушёл" in first.attributes[OUT]) == (True, True)
    assert "[имя] — плохое слово" in str(last.description)
    assert last.description == last.event("exception").attributes["exception.message"]
    assert [log.name for log in rig.logs if "[имя]" not in repr(log)] == []


@FOUR
async def test_s73_a_rule_that_fails_drops_the_text_of_a_call(
    rigs: Callable[..., Rig], way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is nowhere, in no log line either; the caller gets its answer."""

    def rule(text: str) -> str:
        raise ValueError(f"cannot judge {text}")

    rig = rigs(content="both", redact=rule)
    with caplog.at_level(logging.INFO, "rlm_otel"):
        async with observed(rig, rig.serve("Иван ушёл"), way) as client:
            reply = await ask(client, way, messages=[{"role": "user", "content": "Где Иван?"}])
    assert "Иван" in repr(reply)
    assert [text for text in (told(rig), caplog.text) if "Иван" in text] == []


MIXED: Final[list[dict[str, Any]]] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Что это?"},
            {"type": "input_audio", "input_audio": {"data": "AAEC", "format": "wav"}},
            {"type": "file", "file": {"file_id": "file-1"}},
            {"type": "hologram", "hologram": {"data": "AAEC"}},
        ],
    },
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "Не скажу"}]},
]


@FOUR
async def test_s74_each_kind_of_part_of_a_call_is_the_right_one(rigs: Callable[..., Rig], way: str) -> None:
    """Sounds, files, thoughts, refusals and what nobody knows; without content the rest of the span is the same."""
    on, off = rigs(content="span"), rigs()
    for rig in (on, off):
        async with observed(rig, rig.serve(Answer("Кот", reasoning="Хм")), way) as client:
            await ask(client, way, messages=MIXED)
    chat = on.span("chat gpt-4o").attributes
    assert [[part["type"] for part in message["parts"]] for message in json.loads(chat[IN])] == [
        ["text", "uri", "file", "hologram"],
        ["text"],
    ]
    assert json.loads(chat[OUT])[0]["parts"] == [
        {"type": "reasoning", "content": "Хм"},
        {"type": "text", "content": "Кот"},
    ]
    changing = {"server.port"} | {name for name in chat if "time_to_first" in name or "per_second" in name}
    assert {name for name in chat if name not in TEXTS} == set(off.span("chat gpt-4o").attributes)
    assert {n: v for n, v in chat.items() if n not in TEXTS | changing} == {
        n: v for n, v in off.span("chat gpt-4o").attributes.items() if n not in changing
    }


@FOUR
async def test_s82_the_event_of_a_call_carries_its_span(rigs: Callable[..., Rig], way: str) -> None:
    """Content as an event, also of a stream that has long left the caller's hands."""
    rig = rigs(content="event")
    async with observed(rig, rig.serve("ok"), way) as client:
        await ask(client, way)
    chat, (log,) = rig.span("chat gpt-4o"), rig.logs
    assert (log.trace_id, log.span_id) == (chat.trace_id, chat.span_id)
    assert is_stream(way) is bool(chat.attributes.get("gen_ai.request.stream"))
