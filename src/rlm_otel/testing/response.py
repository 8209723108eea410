"""The JSON of a scripted response of the Responses API, whole or as the events that a stream has, in their order."""

from collections.abc import Iterator
from typing import Final

from rlm_otel.testing.answering import (
    ARGUMENT_PIECE,
    CREATED,
    arguments_of,
    call_id_of,
    counted,
    present,
    reason_of,
    texts_of,
    words,
)
from rlm_otel.testing.script import Answer, Json, Tokens

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
_WAITING: Final = ("queued", "in_progress")
_FAILED: Final = {"code": "server_error", "message": "The model failed to generate a response."}
ENDS: Final = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")
"""The types of the events after which nothing more comes."""


def response(answer: Answer, request: Json, number: int) -> Json:
    """The body of a response that is not streamed."""
    status = _status(answer)
    output = [] if status in _WAITING else _output(answer, request, number)
    return _response(answer, request, number, status, output)


def events(answer: Answer, request: Json, number: int) -> Iterator[tuple[float, Json]]:
    """Every event of a stream with the pause before it."""
    after = request.get("starting_after")
    for sequence, (pause_s, event) in enumerate(_events(answer, request, number)):
        if after is None or sequence > after:
            yield pause_s, {**event, "sequence_number": sequence}


def _events(answer: Answer, request: Json, number: int) -> Iterator[tuple[float, Json]]:
    if answer.prelude:
        begun = _response(answer, request, number, "in_progress", [])
        yield 0.0, {"type": "response.created", "response": begun}
        yield 0.0, {"type": "response.in_progress", "response": begun}
    status = _status(answer)
    if status in _WAITING:
        return
    pause_s = answer.first_token_delay_s
    output = _output(answer, request, number)
    for index, item in enumerate(output):
        for event in _item_events(answer, item):
            is_piece = event["type"].endswith(".delta")
            yield pause_s if is_piece else 0.0, {**event, "output_index": index}
            if is_piece:
                pause_s = answer.chunk_delay_s
    yield 0.0, {"type": f"response.{status}", "response": _response(answer, request, number, status, output)}


def _status(answer: Answer) -> str:
    if answer.status is not None:
        return answer.status
    return "incomplete" if reason_of(answer, 0) in _INCOMPLETE else "completed"


def _response(answer: Answer, request: Json, number: int, status: str, output: list[Json]) -> Json:
    reason = _INCOMPLETE.get(reason_of(answer, 0) or "", "max_output_tokens")
    is_over = status not in _WAITING
    usage = counted(answer, request, texts_of(answer, request)[:1]) if is_over else None
    return {
        "id": request.get("id") or f"resp_{number}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": bool(request.get("background")),
        "error": _FAILED if status == "failed" else None,
        "incomplete_details": {"reason": reason} if status == "incomplete" else None,
        "instructions": request.get("instructions"),
        "metadata": {},
        "model": answer.model or request.get("model") or "scripted",
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": request.get("previous_response_id"),
        "temperature": request.get("temperature", 1.0),
        "tool_choice": "auto",
        "tools": request.get("tools") or [],
        "top_p": request.get("top_p", 1.0),
        "usage": None if usage is None else _usage_body(usage),
        **present(service_tier=answer.service_tier),
    }


def _output(answer: Answer, request: Json, number: int) -> list[Json]:
    """The items in the order in which they are generated: reasoning, what is said, tool calls."""
    text = texts_of(answer, request)[0]
    output: list[Json] = []
    if answer.reasoning is not None:
        summary = [{"type": "summary_text", "text": answer.reasoning}]
        output.append({"id": f"rs_{number}", "type": "reasoning", "summary": summary})
    if text or answer.refusal is not None or not answer.tool_calls:
        said: Json = {"type": "output_text", "text": text, "annotations": []}
        if answer.refusal is not None:
            said = {"type": "refusal", "refusal": answer.refusal}
        item = {"id": f"msg_{number}", "type": "message", "role": "assistant", "status": "completed", "content": [said]}
        output.append(item)
    for index, tool in enumerate(answer.tool_calls):
        call = {"type": "function_call", "name": tool.name, "arguments": arguments_of(tool), "status": "completed"}
        output.append({"id": f"fc_{number}_{index}", "call_id": call_id_of(tool, number, index), **call})
    return output


def _item_events(answer: Answer, item: Json) -> Iterator[Json]:
    yield {"type": "response.output_item.added", "item": {**item, **_BEGUN[item["type"]]}}
    for event in _inner_events(answer, item):
        yield {**event, "item_id": item["id"]}
    yield {"type": "response.output_item.done", "item": item}


def _inner_events(answer: Answer, item: Json) -> Iterator[Json]:
    if item["type"] == "function_call":
        arguments = item["arguments"]
        for start in range(0, len(arguments), ARGUMENT_PIECE):
            piece = arguments[start : start + ARGUMENT_PIECE]
            yield {"type": "response.function_call_arguments.delta", "delta": piece}
        yield {"type": "response.function_call_arguments.done", "arguments": arguments}
        return
    is_thought = item["type"] == "reasoning"
    part = item["summary"][0] if is_thought else item["content"][0]
    kind, field = _PARTS[part["type"]]
    whole: str = part[field]
    place = {"summary_index": 0} if is_thought else {"content_index": 0}
    around = "response.reasoning_summary_part" if is_thought else "response.content_part"
    extra: Json = {"logprobs": []} if part["type"] == "output_text" else {}
    yield {"type": f"{around}.added", "part": {**part, field: ""}, **place}
    for piece in _pieces(answer, part["type"], whole):
        yield {"type": f"{kind}.delta", "delta": piece, **place, **extra}
    yield {"type": f"{kind}.done", field: whole, **place, **extra}
    yield {"type": f"{around}.done", "part": part, **place}


_BEGUN: Final[dict[str, Json]] = {
    "reasoning": {"summary": []},
    "message": {"content": [], "status": "in_progress"},
    "function_call": {"arguments": "", "status": "in_progress"},
}
"""How each kind of item looks before anything of it has come."""
_PARTS: Final = {
    "summary_text": ("response.reasoning_summary_text", "text"),
    "output_text": ("response.output_text", "text"),
    "refusal": ("response.refusal", "refusal"),
}
"""What the events of a part are called, and where its text is."""


def _pieces(answer: Answer, kind: str, whole: str) -> list[str]:
    if kind == "output_text" and answer.chunks is not None:
        return [piece for piece in answer.chunks if piece is not None]
    return words(whole)


def _usage_body(usage: Tokens) -> Json:
    return {
        "input_tokens": usage.input,
        "input_tokens_details": present(cached_tokens=usage.cached, cache_write_tokens=usage.cache_write),
        "output_tokens": usage.output,
        "output_tokens_details": present(reasoning_tokens=usage.reasoning),
        "total_tokens": usage.input + usage.output,
        **present(cost=usage.cost),
    }
