"""What a run came to."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rlm_otel.outcome import Cost, Outcome, Usage
from rlm_otel.quick import quick

if TYPE_CHECKING:
    from rlm_otel.report import Report


@quick
@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome of `run()`; its `str()` is the answer. Usage and cost are those of the run and all its sub-runs."""

    text: str = ""
    outcome: Outcome = "completed"
    usage: Usage | None = None
    """None where no vendor counted tokens."""
    cost: Cost | None = None
    """None where no call could be priced; see `unpriced_calls`."""
    unpriced_calls: int = 0
    inference_calls: int = 0
    """Model calls of this run itself."""
    tool_calls: int = 0
    finish_reasons: tuple[str | None, ...] = ()
    """Of the last call, one a choice, in the vendor's words."""
    elapsed_s: float = 0.0
    run_id: str = ""
    trace_id: str | None = None
    """32 hex digits, to look the run up; None without an `OTelCallback`."""
    span_id: str | None = None
    """16 hex digits: the run's span in it."""
    messages: tuple[dict[str, object], ...] = field(default=(), repr=False)
    """The whole conversation in the OpenAI API's words, the answer included: pass it to `run()` to go on."""

    record: object = field(default=None, repr=False, compare=False)
    """What is kept of the operations inside: facts, no content; for `report()`."""

    def report(self) -> "Report":
        """Calls, tokens, cost and failures by depth and model, limits that were hit, the five dearest calls and the
        critical path; of the run and all its sub-runs. Print it, give it to Rich, or take its `json()`.
        """
        from rlm_otel.report import report_of

        return report_of(self.record)

    def __str__(self) -> str:
        return self.text
