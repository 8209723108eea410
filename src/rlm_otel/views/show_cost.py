"""`rlm-otel cost` as a table, CSV or JSON."""

import csv
import io
from typing import Final, TextIO

from rlm_otel.callbacks.printing import plain
from rlm_otel.views.cost import Row, Spent
from rlm_otel.views.json_text import json_text
from rlm_otel.views.report import Report

_SMALL_USD: Final = 0.01
"""Below it four decimals would round too much away."""


def show(spent: Spent, out: TextIO) -> None:
    """A table with a line for all together, then what has to be known about it."""
    report = Report(out)
    if spent.rows:
        decimals = 6 if any(0 < (row.cost_usd or 0) < _SMALL_USD for row in spent.rows) else 4
        rows = [[*(value or "-" for value in row.group), *_figures(row, decimals)] for row in spent.rows]
        summed = [["all", *[""] * (len(spent.by) - 1), *_figures(spent.all, decimals)]] if len(rows) > 1 else []
        report.table([*spent.by, "cost", "calls", "without a cost"], [*rows, *summed], text_columns=len(spent.by))
        report.line()
    for note in notes(spent):
        report.line(note)


def notes(spent: Spent) -> list[str]:
    """What has to be known about the figures, a line each."""
    return [plain(f"Note: {note}.") for note in spent.notes]


def csv_text(spent: Spent) -> str:
    """A line for each group; what is not known is empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*spent.by, "cost_usd", "calls", "unpriced_calls"])
    for row in spent.rows:
        cost = "" if row.cost_usd is None else _exact(row.cost_usd)
        writer.writerow([*map(plain, row.group), cost, row.calls, row.unpriced])
    return out.getvalue()


def cost_json(spent: Spent, encoding: str | None) -> str:
    """An object with `rows`, `all` and `notes`; what is not known is null."""
    rows = [
        {**dict(zip(spent.by, (value or None for value in row.group), strict=True)), **_numbers(row)}
        for row in spent.rows
    ]
    return json_text({"rows": rows, "all": _numbers(spent.all), "notes": spent.notes}, encoding) + "\n"


def _numbers(row: Row) -> dict[str, float | int | None]:
    cost = None if row.cost_usd is None else _exact(row.cost_usd)
    return {"cost_usd": cost, "calls": row.calls, "unpriced_calls": row.unpriced}


def _figures(row: Row, decimals: int) -> list[str]:
    cost = "-" if row.cost_usd is None else f"${row.cost_usd:,.{decimals}f}"
    return [cost, f"{row.calls:,}", f"{row.unpriced:,}"]


def _exact(cost_usd: float) -> float:
    """Without the noise of adding binary fractions."""
    return round(cost_usd, 9)
