"""`Report`: what a run, or many runs, came to in figures; as text, for Rich, and as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from rlm_otel.callbacks.printing import plain_json
from rlm_otel.records import Record
from rlm_otel.tallies import DearCall, Figures, Step, Tally, path_of

if TYPE_CHECKING:
    from rich.console import Group


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Figures of model calls that ended, and what stands out among them.

    `str(report)` is a table for a log, `rich.print(report)` the same with colours, `report.json()` all of it.
    """

    models: tuple[Figures, ...] = ()
    """By depth, then by model: see `calls`, `failures`, `retries`, `total_tokens`, `cost_usd`, `unpriced_calls`."""
    total: Figures = field(default_factory=Figures)
    """All of them together."""
    runs: int = 0
    """Runs that ended, sub-runs too."""
    tools: int = 0
    failed_tools: int = 0
    limits: Mapping[str, int] = field(default_factory=dict)
    """How often a limit was hit: `max_turns`, `max_depth`, `budget`, `max_tokens` (answers cut short), `rate_limit`
    (calls that were refused for good)."""
    dearest: tuple[DearCall, ...] = ()
    """The five calls that cost most."""
    path: tuple[Step, ...] = ()
    """The critical path of the run, of many runs that of the slowest: what it waited for, step by step; shortening
    anything else would not have made it quicker. Where there are many steps, the shortest are one, without a name."""

    @property
    def path_s(self) -> float:
        """How long the run of the critical path took, in seconds."""
        return sum(step.seconds for step in self.path)

    def json(self, *, indent: int | None = None) -> str:
        """All of it as a JSON object, under the same names."""
        told = {
            **{name: getattr(self, name) for name in ("runs", "tools", "failed_tools")},
            "total": asdict(self.total),
            "models": [asdict(one) for one in self.models],
            "limits": dict(self.limits),
            "dearest": [asdict(one) for one in self.dearest],
            "path": [asdict(one) for one in self.path],
            "path_s": self.path_s,
        }
        return plain_json(json.dumps(told, ensure_ascii=False, indent=indent))

    def __str__(self) -> str:
        from rlm_otel.report_table import text_of

        return text_of(self)

    def __rich__(self) -> "Group":
        from rlm_otel.report_table import drawn

        return drawn(self)


def report_of(run: object) -> Report:
    """The report of one run, by what is kept of it."""
    if not isinstance(run, Record):
        return Report()
    tally = Tally()
    tally.add_all([run])
    tally.path = path_of(run)
    return told(tally)


def told(tally: Tally) -> Report:
    """What was summed up until now."""
    total = Figures()
    for figures in tally.figures.values():
        total.merge(figures)
    in_order = sorted(tally.figures.items(), key=lambda item: (item[0][0] is None, item[0][0] or 0, item[0][1]))
    return Report(
        models=tuple(replace(figures) for _, figures in in_order),
        total=total,
        runs=tally.runs,
        tools=tally.tools,
        failed_tools=tally.failed_tools,
        limits=dict(tally.limits.most_common()),
        dearest=tuple(tally.dearest),
        path=tuple(tally.path),
    )
