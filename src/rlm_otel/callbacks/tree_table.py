"""Draws trees of runs as a table that fits: at most ten lines a parent, and fewer where the window is low."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from rlm_otel.callbacks.guides import guide
from rlm_otel.callbacks.printing import plain
from rlm_otel.callbacks.run_tree import KEPT, Node
from rlm_otel.callbacks.wording import count, dollars

if TYPE_CHECKING:
    from rich.table import Table

_STYLES: Final = {None: "cyan", "completed": "green", "failed": "red"}
_OTHER: Final = "yellow"
_MOST: Final = (KEPT, 7, 5, 3, 2, 1)

Rails = tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Hidden:
    """A line about branches that are not shown."""

    count: int
    states: str = ""


Row = tuple[Rails, Node | Hidden]


def rows_within(roots: Sequence[Node], height: int) -> list[Row]:
    """The rows of trees, as many branches of each parent as the height allows."""
    for most in _MOST:
        rows = list(islice(_of_roots(roots, most), height + 1))
        if len(rows) <= height:
            return rows
    return [*rows[: height - 1], ((), Hidden(0))]


def _of_roots(roots: Sequence[Node], most: int) -> Iterator[Row]:
    shown = roots if len(roots) <= most else roots[: most - 1]
    for root in shown:
        yield (), root
        yield from _below(root, (), most)
    if len(shown) < len(roots):
        hidden = len(roots) - len(shown)
        yield (), Hidden(hidden, f"{hidden} running")


def _below(node: Node, rails: Rails, most: int) -> Iterator[Row]:
    is_cut = node.branches > most
    shown = node.some(most - 1 if is_cut else most)
    for branch in shown:
        here = (*rails, is_cut or branch is not shown[-1])
        yield here, branch
        yield from _below(branch, here, most)
    if is_cut:
        yield (*rails, False), _hidden(node, shown)


def _hidden(node: Node, shown: Sequence[Node]) -> Hidden:
    running = len(node.running) - sum(one.outcome is None for one in shown)
    failed = node.ended_badly - sum(one.outcome == "failed" for one in shown)
    states = [f"{running} running"] * (running > 0) + [f"{failed} failed"] * (failed > 0)
    return Hidden(node.branches - len(shown), ", ".join(states))


def table(rows: Sequence[Row], width: int, now: float, *, ascii_only: bool) -> "Table":
    """The rows with time, tokens, cost and state; names are cut at half the width."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    drawn.add_column(no_wrap=True)
    for _ in range(3):
        drawn.add_column(justify="right", no_wrap=True)
    drawn.add_column()  # may "wrap": then it is this one that is narrowed, and its texts are cut all the same
    text = partial(Text, no_wrap=True, overflow="crop" if ascii_only else "ellipsis")
    for rails, what in rows:
        lead = guide(rails, ascii_only=ascii_only)
        if isinstance(what, Hidden):
            more = f"{'...' if ascii_only else '…'} {what.count} more" if what.count else "..."
            drawn.add_row(text(lead + more, style="dim"), "", "", "", text(what.states, style="dim"))
            continue
        state = text(plain(_state(what, now)), style=_STYLES.get(what.outcome, _OTHER))
        name = text(lead + plain(what.name))
        name.truncate(width // 2)
        drawn.add_row(name, *_figures(what, now), state)
    return drawn


def _figures(node: Node, now: float) -> tuple[str, str, str]:
    """Time, tokens, cost."""
    seconds = now - node.began if node.outcome is None else node.elapsed_s
    used = "" if node.tokens is None else f"{node.tokens:,} token{'s' * (node.tokens != 1)}"
    return f"{seconds:.1f} s", used, "" if node.usd is None else dollars(node.usd)


def _state(node: Node, now: float) -> str:
    if node.outcome is None:
        left_s = node.retry_at - now
        state = f"{node.retry}, in {left_s:.1f} s" if node.retry and left_s > 0 else "running"
    else:
        state = node.outcome
    facts = [state]
    if node.is_run:
        facts.append(count(node.calls, "call"))
    if node.retries and (node.is_run or node.outcome is not None or state == "running"):
        facts.append(count(node.retries, "retry", "retries"))
    if node.unpriced:
        facts.append(f"{node.unpriced} unpriced" if node.is_run else "unpriced")
    told = ", ".join(facts)
    return f"{told}: {node.why}" if node.why else told
