"""What happened: frozen records of runs, model calls and tool calls, and the protocol that gives them trace ids."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from rlm_otel.messages import Message, ToolDefinition
from rlm_otel.outcome import Cost, Failure, Outcome, Passage, Reply, RunResult, ToolResult, Unpriced, Usage
from rlm_otel.quick import quick

Labels = tuple[tuple[str, str], ...]


# What is being done ------------------------------------------------------------------------------------------------


@quick
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
    api: str | None = None
    """The vendor's API, where it is another one than the operation's usual: `responses`."""
    conversation: str | None = None
    """The vendor's id of the conversation that the request belongs to."""
    previous_response_id: str | None = None
    dimensions: int | None = None
    """Length of the vectors asked for (embeddings)."""
    encoding_formats: tuple[str, ...] | None = None
    response_id: str | None = None
    """Of a stored response: which one is fetched."""
    stream_cursor: str | None = None
    """Of a stored response: the event after which its stream goes on."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A whole (recursive) agent run, whose name is the `agent` of its origin; or a workflow of several."""

    messages: tuple[Message, ...] = ()
    model: str | None = None
    provider: str | None = None
    stream: bool = False
    request: Request = field(default_factory=Request)
    workflow: str | None = None
    """Of a workflow its name, empty where it has none; None of an agent's run."""


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCall:
    """One logical call of a model, its retries included."""

    provider: str
    model: str
    """Empty where the request names none."""
    name: str = "chat"
    """The operation's name in the conventions: `chat`, `text_completion`, `embeddings`, `fetch_response`."""
    server_address: str | None = None
    server_port: int | None = None
    stream: bool = False
    request: Request = field(default_factory=Request)
    instructions: str | None = None
    """The system prompt, where the API takes it apart from the messages."""
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


# Events ------------------------------------------------------------------------------------------------------------


@quick
@dataclass(frozen=True, slots=True)
class Link:
    """The span of an operation: lower-case hex ids of the W3C trace context, and whether it is sampled."""

    trace_id: str
    span_id: str
    sampled: bool = True
    state: str = ""
    """The vendors' `tracestate` that belongs to it, as text."""
    remote: bool = False
    """Whether the span is one of another process."""


@dataclass(frozen=True, slots=True)
class NamedPrompt:
    """Which template a prompt was made from, and in which version of it."""

    name: str
    version: str | None = None


@quick
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
    prompt: NamedPrompt | None = None
    """What the model calls inside are made from, where the application says so."""


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


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Started(_Event):
    """An operation began."""

    parent: Link | None = None
    """The span of the parent operation."""
    begun_here: bool = False
    """Whether spans that the application began inside of the parent are nearer than the parent's."""
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


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Finished(_Event):
    """An operation ended, exactly once whatever the way out. Times are seconds since its start."""

    elapsed_s: float
    outcome: Outcome
    failure: Failure | None = None
    passage: Passage = "new"
    """Of a failure: `new` arose here and leaves, `handled` arose here and goes to the model (a tool's), `passing` came
    up from an operation below and was recorded there."""
    tells_failure: bool = False
    """Whether this is where it failed for good, once for each failure: the run or call where it arose, or whose tool it
    leaves. What becomes of a tool's own failure is the caller's affair."""
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
        """Takes note of an event. What it raises is logged and ignored, but for `StopRun`, which stops the run."""


@runtime_checkable
class Tracing(Protocol):
    """What gives operations their span ids and their place in the caller's trace (`OTelCallback` does).

    It may have more, which is asked for and not missed: `annotate` (attributes of an open span), `here` (the span that
    is current in the caller's context), `under` (makes one of another process current there), `feedback` (a score).
    """

    def begin(self, started: Started, /) -> Link | None:
        """Makes the operation's span; None where nothing is to be recorded. `on_event` does not repeat the start."""

    def current(self, link: Link, /) -> AbstractContextManager[object]:
        """Makes the span current in the caller's thread for as long as the block runs."""

    def suppressed(self) -> AbstractContextManager[object]:
        """Keeps other instrumentations of the same model call quiet for as long as the block runs."""
