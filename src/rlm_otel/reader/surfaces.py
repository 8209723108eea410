"""The surfaces of the OpenAI API that are observed, by the path of their requests."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from rlm_otel.outcome import Failure
from rlm_otel.reader.chunks import ChunkReader
from rlm_otel.reader.embeddings import EMBEDDINGS
from rlm_otel.reader.fields import items, read, text
from rlm_otel.reader.reply import read_reply
from rlm_otel.reader.request import read_messages, read_request, read_tools
from rlm_otel.reader.responses import RESPONSES, fetched
from rlm_otel.reader.surface import Asked, StreamReader, Surface, no_answer
from rlm_otel.reader.text_completion import TEXT_COMPLETION

__all__ = ["Asked", "StreamReader", "Surface", "surface_of"]


def surface_of(url: str, method: str = "post") -> Surface | None:
    """The surface that a request to this path (or whole URL) is for; None for one that is not observed."""
    parts = url.partition("?")[0].rstrip("/").split("/")
    before, last = parts[-2] if len(parts) > 1 else "", parts[-1]
    if method.lower() == "get":
        return fetched(unquote(last)) if before == "responses" and last else None
    if method.lower() != "post":
        return None
    if last == "completions":
        return CHAT if before == "chat" else TEXT_COMPLETION
    return _POSTED.get(last)


# Chat completions --------------------------------------------------------------------------------------------------


def _asked(body: Mapping[str, object]) -> Asked:
    return Asked(
        request=read_request(body),
        messages=read_messages(items(body.get("messages"))),
        tools=read_tools(body.get("tools")),
        model=text(body.get("model")) or "",
        stream=body.get("stream") is True,
    )


def _failure(response: object) -> Failure | None:
    answered = any(choice is not None for choice in items(read(response, "choices")))
    return None if answered else no_answer(response, "choices")


class _Chunks(ChunkReader):
    """The SDK itself raises what a stream of chat chunks says that went wrong."""

    __slots__ = ()

    def failure(self) -> Failure | None:
        return None


CHAT: Final = Surface(operation="chat", asked=_asked, reply=read_reply, failure=_failure, chunk_reader=_Chunks)
_POSTED: Final = {"responses": RESPONSES, "embeddings": EMBEDDINGS}
