"""What a surface of the OpenAI API is: an endpoint, and how what goes there and what comes back is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from rlm_otel.errors import NoAnswer
from rlm_otel.events import ModelCall, Request
from rlm_otel.messages import Message, ToolDefinition
from rlm_otel.outcome import Failure, Reply, Usage
from rlm_otel.reader.failure import read_failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request's body says."""

    request: Request = field(default_factory=Request)
    instructions: str | None = None
    """The system prompt, where the API takes it apart from the messages."""
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
        """What the stream itself says that went wrong, where the SDK raises nothing. It comes before `complete()`."""

    def result(self) -> tuple[Reply, Usage | None]:
        """The reply as far as it came, and the tokens counted."""

    def pieces(self) -> int:
        """How many pieces of text, reasoning and tool calls came so far; another thread may ask."""

    @property
    def reported_cost(self) -> float | None:
        """What the vendor itself says that the call cost so far, in USD."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """One surface; an odd request or reply is no reason for any of its functions to raise.

    - `asked(body)`: the request. `body` is the JSON object that is sent (of a GET, which has none, the query).
    - `reply(response, headers)`: what the SDK gave back for a plain call, and the tokens counted.
    - `failure(response)`: why a plain call for which the SDK raised nothing has failed after all, else None.
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
            instructions=asked.instructions,
            messages=asked.messages,
            tools=asked.tools,
        )


def no_answer(response: object, lacks: str) -> Failure:
    """The failure of a call that came back with 200 and something that is no answer, such as a login page."""
    msg = f"the server answered with a {type(response).__name__} without {lacks}; check base_url="
    return read_failure(NoAnswer(msg, response))
