"""The JSON of a scripted chat completion, whole or in chunks, in the shapes that OpenAI's API has."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, zip_longest
from typing import Final

from rlm_otel.testing.script import Answer, Json, Tokens, Tool

_CREATED: Final = 1_700_000_000
_ARGUMENT_PIECE: Final = 8


def completion(answer: Answer, request: Json, number: int) -> Json:
    """The body of a chat completion that is not streamed."""
    texts = _texts(answer, request)
    body = _envelope(answer, request, number, "chat.completion")
    body["choices"] = [
        {
            "index": index,
            "message": _message(answer, text, number),
            "logprobs": None,
            "finish_reason": _finish_reason(answer, index),
        }
        for index, text in enumerate(texts)
    ]
    usage = _usage(answer, request, texts)
    if usage is not None:
        body["usage"] = _usage_body(usage)
    return body


def _message(answer: Answer, text: str, number: int) -> Json:
    message: Json = {"role": "assistant", "content": text or (None if answer.tool_calls else ""), "refusal": None}
    if answer.refusal is not None:
        message |= {"content": None, "refusal": answer.refusal}
    if answer.reasoning is not None:
        message["reasoning_content"] = answer.reasoning
    if answer.tool_calls:
        message["tool_calls"] = [_tool_call(tool, number, index) for index, tool in enumerate(answer.tool_calls)]
    return message


def chunks(answer: Answer, request: Json, number: int) -> Iterator[tuple[float, Json]]:
    """Every chunk of a stream with the pause before it."""
    texts = _texts(answer, request)
    envelope = _envelope(answer, request, number, "chat.completion.chunk")
    usage = _usage(answer, request, texts) if (request.get("stream_options") or {}).get("include_usage") else None
    if usage is not None:
        envelope["usage"] = None

    def chunk(index: int, delta: Json, finish_reason: str | None = None) -> Json:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**envelope, "choices": [choice]}

    if answer.prelude:
        for index in range(len(texts)):
            yield 0.0, chunk(index, {"role": "assistant", "content": ""})
    pause_s = answer.first_token_delay_s
    # Choices come in turns, as servers generate them, not one after the other.
    turns = zip_longest(*(_deltas(answer, text, number) for text in texts))
    deltas = [(index, delta) for turn in turns for index, delta in enumerate(turn) if delta is not None]
    for sent, (index, delta) in enumerate(deltas, start=1):
        data = chunk(index, delta)
        if answer.running_usage and usage is not None:
            data["usage"] = _usage_body(replace(usage, output=usage.output * sent // len(deltas)))
        yield pause_s, data
        pause_s = answer.chunk_delay_s
    for index in range(len(texts)):
        yield 0.0, chunk(index, {}, _finish_reason(answer, index))
    if usage is not None:
        yield 0.0, {**envelope, "choices": [], "usage": _usage_body(usage)}


def _deltas(answer: Answer, text: str, number: int) -> Iterator[Json]:
    """The generated pieces of one choice in order: reasoning, refusal, text, tool calls."""
    yield from ({"reasoning_content": word} for word in _words(answer.reasoning or ""))
    yield from ({"refusal": word} for word in _words(answer.refusal or ""))
    yield from ({"content": piece} for piece in (_words(text) if answer.chunks is None else answer.chunks))
    for index, tool in enumerate(answer.tool_calls):
        call = _tool_call(tool, number, index)
        arguments = call["function"]["arguments"]
        head = {**call, "index": index, "function": {"name": tool.name, "arguments": ""}}
        yield {"tool_calls": [head]}
        for start in range(0, len(arguments), _ARGUMENT_PIECE):
            piece = arguments[start : start + _ARGUMENT_PIECE]
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _envelope(answer: Answer, request: Json, number: int, kind: str) -> Json:
    envelope: Json = {
        "id": f"chatcmpl-{number}",
        "object": kind,
        "created": _CREATED,
        "model": answer.model or request.get("model"),
    }
    if answer.system_fingerprint is not None:
        envelope["system_fingerprint"] = answer.system_fingerprint
    if answer.service_tier is not None:
        envelope["service_tier"] = answer.service_tier
    return envelope


def _texts(answer: Answer, request: Json) -> list[str]:
    """The text of each choice."""
    if isinstance(answer.text, tuple):
        return list(answer.text)
    text = answer.text or "".join(piece or "" for piece in answer.chunks or ())
    return [text] * (answer.choices or request.get("n") or 1)


def _finish_reason(answer: Answer, index: int) -> str | None:
    if isinstance(answer.finish_reason, tuple):
        return answer.finish_reason[index]
    return answer.finish_reason or ("tool_calls" if answer.tool_calls else "stop")


def _tool_call(tool: Tool, number: int, index: int) -> Json:
    arguments = tool.arguments if isinstance(tool.arguments, str) else json.dumps(tool.arguments, ensure_ascii=False)
    function = {"name": tool.name, "arguments": arguments}
    return {"id": tool.id or f"call_{number}_{index}", "type": "function", "function": function}


def _usage(answer: Answer, request: Json, texts: list[str]) -> Tokens | None:
    if answer.usage != "counted":
        return answer.usage
    arguments = (tool.arguments for tool in answer.tool_calls)
    said = [*texts, answer.reasoning or "", answer.refusal or "", *map(str, arguments)]
    asked = chain.from_iterable(message_texts(message) for message in request.get("messages") or ())
    return Tokens(input=sum(len(text.split()) for text in asked), output=sum(len(text.split()) for text in said))


def _usage_body(usage: Tokens) -> Json:
    body: Json = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
    }
    prompt = _present(cached_tokens=usage.cached, cache_write_tokens=usage.cache_write)
    output = _present(reasoning_tokens=usage.reasoning)
    return body | _present(
        prompt_tokens_details=prompt or None, completion_tokens_details=output or None, cost=usage.cost
    )


def message_texts(message: Json) -> Iterator[str]:
    """The texts of one message of a request: its content, or the text parts of it."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        parts = (part for part in content if isinstance(part, dict))
        yield from (part["text"] for part in parts if isinstance(part.get("text"), str))


def _present(**values: object) -> Json:
    return {key: value for key, value in values.items() if value is not None}


def _words(text: str) -> list[str]:
    """The text cut behind each word; joined again it is the same text."""
    return re.findall(r"\S+\s*|\s+", text)
