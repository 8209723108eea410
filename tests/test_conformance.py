"""The conformance checker on spans: good ones pass, and each rule catches one bad example."""

from collections.abc import Mapping
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode

from tests.conformance import violations

URL = "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev"

CHAT: dict[str, Any] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-5",
    "gen_ai.request.temperature": 0.5,
    "gen_ai.request.stream": True,
    "gen_ai.response.id": "r1",
    "gen_ai.response.model": "gpt-5-2026",
    "gen_ai.response.finish_reasons": ["stop"],
    "gen_ai.usage.input_tokens": 5,
    "gen_ai.usage.output_tokens": 7,
    "openai.api.type": "chat_completions",
    "server.address": "api.example.com",
    "server.port": 443,
    "rlm.outcome": "completed",
}
TOOL: dict[str, Any] = {
    "gen_ai.operation.name": "execute_tool",
    "gen_ai.tool.name": "search",
    "gen_ai.tool.call.arguments": '{"город": "Пермь 🐻"}',
    "gen_ai.tool.call.result": '{"value": 1}',
    "rlm.outcome": "completed",
}
FAILED = {"rlm.outcome": "failed", "error.type": "openai.RateLimitError"}


def span(
    attributes: Mapping[str, Any],
    name: str = "chat gpt-5",
    kind: SpanKind = SpanKind.CLIENT,
    *,
    drop: str | None = None,
    status: Status | None = None,
    event: tuple[str, dict[str, Any]] | None = None,
    scope: str = "rlm_otel",
    schema_url: str = URL,
) -> ReadableSpan:
    """One finished span from a real SDK."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    kept = {key: value for key, value in attributes.items() if key != drop}
    one = provider.get_tracer(scope, "1", schema_url=schema_url).start_span(name, kind=kind, attributes=kept)
    if event:
        one.add_event(event[0], event[1])
    if status:
        one.set_status(status)
    one.end()
    return exporter.get_finished_spans()[0]


def test_good_spans_pass() -> None:
    """What the conventions and our own names allow is not complained about."""
    error = Status(StatusCode.ERROR, "429")
    spans = [
        span(CHAT),
        span(TOOL, "execute_tool search", SpanKind.INTERNAL),
        span(
            {"gen_ai.operation.name": "invoke_agent", "rlm.outcome": "closed", "app.order": 7},
            "invoke_agent",
            SpanKind.INTERNAL,
        ),
        span(CHAT | FAILED, status=error, event=("exception", {"exception.type": "E", "exception.escaped": "False"})),
        span(CHAT, event=("rlm.retry", {"rlm.retry.wait": 0.5, "error.type": "429"})),
        span({"rlm.doctor": True}, "rlm.doctor", SpanKind.INTERNAL),
        span({"mcp.method.name": "tools/call", "gen_ai.tool.name": "x", "rlm.outcome": "closed"}, "tools/call x"),
    ]
    assert violations(spans) == []


def test_spans_of_other_scopes_are_not_ours() -> None:
    """An application's spans beside ours are left alone."""
    assert violations([span({"anything": 1}, "GET /", scope="app")]) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"gen_ai.operation.name": "chatting"}, "operation 'chatting' is not known"),
        ({"gen_ai.usage.input_tokens": True}, "gen_ai.usage.input_tokens: True is bool, not int"),
        ({"gen_ai.usage.input_tokens": 5.0}, "gen_ai.usage.input_tokens: 5.0 is float, not int"),
        ({"gen_ai.request.temperature": 1}, "gen_ai.request.temperature: 1 is int, not double"),
        ({"gen_ai.response.finish_reasons": "stop"}, "gen_ai.response.finish_reasons: 'stop' is str, not string[]"),
        ({"gen_ai.response.id": ""}, "gen_ai.response.id: an unknown value is left out, not empty"),
        ({"gen_ai.request.stream": False}, "gen_ai.request.stream: False is said by leaving it out"),
        ({"gen_ai.request.choice.count": 1}, "gen_ai.request.choice.count: 1 is said by leaving it out"),
        (
            {"gen_ai.usage.cache_read.input_tokens": 0},
            "gen_ai.usage.cache_read.input_tokens: a breakdown of zero tokens is left out",
        ),
        (
            {"gen_ai.output.type": "xml"},
            "gen_ai.output.type: 'xml' is not one of ['text', 'json', 'image', 'speech']",
        ),
        ({"llm.model": "x"}, "llm.model: unknown name, and not under rlm."),
        ({"gen_ai.prompt.variable": "x"}, "gen_ai.prompt.variable: unknown name, and not under rlm."),
        ({"gen_ai.tool.name": "x"}, "gen_ai.tool.name: not declared here"),
        ({"rlm.outcome": "done"}, "rlm.outcome 'done' is not one of"),
        ({"rlm.outcome": "failed"}, "rlm.outcome 'failed' with status UNSET"),
        ({"error.type": "429"}, "status UNSET with error.type '429': both or neither"),
        ({"gen_ai.provider.name": "groq"}, "openai.api.type: not declared here"),
    ],
)
def test_a_bad_attribute_is_caught(changes: dict[str, Any], problem: str) -> None:
    """Names, types, enums and value rules of attributes."""
    assert problem in " | ".join(violations([span(CHAT | changes)]))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("gen_ai.provider.name", "gen_ai.provider.name is missing"),
        ("gen_ai.request.model", "gen_ai.request.model is missing"),  # required for openai
        ("gen_ai.response.finish_reasons", "gen_ai.response.finish_reasons is missing"),
        ("server.address", "server.address is missing"),
        ("server.port", "server.port is missing beside server.address"),
        ("rlm.outcome", "rlm.outcome None is not one of"),
    ],
)
def test_a_missing_attribute_is_caught(name: str, problem: str) -> None:
    """Required ones always, recommended ones because the call completed with usage."""
    assert problem in " | ".join(violations([span(CHAT, drop=name)]))


def test_recommended_attributes_are_only_asked_of_completed_calls_with_usage() -> None:
    """A closed stream owes no response id, and neither does a call without usage."""
    closed = span(CHAT | {"rlm.outcome": "closed"}, drop="gen_ai.response.id")
    silent = {key: value for key, value in CHAT.items() if not key.startswith(("gen_ai.usage", "gen_ai.response"))}
    assert violations([closed, span(silent)]) == []


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        (span(CHAT, "chat"), "the name should be 'chat gpt-5'"),
        (span(TOOL, "search", SpanKind.INTERNAL, drop="gen_ai.tool.name"), "the name fits none of"),
        (span(CHAT, kind=SpanKind.SERVER), "kind server, not one of ['client', 'internal']"),
        (span(CHAT, schema_url="x"), f"schema_url is 'x', not {URL!r}"),
        (span({"doctor": 1}, "rlm.doctor"), "doctor: unknown name, and not under rlm."),
        (span({}, "anything"), "neither gen_ai.operation.name nor a name under rlm."),
        (span(CHAT, status=Status(StatusCode.OK)), "status OK is for applications"),
        (span(CHAT, status=Status(StatusCode.ERROR)), "status ERROR with error.type None: both or neither"),
        (
            span(CHAT | {"error.type": "E"}, status=Status(StatusCode.ERROR)),
            "rlm.outcome 'completed' with status ERROR",
        ),
        (
            span(CHAT | FAILED, status=Status(StatusCode.ERROR, "openai.RateLimitError")),
            "the status description only repeats error.type",
        ),
        (span(CHAT, event=("retry", {})), "span event 'retry': neither `exception` nor a name under rlm."),
        (span(CHAT, event=("exception", {})), "span event 'exception': neither exception.type nor exception.message"),
        (span(CHAT, event=("rlm.retry", {"wait": 1})), "span event 'rlm.retry': wait: unknown name"),
        (
            span(CHAT, event=("exception", {"exception.type": "E", "server.port": 1})),
            "span event 'exception': server.port: not declared here",
        ),
    ],
)
def test_a_bad_span_is_caught(bad: ReadableSpan, problem: str) -> None:
    """Name, kind, scope, status and span events."""
    assert problem in " | ".join(violations([bad]))


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ("[", "gen_ai.input.messages: not JSON"),
        ('{"role": "user"}', "gen_ai.input.messages: not an array"),
        ('["hi"]', "gen_ai.input.messages[0]: not an object"),
        ('[{"role": "user"}]', "gen_ai.input.messages[0].parts: missing"),
        ('[{"role": "user", "parts": "hi"}]', "gen_ai.input.messages[0].parts: not an array"),
        ('[{"role": "user", "parts": ["hi"]}]', "gen_ai.input.messages[0].parts[0]: a part is an object"),
        ('[{"role": "user", "parts": [{"type": "text"}]}]', "gen_ai.input.messages[0].parts[0].content: missing"),
        (
            '[{"role": "user", "parts": [{"type": "text", "content": null}]}]',
            "gen_ai.input.messages[0].parts[0].content: None is not string",
        ),
        (
            '[{"role": "user", "parts": [{"type": "tool_call", "name": "x", "id": 1}]}]',
            "gen_ai.input.messages[0].parts[0].id: 1 is not string|null",
        ),
        (
            '[{"role": "user", "parts": [{"type": "blob", "modality": "image", "content": "привет"}]}]',
            "gen_ai.input.messages[0].parts[0].content: 'привет' is not base64 string",
        ),
        (
            '[{"role": "user", "parts": [{"type": "uri", "modality": "image", "uri": "data:x"}]}]',
            "gen_ai.input.messages[0].parts[0].uri: a data: URL belongs into a blob",
        ),
        (
            '[{"role": "user", "parts": [{"type": "text", "content": "\\u043f"}]}]',
            "gen_ai.input.messages: readable UTF-8, not \\uXXXX",
        ),
    ],
)
def test_bad_messages_are_caught(messages: str, problem: str) -> None:
    """Content on spans is JSON text in the shape of the conventions."""
    found = violations([span(CHAT | {"gen_ai.input.messages": messages})])
    assert problem in " | ".join(found)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("gen_ai.output.messages", '[{"role": "assistant"}]', "[0].parts: missing"),
        ("gen_ai.output.messages", '[{"role": "assistant", "parts": [], "name": 1}]', "[0].name: 1 is not string|null"),
        ("gen_ai.system_instructions", '[{"type": "text"}]', "[0].content: missing"),
        ("gen_ai.memory.records", "[{}]", "[0]: no shape is known for gen_ai.memory.records"),
        ("gen_ai.tool.definitions", '[{"type": "function"}]', "[0].name: missing"),
        (
            "gen_ai.tool.definitions",
            '[{"type": "function", "name": "f", "parameters": {"type": 5}}]',
            "[0].parameters: not a draft-07 schema",
        ),
    ],
)
def test_other_bad_content_is_caught(name: str, text: str, problem: str) -> None:
    """Answers, instructions and tool definitions have shapes too."""
    assert name + problem in " | ".join(violations([span(CHAT | {name: text})]))


def test_good_content_passes() -> None:
    """Every part that has a shape, unknown parts, and escapes that JSON needs."""
    parts = """[
        {"type": "text", "content": "Пермь 🐻 \\u0007 \\\\u0416"}, {"type": "reasoning", "content": "…"},
        {"type": "tool_call", "name": "add", "id": "c1", "arguments": {"a": 1}},
        {"type": "tool_call_response", "id": "c1", "response": "2"}, {"type": "search_result", "source": "x"},
        {"type": "server_tool_call", "name": "web", "server_tool_call": {"type": "web"}},
        {"type": "blob", "modality": "image", "content": "iVBO"}, {"type": "compaction"}
    ]"""
    content = {
        "gen_ai.input.messages": f'[{{"role": "user", "parts": {parts}}}]',
        "gen_ai.output.messages": '[{"role": "assistant", "parts": [], "finish_reason": "stop"}]',
        "gen_ai.system_instructions": '[{"type": "text", "content": "be brief"}]',
        "gen_ai.tool.definitions": '[{"type": "function", "name": "f", "parameters": {"type": "object"}}]',
    }
    assert violations([span(CHAT | content)]) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"gen_ai.tool.call.arguments": "[1]"}, "gen_ai.tool.call.arguments: not an object"),
        ({"gen_ai.tool.call.result": "sunny"}, "gen_ai.tool.call.result: not JSON"),
        ({"gen_ai.tool.call.result": 5}, "gen_ai.tool.call.result: JSON text on spans, not int"),
    ],
)
def test_bad_tool_content_is_caught(changes: dict[str, Any], problem: str) -> None:
    """Arguments and results are JSON objects."""
    assert problem in " | ".join(violations([span(TOOL | changes, "execute_tool search", SpanKind.INTERNAL)]))


def test_a_lone_surrogate_and_none_are_caught() -> None:
    """Neither can be exported, whatever the attribute's name."""
    found = violations([span(CHAT | {"rlm.text": "\ud800", "rlm.nothing": None})])
    assert found == [
        "span 'chat gpt-5': rlm.text: a lone surrogate cannot be exported",
        "span 'chat gpt-5': rlm.nothing: an unknown value is left out, not None",
    ]
