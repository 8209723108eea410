"""What happened: frozen records of runs, model calls and tool calls, and the protocol that gives them trace ids."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self, runtime_checkable

from rlm_otel.messages import Message, ToolDefinition, ToolRequest

Outcome = Literal["completed", "closed", "abandoned", "cancelled", "failed"]
Labels = tuple[tuple[str, str], ...]
Passage = Literal["new", "handled", "passing"]


# What is being done ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """The parameters that the caller sent; one that was not sent is None."""

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: tuple[str, ...] | None = None
    seed: int | None = None
    choices: int | None = None
    output_type: str | None = None
    reasoning_level: str | None = None
    service_tier: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A whole (recursive) agent run; its name is the `agent` of its origin."""

    messages: tuple[Message, ...] = ()
    model: str | None = None
    provider: str | None = None
    stream: bool = False
    request: Request = field(default_factory=Request)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One logical call of a model, its retries included."""

    provider: str
    model: str
    name: str = "chat"
    """The operation's name in the conventions: `chat`, `text_completion`, `embeddings`."""
    server_address: str | None = None
    server_port: int | None = None
    stream: bool = False
    request: Request = field(default_factory=Request)
    messages: tuple[Message, ...] = ()
    tools: tuple[ToolDefinition, ...] = ()
    turn: int | None = None
    """Which iteration of its run this is, from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """One execution of a tool (a REPL or code block of an RLM is one too)."""

    name: str
    arguments: str = ""
    """JSON text, or whatever text the caller gave."""
    call_id: str | None = None
    type: str = "function"
    description: str | None = None
    turn: int | None = None


Operation = Run | ModelCall | ToolCall


# What came back ----------------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run came to. Calls are its own, without those of sub-runs; `unpriced_calls` counts the whole tree."""

    text: str = ""
    finish_reasons: tuple[str | None, ...] = ()
    inference_calls: int = 0
    tool_calls: int = 0
    unpriced_calls: int = 0


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


# Events ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Link:
    """The span of an operation: lower-case hex ids of the W3C trace context, and whether it is sampled."""

    trace_id: str
    span_id: str
    sampled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which operation an event is about, and where it stands in the tree of runs."""

    id: str
    parent_id: str | None
    root_id: str
    run_id: str | None
    """The run it belongs to; a run belongs to itself."""
    depth: int = 0
    """Recursion level of the run, root = 0."""
    agent: str | None = None
    """Name of the run it belongs to (`gen_ai.agent.name`)."""
    conversation: str | None = None
    labels: Labels = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Event:
    origin: Origin
    time_ns: int
    """Wall clock, nanoseconds since 1970."""
    monotonic_ns: int
    operation: Operation
    link: Link | None = None
    """The operation's span, where one of the callbacks makes spans."""

    @property
    def id(self) -> str:
        return self.origin.id

    @property
    def parent_id(self) -> str | None:
        return self.origin.parent_id

    @property
    def root_id(self) -> str:
        return self.origin.root_id

    @property
    def depth(self) -> int:
        return self.origin.depth

    @property
    def agent(self) -> str | None:
        return self.origin.agent

    @property
    def conversation(self) -> str | None:
        return self.origin.conversation


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(_Event):
    """An operation began."""

    parent: Link | None = None
    """The span of the parent operation."""
    peek: "Callable[[], Finished] | None" = field(default=None, repr=False, compare=False)
    """What is known so far, as if it were abandoned now; for who must stop listening before the end. Ends nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk(_Event):
    """A piece of a root run's answer arrived; made only where a callback wants tokens."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Retrying(_Event):
    """Attempt `attempt` (from 1) failed and will be repeated in `delay_s` seconds, at most `max_attempts` times."""

    attempt: int
    max_attempts: int
    failure: Failure
    delay_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(_Event):
    """An operation ended, exactly once whatever the way out. Times are seconds since its start."""

    elapsed_s: float
    outcome: Outcome
    failure: Failure | None = None
    passage: Passage = "new"
    """Of a failure: `new` arose here and leaves (what `on_error` tells), `handled` arose here and goes to the model (a
    tool's), `passing` came up from an operation below and was told there."""
    result: Reply | ToolResult | RunResult | None = None
    usage: Usage | None = None
    cost: Cost | Unpriced | None = None
    attempts: int = 0
    """Requests sent, the successful one included (model calls)."""
    first_chunk_s: float | None = None
    first_token_s: float | None = None
    """The first generated text, reasoning or tool call: a role-only prelude is not an answer."""
    first_visible_s: float | None = None
    """The first text of the answer."""
    chunk_gaps_s: Sequence[float] = ()
    """Seconds between one chunk and the next, where a callback asks for them."""


Event = Started | Chunk | Retrying | Finished


class Listener(Protocol):
    """Gets every event, after the clock was read and never on the way of the work."""

    def on_event(self, event: Event, /) -> None:
        """Takes note of an event; raises nothing."""


@runtime_checkable
class Tracing(Protocol):
    """What gives operations their span ids and their place in the caller's trace (`OTelCallback` does)."""

    def begin(self, started: Started, /) -> Link | None:
        """Makes the operation's span; None where nothing is to be recorded."""

    def current(self, link: Link, /) -> AbstractContextManager[object]:
        """Makes the span current in the caller's thread for as long as the block runs."""

    def suppressed(self) -> AbstractContextManager[object]:
        """Keeps other instrumentations of the same model call quiet for as long as the block runs."""
