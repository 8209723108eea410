"""Turns one scripted item and one request into the very bytes of the response; pure, knows no sockets."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from threading import Event
from typing import Final, Literal, NamedTuple, assert_never

from rlm_otel.content import encodable
from rlm_otel.testing.endpoints import CHAT, Endpoint
from rlm_otel.testing.script import Answer, Broken, Failure, Hang, Item, Json, Raw

_DONE: Final = b"data: [DONE]\n\n"
_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream; charset=utf-8"


class Piece(NamedTuple):
    """Bytes to send, and how long to wait before."""

    pause_s: float
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What the server has to do for one request."""

    status: int = 200
    headers: Mapping[str, str]
    pieces: tuple[Piece, ...]
    streamed: bool = False
    delay_s: float = 0.0
    gate: Event | None = None
    gate_after: int = 1
    ending: Literal["whole", "cut", "reset", "silent"] = "whole"
    """`silent`: nothing is sent; the connection closes after `delay_s`."""


def respond(item: Item, request: Json, number: int, endpoint: Endpoint = CHAT) -> Response:
    """The response to the request with this number (from 1); `request` is the JSON body."""
    match item:
        case Answer():
            return _answered(item, request, number, endpoint)
        case Broken():
            return _broken(item, request, number, endpoint)
        case Failure():
            return _failed(item)
        case Raw():
            return _raw(item)
        case Hang():
            return Response(headers={}, pieces=(), delay_s=item.seconds, ending="silent")
        case _:
            assert_never(item)


def _answered(answer: Answer, request: Json, number: int, endpoint: Endpoint) -> Response:
    if request.get("stream"):
        pieces = _pieces(endpoint.pieces(answer, request, number), endpoint)
        return _stream(answer, pieces if endpoint.is_typed else [*pieces, Piece(0.0, _DONE)])
    return _whole(answer, endpoint.whole(answer, request, number))


def _pieces(timed: Iterable[tuple[float, Json]], endpoint: Endpoint) -> list[Piece]:
    return [Piece(pause_s, _event(data, typed=endpoint.is_typed)) for pause_s, data in timed]


def _stream(answer: Answer, pieces: list[Piece]) -> Response:
    return Response(
        headers={"content-type": _EVENTS, **answer.headers},
        pieces=tuple(pieces),
        streamed=True,
        delay_s=answer.delay_s,
        gate=answer.gate,
        gate_after=answer.gate_after,
    )


def _whole(answer: Answer, body: Json) -> Response:
    return Response(
        headers={"content-type": _JSON, **answer.headers},
        pieces=(Piece(0.0, _dumps(body)),),
        delay_s=answer.delay_s,
        gate=answer.gate,
    )


def _failed(failure: Failure) -> Response:
    headers = {"content-type": _JSON, **failure.headers}
    if failure.retry_after is not None:
        headers["retry-after"] = f"{failure.retry_after:g}"
    body: Json | str = error_body(failure) if failure.body is None else failure.body
    pieces = (Piece(0.0, _dumps(body)),)
    return Response(status=failure.status, headers=headers, pieces=pieces, delay_s=failure.delay_s)


def _raw(raw: Raw) -> Response:
    kind = _EVENTS if raw.events is not None else _JSON if isinstance(raw.body, dict) else "text/plain; charset=utf-8"
    pieces = [Piece(0.0, _dumps(raw.body))]
    if raw.events is not None:
        pieces = [Piece(raw.chunk_delay_s, _event(event)) for event in raw.events]
    return Response(
        status=raw.status,
        headers={"content-type": raw.content_type or kind, **raw.headers},
        pieces=tuple(pieces),
        streamed=raw.events is not None,
        delay_s=raw.delay_s,
        gate=raw.gate,
        gate_after=raw.gate_after,
    )


def _broken(broken: Broken, request: Json, number: int, endpoint: Endpoint) -> Response:
    answer = broken.answer if isinstance(broken.answer, Answer) else Answer(broken.answer)
    error = error_body(Failure(500, message=broken.message))
    if not request.get("stream"):
        body = error if broken.how == "error_event" else endpoint.whole(answer, request, number)
        if broken.how in ("clean_end", "no_finish"):
            body = endpoint.unfinished(body)
        whole = _whole(answer, body)
        return replace(whole, ending=broken.how) if broken.how in ("cut", "reset") else whole

    timed = list(endpoint.pieces(answer, request, number))
    if broken.how in ("clean_end", "no_finish") or (endpoint.is_typed and broken.how == "error_event"):
        timed = [(pause_s, data) for pause_s, data in timed if not endpoint.is_last(data)]
    pieces = _pieces(timed[: broken.after], endpoint)
    match broken.how:
        case "error_event":
            if endpoint.is_typed:
                told = {"type": "error", "code": "server_error", "message": broken.message, "param": None}
                error = {**told, "sequence_number": len(pieces)}
            return _stream(answer, [*pieces, Piece(0.0, _event(error, typed=endpoint.is_typed))])
        case "no_finish":
            return _stream(answer, [*pieces, Piece(0.0, _DONE)])
        case "clean_end":
            return _stream(answer, pieces)
        case "cut" | "reset":
            return replace(_stream(answer, pieces), ending=broken.how)
        case _:
            assert_never(broken.how)


def error_body(failure: Failure) -> Json:
    """OpenAI's error object."""
    kind = failure.type or ("server_error" if failure.status >= 500 else "invalid_request_error")
    code = failure.code or ("rate_limit_exceeded" if failure.status == 429 else None)
    message = HTTPStatus(failure.status).phrase if failure.message is None else failure.message
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def _event(data: Json | str, *, typed: bool = False) -> bytes:
    if isinstance(data, str):
        return data.encode()
    head = f"event: {data['type']}\n".encode() if typed else b""
    return head + b"data: " + _dumps(data) + b"\n\n"


def _dumps(body: Json | str) -> bytes:
    if isinstance(body, str):
        return body.encode()
    text = json.dumps(body, ensure_ascii=False)
    return (text if encodable(text) == text else json.dumps(body)).encode()  # a lone surrogate as its escape
