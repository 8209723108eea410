"""Embeddings: how long the vectors are and what they cost; neither the texts nor the vectors are read."""

from collections.abc import Mapping
from typing import Final

from rlm_otel.events import Request
from rlm_otel.outcome import Failure, Reply, Usage
from rlm_otel.reader.fields import count, items, read, text
from rlm_otel.reader.reply import header, known_headers, read_rate_limits, usage_of
from rlm_otel.reader.surface import Asked, Surface, no_answer

_FLOAT_BYTES: Final = 4  # base64 holds 32-bit floats


def _asked(body: Mapping[str, object]) -> Asked:
    encoding = text(body.get("encoding_format"))
    return Asked(
        request=Request(
            dimensions=count(body.get("dimensions")), encoding_formats=None if encoding is None else (encoding,)
        ),
        model=text(body.get("model")) or "",
    )


def _reply(response: object, headers: object) -> tuple[Reply, Usage | None]:
    told = known_headers(headers)
    reply = Reply(
        model=text(read(response, "model")),
        request_id=header(told, "x-request-id") or text(read(response, "_request_id")),
        rate_limits=read_rate_limits(told),
        dimensions=_dimensions(response),
        raw=response,
    )
    return reply, _usage(usage_of(response))


def _usage(usage: object) -> Usage | None:
    """All tokens went in: nothing comes out, which no price list has to be asked about, and the total is the input."""
    tokens = count(read(usage, "prompt_tokens"))
    if tokens is None:
        tokens = count(read(usage, "total_tokens"))
    return None if tokens is None else Usage(input_tokens=tokens, output_tokens=0)


def _dimensions(response: object) -> int | None:
    """The length of the first vector: a list of numbers, or base64 where the caller wants it so."""
    vector = next((read(one, "embedding") for one in items(read(response, "data"))), None)
    if isinstance(vector, str):
        held = len(vector) * 3 // 4 - vector[-2:].count("=")
        return held // _FLOAT_BYTES or None
    numbers = items(vector)
    return len(numbers) if numbers and isinstance(numbers[0], int | float) else None


def _failure(response: object) -> Failure | None:
    return None if items(read(response, "data")) else no_answer(response, "data")


class _NoChunks:
    """Embeddings are never streamed; whatever comes is not read."""

    __slots__ = ("generated", "visible")

    def __init__(self, _headers: object) -> None:
        self.generated: bool = False
        self.visible: bool = False

    def feed(self, _chunk: object, /) -> str:
        return ""

    def complete(self) -> bool:
        return True

    def failure(self) -> Failure | None:
        return None

    def result(self) -> tuple[Reply, Usage | None]:
        return Reply(), None

    def pieces(self) -> int:
        return 0

    @property
    def reported_cost(self) -> float | None:
        return None


EMBEDDINGS: Final = Surface(
    operation="embeddings", asked=_asked, reply=_reply, failure=_failure, chunk_reader=_NoChunks
)
