"""What is kept of an operation that ended, for the sums and the report of its run: a few facts, and no content."""

from typing import Final, Literal, NamedTuple

from rlm_otel.errors import BudgetExceeded, LimitReached, SubRunLimit
from rlm_otel.events import Finished, Link, ModelCall, Origin, Run, ToolCall
from rlm_otel.outcome import Cost, Failure, Outcome, Reply, RunResult, Unpriced, Usage
from rlm_otel.semconv import INFERENCE

Kind = Literal["inference", "other call", "tool", "run"]
_TOO_LONG: Final = frozenset({"length", "max_tokens", "max_output_tokens", "MAX_TOKENS"})
"""The vendors' words for an answer that was cut at its limit of tokens."""


class Record(NamedTuple):
    """One operation that ended."""

    kind: Kind
    name: str
    """The model's, the tool's, or the agent's; empty where it has none."""
    origin: Origin
    end_ns: int
    """By the monotonic clock."""
    elapsed_s: float
    outcome: Outcome
    failed: bool
    """Whether an exception ended it, cancellation too."""
    limit: str | None
    """Which limit it came up against."""
    attempts: int
    usage: Usage | None
    cost: Cost | Unpriced | None
    link: Link | None
    unpriced_calls: int
    """Of a run, in its whole tree."""
    finish_reasons: tuple[str | None, ...]
    below: object
    """Of a run: what `tallies.kept` made of the operations in it."""

    @property
    def start_ns(self) -> int:
        """By the same clock."""
        return self.end_ns - round(self.elapsed_s * 1e9)


def record(finished: Finished) -> Record:
    """What is kept of this one."""
    operation, result, failure = finished.operation, finished.result, finished.failure
    unpriced, below = 0, None
    reasons: tuple[str | None, ...] = ()
    kind: Kind
    if isinstance(operation, ModelCall):
        kind, name = ("inference" if operation.name in INFERENCE else "other call"), operation.model
    elif isinstance(operation, ToolCall):
        kind, name = "tool", operation.name
    else:
        kind, name = "run", finished.origin.agent or ""
    if isinstance(result, RunResult):
        unpriced, reasons, below = result.unpriced_calls, result.finish_reasons, result.below
    elif isinstance(result, Reply):
        reasons = result.finish_reasons
    limit = None
    if failure is not None:
        limit = _limit(failure, is_new=finished.passage != "passing", is_run=isinstance(operation, Run))
    elif reasons and kind != "run" and not _TOO_LONG.isdisjoint(reasons):
        limit = "max_tokens"
    # By position: names would cost each call as much as the rest.
    return Record(
        kind,
        name,
        finished.origin,
        finished.monotonic_ns,
        finished.elapsed_s,
        finished.outcome,
        failure is not None,
        limit,
        finished.attempts,
        finished.usage,
        finished.cost,
        finished.link,
        unpriced,
        reasons,
        below,
    )


def _limit(failure: Failure, *, is_new: bool, is_run: bool) -> str | None:
    """Which limit a failure is about, told once: where it arose."""
    error = failure.exception
    if not is_new:
        return None
    if isinstance(error, BudgetExceeded):
        return "budget"
    if isinstance(error, LimitReached):
        return "max_turns" if is_run else None
    if isinstance(error, SubRunLimit):
        return None if isinstance(error.__context__, LimitReached) else "max_depth"
    return "rate_limit" if failure.status == 429 else None
