"""Prints spans as trees, and a table with a column for each model."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, TextIO

from rlm_otel import semconv as sc
from rlm_otel.callbacks.printing import plain
from rlm_otel.received import ReceivedSpan
from rlm_otel.views.figures import Figures, by_model, figures, is_model_call, number, seconds
from rlm_otel.views.tree import Branch, trees

if TYPE_CHECKING:
    from rich.text import Text

_PIPED_WIDTH: Final = 120
_STYLES: Final = {
    "completed": "green",
    "failed": "red",
    "closed": "yellow",
    "cancelled": "yellow",
    "abandoned": "yellow",
    "error": "red",
}
# Spans of other libraries in the same trace have no outcome.
_FOREIGN: Final = {"error": "error"}


class Report:
    """A terminal, or a pipe, that knows how to show spans. Text that came from elsewhere has no power over it."""

    def __init__(self, out: TextIO, *, width: int | None = None) -> None:
        """`width` in characters; None = the terminal's, and in a pipe wide enough for a tree."""
        from rich.console import Console

        wide = width if width is not None or out.isatty() else _PIPED_WIDTH
        self._console = Console(file=out, width=wide, highlight=False, markup=False, emoji=False)

    def line(self, text: str = "", *, style: str = "") -> None:
        """One line of text; it is wrapped where it is too long."""
        from rich.text import Text

        self._console.print(Text(plain(text), style=style), soft_wrap=not self._console.is_terminal)

    def tree(self, spans: Iterable[ReceivedSpan]) -> None:
        """Every span with its duration, tokens, cost and how it ended; a tree for each root."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
        table.add_column("span", no_wrap=True)
        for heading in ("time", "in", "out", "cost"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("how it ended", overflow="fold")
        for branches in trees(spans):
            table.add_row()
            for branch in branches:
                table.add_row(*self._row(branch))
        self._console.print(table)

    def table(self, headings: Sequence[str], rows: Iterable[Sequence[str]], *, text_columns: int) -> None:
        """Plain rows; the first columns are text, the others figures."""
        from rich.table import Table

        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for place, heading in enumerate(headings):
            table.add_column(_text(heading), justify="left" if place < text_columns else "right", overflow="fold")
        for row in rows:
            table.add_row(*map(_text, row))
        self._console.print(table)

    def models(self, spans: Iterable[ReceivedSpan]) -> None:
        """Figures of each model side by side, and of all together where there are several."""
        from rich.table import Table

        spans = list(spans)
        columns = by_model(spans)
        if len(columns) > 1:
            columns.append(figures("all", [span for span in spans if is_model_call(span)]))
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        table.add_column("")
        for column in columns:
            table.add_column(_text(column.model), justify="right", overflow="fold")
        for label, cell in _LINES.items():
            table.add_row(label, *map(cell, columns))
        self._console.print(table)

    def _row(self, branch: Branch) -> Sequence["Text | str"]:
        span = branch.span
        outcome = str(span.attributes.get(sc.RLM_OUTCOME, _FOREIGN.get(span.status, "")))
        guide = branch.guide(ascii_only=self._console.options.ascii_only)
        return (
            _text(guide + plain(span.name)),
            duration(seconds(span)),
            _count(number(span, sc.USAGE_INPUT)),
            _count(number(span, sc.USAGE_OUTPUT)),
            _usd(number(span, sc.RLM_COST_AMOUNT)),
            _text(_ending(span, outcome), style=_STYLES.get(outcome, "")),
        )


def _text(text: str, style: str = "") -> "Text":
    from rich.text import Text

    return Text(plain(text), style=style)


def _ending(span: ReceivedSpan, outcome: str) -> str:
    """The outcome, what went wrong, and which attempts failed before."""
    told = [outcome]
    if sc.ERROR_TYPE in span.attributes:
        told.append(f"{_short(span.attributes[sc.ERROR_TYPE])} {span.attributes.get(sc.RLM_HTTP_STATUS_CODE, '')}")
    failed = [event.attributes for event in span.events if event.name == sc.RETRY_EVENT]
    if failed:
        causes = (str(it.get(sc.RLM_HTTP_STATUS_CODE) or _short(it.get(sc.ERROR_TYPE))) for it in failed)
        told.append(f"{len(failed)} {'retry' if len(failed) == 1 else 'retries'} ({', '.join(causes)})")
    return ", ".join(it.strip() for it in told)


def _short(error_type: object) -> str:
    """The class without its module."""
    return str(error_type).rpartition(".")[2]


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def duration(value_s: float | None) -> str:
    """Seconds or milliseconds for a reader; a dash where it is not known."""
    if value_s is None:
        return "-"
    return f"{value_s * 1000:.0f} ms" if value_s < 1 else f"{value_s:.2f} s"


def _usd(value: float | None) -> str:
    return "" if value is None else f"${value:.6f}"


_LINES: Final[Mapping[str, Callable[[Figures], str]]] = {
    "calls": lambda it: _count(it.calls),
    "tokens in": lambda it: _count(it.tokens.input),
    "  of them cached": lambda it: _count(it.tokens.cached),
    "tokens out": lambda it: _count(it.tokens.output),
    "  of them reasoning": lambda it: _count(it.tokens.reasoning),
    "latency p50": lambda it: duration(it.p50_s),
    "latency p95": lambda it: duration(it.p95_s),
    "time to first token": lambda it: duration(it.first_token_s),
    "retries": lambda it: _count(it.retries),
    "errors": lambda it: _count(it.errors),
    "cost": lambda it: _usd(it.cost_usd) or "-",
    "calls without a cost": lambda it: _count(it.unpriced),
}
