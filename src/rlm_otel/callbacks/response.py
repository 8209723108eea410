"""What end hooks are given: a reply whose text is always a str and whose counts are always ints."""

from dataclasses import dataclass, field

from rlm_otel.messages import ToolRequest
from rlm_otel.outcome import Reply, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCounts:
    """Token counts for arithmetic: 0 where the vendor said nothing (`Response.reported` tells the difference)."""

    total_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def prompt_tokens(self) -> int:
        """The OpenAI SDK's name of `input_tokens`."""
        return self.input_tokens

    @property
    def completion_tokens(self) -> int:
        """The OpenAI SDK's name of `output_tokens`."""
        return self.output_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A model's reply as `on_llm_end` gets it."""

    content: str = ""
    usage: TokenCounts = field(default_factory=TokenCounts)
    reported: bool = False
    """Whether the vendor counted tokens at all."""
    model: str | None = None
    """The model that answered, in the vendor's words."""
    finish_reason: str | None = None
    tool_calls: tuple[ToolRequest, ...] = ()
    id: str | None = None
    raw: object = field(default=None, repr=False, compare=False)
    """The SDK's own object; None for a stream."""

    def __str__(self) -> str:
        return self.content


def response_of(reply: Reply | None, usage: Usage | None) -> Response:
    """The hook's view of a reply; of nothing, where the call was closed before anything came."""
    reply = reply or Reply()
    counts = TokenCounts()
    if usage is not None:
        counts = TokenCounts(
            total_tokens=usage.total_tokens or 0,
            input_tokens=usage.input_tokens or 0,
            output_tokens=usage.output_tokens or 0,
            cached_tokens=usage.cache_read_tokens or 0,
            reasoning_tokens=usage.reasoning_tokens or 0,
        )
    return Response(
        content=reply.text,
        usage=counts,
        reported=usage is not None,
        model=reply.model,
        finish_reason=reply.finish_reasons[0] if reply.finish_reasons else None,
        tool_calls=reply.tool_requests,
        id=reply.id,
        raw=reply.raw,
    )
