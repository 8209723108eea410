"""What came of an operation: its outcome, reply, usage, cost and failure."""

from dataclasses import dataclass, field
from typing import Literal, Self

from rlm_otel.messages import Message, ToolRequest
from rlm_otel.quick import quick

Outcome = Literal["completed", "closed", "abandoned", "cancelled", "failed"]
Passage = Literal["new", "handled", "passing"]


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the vendor counted them; what it did not say is None.

    `input_tokens` includes the cached ones, `output_tokens` the reasoning ones; the rest are subsets of these.
    `input_by` and `output_by` split them by modality where the vendor does: `(("text", 3), ("audio", 4))`.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    reported_total: int | None = None
    input_by: tuple[tuple[str, int], ...] = ()
    output_by: tuple[tuple[str, int], ...] = ()

    @property
    def total_tokens(self) -> int | None:
        """Input and output together; None where neither is known."""
        if self.input_tokens is None and self.output_tokens is None:
            return self.reported_total
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    def __add__(self, other: Self) -> "Usage":
        return Usage(
            input_tokens=_sum(self.input_tokens, other.input_tokens),
            output_tokens=_sum(self.output_tokens, other.output_tokens),
            cache_read_tokens=_sum(self.cache_read_tokens, other.cache_read_tokens),
            cache_write_tokens=_sum(self.cache_write_tokens, other.cache_write_tokens),
            reasoning_tokens=_sum(self.reasoning_tokens, other.reasoning_tokens),
        )


def _sum(a: int | None, b: int | None) -> int | None:
    return a if b is None else b if a is None else a + b


@dataclass(frozen=True, slots=True)
class Cost:
    """What the call cost in USD, and who says so: the `provider` in its reply, or a price list (`local`)."""

    usd: float
    source: Literal["provider", "local"]


@dataclass(frozen=True, slots=True)
class Unpriced:
    """Why a call has no cost: `no_usage` (the vendor counted no tokens) or `no_price` (the model is on no list)."""

    reason: Literal["no_usage", "no_price"]


@dataclass(frozen=True, slots=True)
class RateLimit:
    """Headroom as the vendor's headers tell it; `kind` is `request` or `token`."""

    kind: Literal["request", "token"]
    remaining: int | None = None
    limit: int | None = None


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A model's reply, one message and one finish reason a choice; a reason that never came is None."""

    messages: tuple[Message, ...] = ()
    finish_reasons: tuple[str | None, ...] = ()
    id: str | None = None
    model: str | None = None
    service_tier: str | None = None
    system_fingerprint: str | None = None
    request_id: str | None = None
    rate_limits: tuple[RateLimit, ...] = ()
    status: str | None = None
    """Of a response of the Responses API: `completed`, `incomplete`, `failed`, `queued`..."""
    compacted: bool = False
    """Whether the vendor has shortened the conversation."""
    dimensions: int | None = None
    """Length of the vectors (embeddings)."""
    raw: object = field(default=None, repr=False, compare=False)
    """The SDK's own object of a plain call; None for a stream."""

    @property
    def text(self) -> str:
        """The answer's text, of the first choice."""
        return self.messages[0].text if self.messages else ""

    @property
    def tool_requests(self) -> tuple[ToolRequest, ...]:
        """The tool calls asked for, of the first choice."""
        return tuple(p for m in self.messages[:1] for p in m.parts if isinstance(p, ToolRequest))


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolResult:
    """What a tool gave back, as the text that the model is shown."""

    text: str


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run came to. Calls are its own, without those of sub-runs; `unpriced_calls` counts the whole tree."""

    text: str = ""
    finish_reasons: tuple[str | None, ...] = ()
    inference_calls: int = 0
    tool_calls: int = 0
    unpriced_calls: int = 0
    below: object = field(default=None, repr=False, compare=False)
    """What is kept of the operations inside, for a report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What somebody thinks of a reply: a number on the application's scale, a word for it, or both."""

    name: str
    value: float | None = None
    label: str | None = None
    explanation: str | None = None
    """Why; it is content."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why something ended badly. `message` is content: it may quote the prompt."""

    type: str
    """Low-cardinality `error.type`: the exception's qualified class name."""
    message: str
    exception: BaseException | None = field(default=None, compare=False)
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    retry_after_s: float | None = None
