"""A report as tables: for Rich, and as plain text."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rlm_otel.callbacks.printing import plain
from rlm_otel.callbacks.wording import count, dollars
from rlm_otel.report import Report
from rlm_otel.tallies import DearCall, Figures, Step

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

_WIDTH: Final = 120
_LIMITS: Final = {
    "max_turns": "max_turns",
    "max_depth": "max_depth",
    "budget": "budgets",
    "max_tokens": "answers cut at max_tokens",
    "rate_limit": "calls refused for a rate limit",
}


def text_of(report: Report) -> str:
    """The tables as plain text, 120 columns wide at most."""
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=_WIDTH, color_system=None, force_terminal=False).print(drawn(report))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def drawn(report: Report) -> "Group":
    """All of it, one below the other."""
    from rich.console import Group
    from rich.text import Text

    pieces: list[Table | Text] = [_models(report), Text(), _line(report)]
    if report.limits:
        hit = ", ".join(f"{_LIMITS.get(name, name)} {times}" for name, times in report.limits.items())
        pieces.append(Text(plain(f"limits hit: {hit}"), style="yellow"))
    if report.dearest:
        pieces += [Text("\nthe dearest calls", style="bold"), _dearest(report.dearest)]
    if report.path:
        pieces += [Text(f"\nthe critical path: {report.path_s:.2f} s", style="bold"), _path(report.path)]
    return Group(*pieces)


def _line(report: Report) -> "Text":
    from rich.text import Text

    failed = f", {report.failed_tools} of them failed" if report.failed_tools else ""
    return Text(f"{count(report.runs, 'run')}, {count(report.tools, 'tool')}{failed}")


def _models(report: Report) -> "Table":
    columns = ("calls", "failed", "retries", "tokens in", "out", "cost", "unpriced", "time")
    table = _table(("depth", "model"), columns)
    for figures in report.models:
        _add(table, ("-" if figures.depth is None else str(figures.depth), figures.model or "-", *_cells(figures)))
    if len(report.models) != 1:
        _add(table, ("all", "", *_cells(report.total)))
    return table


def _cells(it: Figures) -> tuple[str, ...]:
    usd = dollars(it.cost_usd) if it.cost_usd or not it.unpriced_calls else "-"
    used = f"{it.input_tokens:,}" + (f" ({it.cached_tokens:,} cached)" if it.cached_tokens else "")
    made = f"{it.output_tokens:,}" + (f" ({it.reasoning_tokens:,} reasoning)" if it.reasoning_tokens else "")
    counts = (f"{number:,}" for number in (it.calls, it.failures, it.retries))
    return (*counts, used, made, usd, f"{it.unpriced_calls:,}", _s(it.seconds))


def _dearest(calls: Sequence[DearCall]) -> "Table":
    table = _table(("model", "depth", "agent", "span"), ("cost", "tokens", "time"))
    for call in calls:
        where = call.span_id or call.operation_id
        figures = (dollars(call.cost_usd), f"{call.tokens:,}", _s(call.seconds))
        _add(table, (call.model, str(call.depth), call.agent or "", where, *figures))
    return table


def _path(steps: Sequence[Step]) -> "Table":
    whole = sum(step.seconds for step in steps) or 1.0
    table = _table(("step",), ("time", "share"))
    for step in steps:
        level = 2 * step.depth + (not step.name.startswith("run"))
        name = "  " * level + step.name if step.name else count(step.count, "shorter step")
        _add(table, (name, _s(step.seconds), f"{step.seconds / whole:.0%}"))
    return table


def _table(texts: Sequence[str], figures: Sequence[str]) -> "Table":
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for heading in texts:
        table.add_column(heading, overflow="fold")
    for heading in figures:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _add(table: "Table", cells: Sequence[str]) -> None:
    from rich.text import Text

    table.add_row(*(Text(plain(cell)) for cell in cells))


def _s(seconds: float) -> str:
    return f"{seconds:.2f} s"
