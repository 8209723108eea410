"""Scenarios of content, by their numbers: off unless asked for, readable, bounded, redacted, and never the media."""

import base64
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import openai
import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from rlm_otel import fence
from rlm_otel.callbacks import JSONLLogger
from rlm_otel.testing import Answer, Failure, Item, StepClock, Tool
from tests.rig import Rig
from tests.ways import ANY_WAY, EITHER, ask

EXCEPTIONS_TWICE: Final = {"OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": "logs/dup"}
IN, OUT = "gen_ai.input.messages", "gen_ai.output.messages"
TEXTS: Final = {IN, OUT, "gen_ai.tool.definitions", "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"}


def погода(город: str) -> dict[str, str]:
    """Говорит, какая погода ☀️."""
    return {"где": город, "что": "дождь 🌧"}


ASKS_TOOL: Final = Answer(tool_calls=[Tool("погода", {"город": "Пермь 🏙"}, id="call_1")])


def told(rig: Rig) -> str:
    """All that the signals say, in one text."""
    return repr((rig.spans, [(name, rig.points(name)) for name in rig.metric_names], rig.logs))


@ANY_WAY
async def test_s65_nothing_leaves_unless_asked(rig: Rig, way: str) -> None:
    """With nothing configured no prompt, answer, tool argument or tool result is in any signal."""
    rlm = rig.rlm(ASKS_TOOL, "Возьми зонт", tools=[погода], system_prompt="Ты синоптик")
    assert (await ask(rlm, way, "Что надеть?")).text == "Возьми зонт"
    assert [word for word in ("Что", "зонт", "синоптик", "Пермь", "дождь", "город") if word in told(rig)] == []
    assert {name for span in rig.spans for name in span.attributes} & TEXTS == set()
    assert (len(rig.spans), rig.logs) == (4, [])


@ANY_WAY
async def test_s66_text_is_readable_in_every_alphabet(rigs: Callable[..., Rig], way: str) -> None:
    """Prompts, answers, tools, their arguments and results are the very characters, no escapes."""
    rig = rigs(content="span")
    await ask(rig.rlm(ASKS_TOOL, "Возьми зонт ☂️", tools=[погода]), way, "Что надеть? 👕")
    first, second = (span.attributes for span in rig.spans if span.name == "chat gpt-4o")
    user = '{"role":"user","parts":[{"type":"text","content":"Что надеть? 👕"}]}'
    call = (
        '{"role":"assistant","parts":[{"type":"tool_call","id":"call_1","name":"погода",'
        '"arguments":{"город":"Пермь 🏙"}}]}'
    )
    result = '{"где":"Пермь 🏙","что":"дождь 🌧"}'
    response = f'{{"role":"tool","parts":[{{"type":"tool_call_response","id":"call_1","response":{result}}}]}}'
    answer = '[{"role":"assistant","parts":[{"type":"text","content":"Возьми зонт ☂️"}]}]'
    assert (first[IN], first[OUT]) == (f"[{user}]", f"[{call}]")
    assert (second[IN], second[OUT]) == (f"[{user},{call},{response}]", answer)
    assert first["gen_ai.tool.definitions"] == (
        '[{"type":"function","name":"погода","description":"Говорит, какая погода ☀️."}]'
    )
    tool, run = rig.span("execute_tool погода").attributes, rig.span("invoke_agent").attributes
    assert tool["gen_ai.tool.call.arguments"] == '{"город":"Пермь 🏙"}'
    assert tool["gen_ai.tool.call.result"] == result
    assert (run[IN], run[OUT]) == (f"[{user}]", answer)


PICTURE: Final = bytes(range(256)) * 4096
DATA: Final = base64.b64encode(PICTURE).decode()
HASH: Final = f"sha256:{hashlib.sha256(PICTURE).hexdigest()}"


@EITHER
async def test_s67_media_become_references(rigs: Callable[..., Rig], way: str) -> None:
    """A picture of a megabyte is named by its hash on the span, and sent whole; a plain address stays."""
    rig = rigs(content="span")
    server = rig.serve("Кот")
    pictures: list[dict[str, object]] = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/кот.png"}},
    ]
    await ask(rig.rlm(server=server), way, [{"role": "user", "content": pictures}])
    assert json.loads(rig.span("chat gpt-4o").attributes[IN])[0]["parts"] == [
        {"type": "uri", "modality": "image", "uri": HASH, "mime_type": "image/png"},
        {"type": "uri", "modality": "image", "uri": "https://example.com/кот.png"},
    ]
    assert server.requests[0].body["messages"][0]["content"] == pictures
    assert max(len(str(value)) for span in rig.sdk_spans for value in (span.attributes or {}).values()) < 400


def chat_of(count: int, text: str) -> list[dict[str, str]]:
    return [{"role": ("assistant", "user")[number % 2], "content": f"{number} {text}"} for number in range(count)]


@EITHER
async def test_s68_a_long_chat_has_as_many_attributes_as_a_short_one(rigs: Callable[..., Rig], way: str) -> None:
    """200 messages are one attribute: none is dropped by a limit of the SDK, none is missing."""
    short, long = rigs(content="span"), rigs(content="span")
    await ask(short.rlm("ok"), way, chat_of(2, "щ"))
    await ask(long.rlm("ok"), way, chat_of(200, "щ"))
    assert [span.attributes.keys() for span in long.spans] == [span.attributes.keys() for span in short.spans]
    assert [(span.dropped_attributes, len(span.attributes or {}) < 32) for span in long.sdk_spans] == [(0, True)] * 2
    assert len(json.loads(long.span("chat gpt-4o").attributes[IN])) == 200


@EITHER
async def test_s69_content_is_cut_inside_its_structure(rigs: Callable[..., Rig], way: str) -> None:
    """Too long a chat keeps its system prompt and its latest messages, whole and valid, and says how many are gone."""
    rig = rigs(content="span")
    await ask(rig.rlm("ы" * 40_000, system_prompt="Ты кот"), way, chat_of(200, "щ" * 1000))
    span = rig.span("chat gpt-4o").attributes
    asked, said = json.loads(span[IN]), json.loads(span[OUT])
    texts = [message["parts"][0]["content"] for message in asked]
    assert (len(span[IN].encode()) <= 60_000, len(span[OUT].encode())) == (True, 59_992)
    assert texts == ["Ты кот", *(f"{number} {'щ' * 1000}" for number in range(171, 200))]
    assert span["rlm.content.omitted"] == 171
    assert said[0]["parts"][0]["content"].strip("ы") == "..."


def broken() -> str:
    """Fails."""
    raise LookupError("нет Ивана")


FAILS: Final[tuple[Item, ...]] = (
    Answer("Иван ушёл", tool_calls=[Tool("broken"), Tool("погода", {"город": "Иван-город"})]),
    Failure(429, message="Иван спешит", retry_after=0),
    Failure(400, message="Иван — плохое слово"),
)


async def fail(rig: Rig, way: str, **options: Any) -> None:
    """A run with all kinds of text, that ends in an error."""
    rlm = rig.rlm(*FAILS, tools=[broken, погода], system_prompt="Зови его Иван", max_retries=1, **options)
    with pytest.raises(openai.BadRequestError):
        await ask(rlm, way, "Где Иван?")


@ANY_WAY
async def test_s72_what_is_not_sampled_is_not_serialised(rigs: Callable[..., Rig], way: str) -> None:
    """The redaction rule never sees a text of a trace that is sampled out; the metrics are the same."""
    seen: list[str] = []

    def rule(text: str) -> str:
        seen.append(text)
        return text

    rig = rigs(content="both", sampler=ALWAYS_OFF, redact=rule)
    plain = rigs()
    for each in (rig, plain):
        await fail(each, way)
    assert (seen, rig.spans, rig.logs) == ([], [], [])
    assert rig.metric_names == plain.metric_names
    assert rig.value("rlm.client.operations") == plain.value("rlm.client.operations") == 2


@ANY_WAY
async def test_s73_a_rule_applies_to_all_that_leaves(rigs: Callable[..., Rig], tmp_path: Path, way: str) -> None:
    """Attributes, events, status, exceptions with their stacks, log events and files: nothing has the name."""

    def rule(text: str) -> str:
        return text.replace("Иван", "[имя]")

    rig = rigs(content="both", redact=rule, environ=EXCEPTIONS_TWICE)
    with JSONLLogger(tmp_path / "log.jsonl", redact=rule) as file:
        await fail(rig, way, callbacks=[rig.callback, file])
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    assert ("Иван" in told(rig), "Иван" in lines) == (False, False)
    first, last = (span for span in rig.spans if span.name == "chat gpt-4o")
    tool = rig.span("execute_tool broken")
    assert '"Где [имя]?"' in rig.span("invoke_agent").attributes[IN]
    assert '"[имя] ушёл"' in first.attributes[OUT]
    assert "[имя]-город" in rig.span("execute_tool погода").attributes["gen_ai.tool.call.arguments"]
    assert last.event("rlm.retry").attributes["rlm.error.message"] == "Error code: 429 - [имя] спешит"
    assert last.description == last.event("exception").attributes["exception.message"]
    assert last.description == "Error code: 400 - [имя] — плохое слово"
    assert tool.event("exception").attributes["exception.stacktrace"].endswith("LookupError: нет [имя]а\n")
    assert [log.name for log in rig.logs if "[имя]" in repr(log)] == [log.name for log in rig.logs]
    assert sorted(str(log.name) for log in rig.logs) == [
        *["gen_ai.client.inference.operation.details"] * 2,
        "gen_ai.client.operation.exception",
        *["rlm.operation.details"] * 3,
        "rlm.operation.exception",
    ]
    assert lines.count("[имя]") == 11


@ANY_WAY
async def test_s73_a_rule_that_fails_drops_the_text(
    rigs: Callable[..., Rig], tmp_path: Path, caplog: pytest.LogCaptureFixture, way: str
) -> None:
    """What it failed on is nowhere, in no log line either, although the rule's own error quotes it; the rest is."""

    def rule(text: str) -> str:
        if "Иван" in text:
            raise ValueError(f"cannot judge {text}")
        return text

    rig = rigs(content="both", redact=rule, environ=EXCEPTIONS_TWICE)
    with caplog.at_level(logging.INFO, "rlm_otel"), JSONLLogger(tmp_path / "log.jsonl", redact=rule) as file:
        await fail(rig, way, callbacks=[rig.callback, file])
    lines = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    assert [text for text in (told(rig), lines, caplog.text) if "Иван" in text] == []
    assert rig.span("execute_tool погода").attributes["gen_ai.tool.call.result"] == '{"что":"дождь 🌧"}'
    (warning,) = [record for record in caplog.records if "redact" in record.getMessage()]
    assert warning.getMessage().startswith(f"{rule.__qualname__}.redact raised ValueError ({__file__}:")
    assert (warning.exc_info, list(fence.failures())) == (None, [(rule.__qualname__, "redact")])


MIXED: Final[list[dict[str, Any]]] = [
    {
        "role": "user",
        "name": "Анна",
        "content": [
            {"type": "text", "text": "Что это?"},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "input_audio", "input_audio": {"data": "AAEC", "format": "wav"}},
            {"type": "file", "file": {"file_id": "file-1"}},
            {"type": "hologram", "hologram": {"data": "AAEC"}},
        ],
    },
    {"role": "assistant", "content": [{"type": "refusal", "refusal": "Не скажу"}]},
]
SOUND: Final = "sha256:ae4b3280e56e2faf83f414a6e3dabe9d5fbe18976544c05fed121accb85b53fc"


@ANY_WAY
async def test_s74_each_kind_of_part_is_the_right_one(rigs: Callable[..., Rig], way: str) -> None:
    """Pictures, sounds, files, thoughts and refusals; without content the spans and all else on them are the same."""
    on, off = rigs(content="span"), rigs()
    for rig in (on, off):
        await ask(rig.rlm(Answer("Кот", reasoning="Хм, усы"), clock=StepClock()), way, MIXED)
    chat = on.span("chat gpt-4o").attributes
    assert [message["parts"] for message in json.loads(chat[IN])] == [
        [
            {"type": "text", "content": "Что это?"},
            {"type": "uri", "modality": "image", "uri": "https://example.com/a.png"},
            {"type": "uri", "modality": "audio", "uri": SOUND, "mime_type": "audio/wav"},
            {"type": "file", "modality": "document", "file_id": "file-1"},
            {"type": "hologram"},
        ],
        [{"type": "text", "content": "Не скажу"}],
    ]
    assert json.loads(chat[OUT])[0]["parts"] == [
        {"type": "reasoning", "content": "Хм, усы"},
        {"type": "text", "content": "Кот"},
    ]
    assert on.outline() == off.outline() == "invoke_agent\n  chat gpt-4o"
    changing = {"server.port"}
    assert [without(span.attributes, TEXTS | changing) for span in on.spans] == [
        without(span.attributes, changing) for span in off.spans
    ]


def without(attributes: dict[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in attributes.items() if name not in names}
