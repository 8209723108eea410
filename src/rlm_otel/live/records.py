"""What `rlm-otel ps` is told: names, numbers and ages of open operations, never content."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

Kind = Literal["run", "call", "tool"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOperation:
    """One operation between its start and its end; ages in seconds."""

    id: str
    parent_id: str | None
    kind: Kind
    name: str
    """Of a run its name, of a call `chat` and the like, of a tool the tool's."""
    model: str | None = None
    depth: int = 0
    age_s: float = 0.0
    trace_id: str | None = None
    calls: int = 0
    """Of a run: its own model calls that have ended."""
    input_tokens: int | None = None
    output_tokens: int | None = None
    """Of a run: tokens of all calls that have ended below it; None where nothing was reported. Of an open call they are
    not known."""
    attempt: int = 0
    """Of a call: which attempt this is, from 1."""
    streamed: bool = False
    pieces: int = 0
    """Of a streamed call: pieces of text, reasoning and tool calls so far, an empty one at its beginning too."""
    since_chunk_s: float | None = None
    """Since the last of them, exact to a second; None before the first chunk."""
    waits_s: float | None = None
    """Until the next attempt, 0 where hooks hold that up; None where it waits for none."""
    status: int | None = None
    """HTTP status of the attempt that failed: 429 is a rate limit."""

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Self:
        """From JSON; what another version of this package says besides is left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in record.items() if name in known})
