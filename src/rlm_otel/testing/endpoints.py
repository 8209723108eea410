"""The endpoints that a `ScriptedServer` has: how each one makes an answer, and how its answers go wrong."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from rlm_otel.testing.completion import chunks, completion
from rlm_otel.testing.embedding import embeddings
from rlm_otel.testing.response import ENDS, events, response
from rlm_otel.testing.script import Answer, Json
from rlm_otel.testing.text_completion import text_chunks, text_completion


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint; `whole` and `pieces` take the answer, the request's JSON and its number (from 1)."""

    whole: Callable[[Answer, Json, int], Json]
    pieces: Callable[[Answer, Json, int], Iterator[tuple[float, Json]]]
    """The chunks or events of a stream, with the pause before each."""
    is_last: Callable[[Json], bool]
    """Whether a chunk says that the answer is complete."""
    unfinished: Callable[[Json], Json]
    """The whole answer, without a word that it is complete."""
    is_typed: bool = False
    """Whether the stream's events have types, and end with one of them instead of `[DONE]`."""


def endpoint_of(method: str, path: str) -> Endpoint | None:
    """The endpoint of a request; None for one that the server has not."""
    if method == "GET":
        return _RESPONSES if _stored(path) is not None else None
    return _POSTED.get(path.partition("?")[0]) if method == "POST" else None


def fetched(path: str) -> Json:
    """What a request for a stored response asks: its `id`, `stream`, `starting_after`."""
    query = {name: values[-1] for name, values in parse_qs(urlsplit(path).query).items()}
    asked: Json = {"id": _stored(path), "stream": query.get("stream") == "true"}
    if query.get("starting_after", "").isdigit():
        asked["starting_after"] = int(query["starting_after"])
    return asked


def _stored(path: str) -> str | None:
    found = re.fullmatch(r"/v1/responses/([^/]+)", path.partition("?")[0])
    return None if found is None else unquote(found[1])


def _finishes(chunk: Json) -> bool:
    return any(choice["finish_reason"] for choice in chunk["choices"])


def _without_reasons(body: Json) -> Json:
    return {**body, "choices": [{**choice, "finish_reason": None} for choice in body["choices"]]}


def _none(*_: object) -> Iterator[tuple[float, Json]]:
    return iter(())


_RESPONSES: Final = Endpoint(
    whole=response,
    pieces=events,
    is_last=lambda event: event["type"] in ENDS,
    unfinished=lambda body: {**body, "status": "in_progress"},
    is_typed=True,
)
CHAT: Final = Endpoint(whole=completion, pieces=chunks, is_last=_finishes, unfinished=_without_reasons)
_TEXT: Final = Endpoint(whole=text_completion, pieces=text_chunks, is_last=_finishes, unfinished=_without_reasons)
_EMBEDDINGS: Final = Endpoint(whole=embeddings, pieces=_none, is_last=lambda _: False, unfinished=lambda body: body)
_POSTED: Final = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": _TEXT,
    "/v1/responses": _RESPONSES,
    "/v1/embeddings": _EMBEDDINGS,
}
