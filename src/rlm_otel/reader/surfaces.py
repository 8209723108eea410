"""The surfaces of the OpenAI API that are observed: how each one's requests, replies and streams are read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from rlm_otel.errors import NoAnswer
from rlm_otel.events import ModelCall, Request
from rlm_otel.messages import Message, ToolDefinition
from rlm_otel.outcome import Failure, Reply, Usage
from rlm_otel.reader.chunks import ChunkReader
from rlm_otel.reader.failure import read_failure
from rlm_otel.reader.fields import items, read, text
from rlm_otel.reader.reply import read_reply
from rlm_otel.reader.request import read_messages, read_request, read_tools


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request's body says."""

    request: Request
    messages: tuple[Message, ...] = ()
    tools: tuple[ToolDefinition, ...] = ()
    model: str = ""
    """Empty where the request names none."""
    stream: bool = False


class StreamReader(Protocol):
    """Reads the chunks (or events) of one stream and keeps strings, no chunks."""

    generated: bool
    """Whether any text, reasoning or piece of a tool call was seen."""
    visible: bool
    """Whether any text of the answer was seen."""

    def feed(self, chunk: object, /) -> str:
        """Takes note of one chunk; the text it adds to the answer, "" if none. Never raises."""

    def complete(self) -> bool:
        """Whether the answer came to its end; otherwise the stream was torn."""

    def failure(self) -> Failure | None:
        """What the stream itself says that went wrong, without an exception of the SDK."""

    def result(self) -> tuple[Reply, Usage | None]:
        """The reply as far as it came, and the tokens counted."""

    @property
    def reported_cost(self) -> float | None:
        """What the vendor itself says that the call cost so far, in USD."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """One surface: an endpoint, and how what goes there and comes back is read. None of its functions raises.

    - `asked(body)`: the request. `body` is the JSON object that is sent (of a GET, which has none, the query).
    - `reply(response, headers)`: what the SDK gave back for a plain call, and the tokens counted.
    - `failure(response)`: why a plain call that raised nothing has failed after all, else None.
    - `chunk_reader(headers)`: what reads a stream.

    `headers` are those of the HTTP response, a mapping that ignores case, or None.
    """

    operation: str
    """The operation's name in the conventions (`ModelCall.name`)."""
    asked: Callable[[Mapping[str, object]], Asked]
    reply: Callable[[object, object], tuple[Reply, Usage | None]]
    failure: Callable[[object], Failure | None]
    chunk_reader: Callable[[object], StreamReader]

    def model_call(
        self,
        body: Mapping[str, object],
        *,
        provider: str,
        server_address: str | None = None,
        server_port: int | None = None,
    ) -> ModelCall:
        """The operation that a request with this body begins."""
        asked = self.asked(body)
        return ModelCall(
            provider=provider,
            model=asked.model,
            name=self.operation,
            server_address=server_address,
            server_port=server_port,
            stream=asked.stream,
            request=asked.request,
            messages=asked.messages,
            tools=asked.tools,
        )


def surface_of(url: str, method: str = "post") -> Surface | None:
    """The surface that a request to this path (or whole URL) is for; None for one that is not observed."""
    path = url.partition("?")[0].rstrip("/")
    if method.lower() == "post" and path.endswith("/chat/completions"):
        return _CHAT
    return None


# Chat completions --------------------------------------------------------------------------------------------------


def _chat_asked(body: Mapping[str, object]) -> Asked:
    return Asked(
        request=read_request(body),
        messages=read_messages(items(body.get("messages"))),
        tools=read_tools(body.get("tools")),
        model=text(body.get("model")) or "",
        stream=body.get("stream") is True,
    )


def _chat_failure(response: object) -> Failure | None:
    if any(choice is not None for choice in items(read(response, "choices"))):
        return None
    msg = f"the server answered with a {type(response).__name__} without choices; check base_url="
    return read_failure(NoAnswer(msg, response))


class _ChatReader(ChunkReader):
    """The SDK itself raises what a stream of chat chunks says that went wrong."""

    __slots__ = ()

    def failure(self) -> Failure | None:
        return None


_CHAT: Final = Surface(
    operation="chat",
    asked=_chat_asked,
    reply=read_reply,
    failure=_chat_failure,
    chunk_reader=_ChatReader,
)
