"""What is open in processes as trees of lines; what they call their runs and models has no power over a terminal."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Final

from rlm_otel.callbacks.guides import guide
from rlm_otel.callbacks.printing import plain
from rlm_otel.live.records import OpenOperation
from rlm_otel.views.processes import Process

MOST_SIBLINGS: Final = 10
_LONGEST_NAME: Final = 60
_RATE_LIMIT: Final = 429
_NOBODY: Final = (
    "No process of this user has made a call with rlm-otel since it started, or those that have do not let themselves "
    "be seen (RLM_OTEL_PS=off, OTelCallback(ps=False))."
)
_STATES: Final = {
    "gone": "the process is gone, and did not end by itself",
    "silent": "does not answer: it is stopped, or busy where Python waits for it",
}

Children = dict[str | None, list[OpenOperation]]


def lines(found: Sequence[Process], *, everything: bool = False, ascii_only: bool = False) -> Iterator[str]:
    """One tree a process, its oldest operations first; `everything`: more than ten of one parent, too."""
    if not found:
        yield _NOBODY
    for process in found:
        yield _head(process)
        children = _by_parent(process.operations)
        for rails, text in _below(None, (), children, None if everything else MOST_SIBLINGS):
            yield guide(rails, ascii_only=ascii_only) + text


def records(found: Iterable[Process]) -> list[dict[str, object]]:
    """The same for a program to read, nothing left out."""
    return [asdict(process) for process in found]


def fitted(text: str, width: int | None) -> str:
    """The line within so many columns, of which some characters need two; what is left out is marked."""
    if width is None or 2 * len(text) <= width or (text.isascii() and len(text) <= width):
        return text
    from rich.text import Text

    cut = Text(text)
    cut.truncate(width, overflow="ellipsis")
    return cut.plain


def age(seconds: float) -> str:
    """How long something has been: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = math.floor(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _head(process: Process) -> str:
    name = f"{plain(process.program) or 'python'} (pid {process.pid})"
    if process.state != "running":
        return f"{name}: {_STATES[process.state]}"
    since = f", first operation {age(process.age_s)} ago" if process.age_s is not None else ""
    return f"{name}: {len(process.operations) or 'nothing'} open{since}"


def _by_parent(operations: Iterable[OpenOperation]) -> Children:
    """An operation whose parent is not open (any more) stands at the top."""
    operations = tuple(operations)
    known = {one.id for one in operations}
    children: Children = {}
    for one in operations:
        children.setdefault(one.parent_id if one.parent_id in known else None, []).append(one)
    return children


def _below(
    parent: str | None, rails: tuple[bool, ...], children: Children, most: int | None
) -> Iterator[tuple[tuple[bool, ...], str]]:
    here = sorted(children.get(parent, ()), key=lambda one: -one.age_s)
    shown = here if most is None or len(here) <= most else here[: most - 1]
    for one in shown:
        goes_on = one is not here[-1]
        yield (*rails, goes_on), _line(one)
        yield from _below(one.id, (*rails, goes_on), children, most)
    if len(shown) < len(here):
        rest = here[len(shown) :]
        waiting = sum(one.waits_s is not None for one in rest)
        yield (*rails, False), f"… {len(rest)} younger ones{f', {waiting} of them waiting' if waiting else ''}"


def _line(one: OpenOperation) -> str:
    return f"{_title(one)}  {age(one.age_s)}{''.join(f', {part}' for part in _details(one))}"


def _title(one: OpenOperation) -> str:
    name, model = _short(one.name), _short(one.model or "")
    match one.kind:
        case "run":
            return " ".join(filter(None, ("run", name, f"({model})" if model else "")))
        case "call":
            return " ".join(filter(None, (name, model)))
        case "tool":
            return f"tool {name}"


def _details(one: OpenOperation) -> Iterator[str]:
    if one.kind == "run":
        if one.calls:
            yield f"{one.calls} call{'s' if one.calls > 1 else ''} done"
        if one.input_tokens is not None or one.output_tokens is not None:
            yield f"{one.input_tokens or 0:,} in + {one.output_tokens or 0:,} out tokens so far"
    elif one.kind == "call":
        if one.waits_s is not None:
            why = "rate limit" if one.status == _RATE_LIMIT else f"HTTP {one.status}" if one.status else "no connection"
            what = f"another attempt ({why})"
            yield f"waits {age(one.waits_s)} for {what}" if one.waits_s else f"waits for hooks, then {what}"
            return
        if one.attempt > 1:
            yield f"attempt {one.attempt}"
        if one.since_chunk_s is not None:
            yield f"{one.pieces:,} piece{'' if one.pieces == 1 else 's'}, the last {age(one.since_chunk_s)} ago"
        else:
            yield "no answer yet"


def _short(name: str) -> str:
    return fitted(plain(name), _LONGEST_NAME)
