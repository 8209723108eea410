"""What a `ScriptedServer` can be told to answer: frozen records, one for each kind of behaviour."""

import itertools
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, TypeAlias

Json: TypeAlias = dict[str, Any]
"""A JSON object as the wire has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """The usage block of an answer; a count that is None is left out, as servers do that do not know it."""

    input: int
    output: int
    cached: int | None = None
    """Part of `input` that was read from a cache (`prompt_tokens_details.cached_tokens`)."""
    cache_write: int | None = None
    """Part of `input` that was written to a cache (`prompt_tokens_details.cache_write_tokens`)."""
    reasoning: int | None = None
    """Part of `output` (`completion_tokens_details.reasoning_tokens`)."""
    cost: float | None = None
    """USD, as some gateways report it in `usage.cost`."""


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool call in an answer; arguments given as text are sent as they are, valid JSON or not."""

    name: str
    arguments: Mapping[str, object] | str = ""
    id: str | None = None
    """The vendor's id of the call; a deterministic one if None."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answers, on whichever endpoint it is asked, whole or streamed as the request says.

    Chat completions show all of it, text completions the text, the Responses API one choice; embeddings give vectors
    that depend on the input alone. The Responses API counts tokens in its last event whether or not it was asked to.
    A tuple as `text` or `finish_reason` has one value for each choice; a plain value is that of every choice.
    """

    text: str | tuple[str, ...] = ""
    _: KW_ONLY
    reasoning: str | None = None
    """Sent as `reasoning_content`, before the text."""
    refusal: str | None = None
    tool_calls: Sequence[Tool] = ()
    usage: Tokens | Literal["counted"] | None = "counted"
    """`counted` = the number of words in the request's messages and in the answer; None = the server reports none."""
    finish_reason: str | tuple[str | None, ...] | None = None
    """None = `tool_calls` if there are any, else `stop`; None in a tuple = that choice never gets one."""
    choices: int | None = None
    """None = the length of a tuple `text`, else the request's `n`, else 1."""
    model: str | None = None
    """The model that the response names; None = the request's."""
    chunks: tuple[str | None, ...] | None = None
    """How a streamed text is cut (None = by words); stands for an empty `text`. None in it = `content: null`."""
    prelude: bool = True
    """Whether a stream begins with a chunk that has only the role, as most servers send it."""
    running_usage: bool = False
    """Whether every chunk of a stream carries the usage so far (cumulative), as vLLM can."""
    delay_s: float = 0.0
    """Before the response begins."""
    first_token_delay_s: float = 0.0
    """In a stream: before the first generated piece (after the prelude)."""
    chunk_delay_s: float = 0.0
    """In a stream: before each later piece."""
    gate: threading.Event | None = None
    """In a stream: set it to let the stream go on after `gate_after` chunks; else: to let the response begin."""
    gate_after: int = 1
    system_fingerprint: str | None = None
    service_tier: str | None = None
    status: Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"] | None = None
    """Of a response (Responses API): None = `incomplete` for the finish reasons `length` and `content_filter`, else
    `completed`. `queued` and `in_progress` have no output yet; `failed` has an error."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Extra response headers, for instance `rate_limits(...)`."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An error response with OpenAI's error body, or with a `body` of your own."""

    status: int
    _: KW_ONLY
    message: str | None = None
    """None = the standard phrase of the status."""
    code: str | None = None
    type: str | None = None
    """None = what OpenAI says for this status."""
    retry_after: float | None = None
    """Seconds, for the header `Retry-After`."""
    body: Json | str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


Breakage: TypeAlias = Literal["reset", "cut", "clean_end", "no_finish", "error_event"]


@dataclass(frozen=True, slots=True)
class Broken:
    """An answer that goes wrong after `after` chunks or events (a prelude counts; None = after all that would be sent).

    - `reset`: the connection is reset (RST).
    - `cut`: the connection closes in the middle of the transfer.
    - `clean_end`: the transfer ends as it should, but without a finish reason and without `[DONE]`.
    - `no_finish`: as `clean_end`, with `[DONE]`.
    - `error_event`: an error comes as the last event.

    A response that is not streamed is cut in the middle (`reset`, `cut`), has no finish reason, or is an error object.
    """

    answer: Answer | str
    _: KW_ONLY
    how: Breakage
    after: int | None = None
    message: str = "The server had an error while processing your request."
    """The text of an `error_event`."""


@dataclass(frozen=True, slots=True)
class Hang:
    """No response at all: the connection closes after `seconds`, or as soon as the client or the server closes."""

    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Raw:
    """A response exactly as given: any JSON or text as `body`, or server-sent `events`; for any endpoint."""

    body: Json | str = ""
    _: KW_ONLY
    events: Sequence[Json | str] | None = None
    """A dict is sent as one `data:` event; text is sent as it is. `[DONE]` is yours to send."""
    status: int = 200
    content_type: str | None = None
    """None = event stream if there are `events`, JSON if `body` is a dict, else plain text."""
    headers: Mapping[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    chunk_delay_s: float = 0.0
    gate: threading.Event | None = None
    gate_after: int = 1


Item: TypeAlias = Answer | Failure | Broken | Hang | Raw
"""One scripted behaviour."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same item `times` times, or for ever if None."""

    item: Item
    times: int | None = None

    def __post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            msg = f"Repeat(times={self.times}) says nothing; give 1 or more, or None for ever."
            raise ValueError(msg)


def rate_limits(
    *,
    remaining_requests: int | None = None,
    limit_requests: int | None = None,
    remaining_tokens: int | None = None,
    limit_tokens: int | None = None,
) -> dict[str, str]:
    """The `x-ratelimit-*` headers as OpenAI sends them, for `headers=` of an item."""
    counts = {
        "x-ratelimit-limit-requests": limit_requests,
        "x-ratelimit-remaining-requests": remaining_requests,
        "x-ratelimit-limit-tokens": limit_tokens,
        "x-ratelimit-remaining-tokens": remaining_tokens,
    }
    return {name: str(count) for name, count in counts.items() if count is not None}


def unfold(script: Sequence[Item | Repeat], *, cycle: bool) -> Iterator[Item]:
    """The items of a script in the order they are used; `cycle` starts again at the end."""
    while script:
        for entry in script:
            if not isinstance(entry, Repeat):
                yield entry
            elif entry.times is None:
                yield from itertools.repeat(entry.item)
            else:
                yield from itertools.repeat(entry.item, entry.times)
        if not cycle:
            return
