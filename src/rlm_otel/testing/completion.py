"""The JSON of a scripted chat completion, whole or in chunks, in the shapes that OpenAI's API has."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import zip_longest

from rlm_otel.testing.answering import (
    ARGUMENT_PIECE,
    CREATED,
    arguments_of,
    call_id_of,
    counted,
    reason_of,
    texts_of,
    usage_body,
    words,
)
from rlm_otel.testing.script import Answer, Json, Tool


def completion(answer: Answer, request: Json, number: int) -> Json:
    """The body of a chat completion that is not streamed."""
    texts = texts_of(answer, request)
    body = _envelope(answer, request, number, "chat.completion")
    body["choices"] = [
        {
            "index": index,
            "message": _message(answer, text, number),
            "logprobs": None,
            "finish_reason": reason_of(answer, index),
        }
        for index, text in enumerate(texts)
    ]
    usage = counted(answer, request, texts)
    if usage is not None:
        body["usage"] = usage_body(usage)
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
    texts = texts_of(answer, request)
    envelope = _envelope(answer, request, number, "chat.completion.chunk")
    usage = counted(answer, request, texts) if (request.get("stream_options") or {}).get("include_usage") else None
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
            data["usage"] = usage_body(replace(usage, output=usage.output * sent // len(deltas)))
        yield pause_s, data
        pause_s = answer.chunk_delay_s
    for index in range(len(texts)):
        yield 0.0, chunk(index, {}, reason_of(answer, index))
    if usage is not None:
        yield 0.0, {**envelope, "choices": [], "usage": usage_body(usage)}


def _deltas(answer: Answer, text: str, number: int) -> Iterator[Json]:
    """The generated pieces of one choice in order: reasoning, refusal, text, tool calls."""
    yield from ({"reasoning_content": word} for word in words(answer.reasoning or ""))
    yield from ({"refusal": word} for word in words(answer.refusal or ""))
    yield from ({"content": piece} for piece in (words(text) if answer.chunks is None else answer.chunks))
    for index, tool in enumerate(answer.tool_calls):
        call = _tool_call(tool, number, index)
        arguments = call["function"]["arguments"]
        head = {**call, "index": index, "function": {"name": tool.name, "arguments": ""}}
        yield {"tool_calls": [head]}
        for start in range(0, len(arguments), ARGUMENT_PIECE):
            piece = arguments[start : start + ARGUMENT_PIECE]
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _envelope(answer: Answer, request: Json, number: int, kind: str) -> Json:
    envelope: Json = {
        "id": f"chatcmpl-{number}",
        "object": kind,
        "created": CREATED,
        "model": answer.model or request.get("model"),
    }
    if answer.system_fingerprint is not None:
        envelope["system_fingerprint"] = answer.system_fingerprint
    if answer.service_tier is not None:
        envelope["service_tier"] = answer.service_tier
    return envelope


def _tool_call(tool: Tool, number: int, index: int) -> Json:
    function = {"name": tool.name, "arguments": arguments_of(tool)}
    return {"id": call_id_of(tool, number, index), "type": "function", "function": function}
