"""Sums of ended operations for a report: by depth and model, the dearest calls, and what a run waited for. Bounded."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Final, NamedTuple

from rlm_otel.events import Origin
from rlm_otel.outcome import Cost, Unpriced
from rlm_otel.records import Record

_DEAREST: Final = 5
_STEPS: Final = 12
"""How many steps of a critical path are kept, the longest; the others are one."""
_KEPT: Final = 500
"""How many records a run may keep below it before they are summed up: a `Result` stays light."""


@dataclass(slots=True, kw_only=True)
class Figures:
    """Model calls that ended, of one model at one depth or all together."""

    model: str | None = None
    depth: int | None = None
    """Recursion level of the run that asked; None of all, and where no run did."""
    calls: int = 0
    failures: int = 0
    """Calls that an exception ended, cancellation too."""
    retries: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    total_tokens: int = 0
    cost_usd: float = 0.0
    unpriced_calls: int = 0
    """Calls that are not in the cost, because their price or their tokens are not known."""
    seconds: float = 0.0
    """How long they took, one after the other."""

    def add(self, call: Record) -> None:
        """One more call."""
        self.calls += 1
        self.failures += call.failed
        self.retries += max(0, call.attempts - 1)
        self.seconds += call.elapsed_s
        if isinstance(call.cost, Cost):
            self.cost_usd += call.cost.usd
        self.unpriced_calls += isinstance(call.cost, Unpriced)
        if call.usage is not None:
            self.input_tokens += call.usage.input_tokens or 0
            self.output_tokens += call.usage.output_tokens or 0
            self.cached_tokens += call.usage.cache_read_tokens or 0
            self.reasoning_tokens += call.usage.reasoning_tokens or 0
            self.total_tokens += call.usage.total_tokens or 0

    def merge(self, other: "Figures") -> None:
        """All calls of the other one as well."""
        for name in _SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))


_SUMMED: Final = tuple(name for name in Figures.__slots__ if name not in ("model", "depth"))


@dataclass(frozen=True, slots=True)
class DearCall:
    """One of the calls that cost most."""

    model: str
    depth: int
    agent: str | None
    cost_usd: float
    tokens: int
    seconds: float
    operation_id: str
    trace_id: str | None
    span_id: str | None


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of the critical path: what this operation did while nothing else that the run waited for was running."""

    name: str
    """`run`, `tool` or `model`, and which; empty of the steps that are summed up."""
    depth: int
    seconds: float
    count: int = 1
    """How many steps are summed up in this one, which then has no name."""


@dataclass(slots=True)
class Tally:
    """Sums that grow with the number of models, not with that of calls."""

    figures: dict[tuple[int | None, str], Figures] = field(default_factory=dict)
    dearest: list[DearCall] = field(default_factory=list)
    limits: Counter[str] = field(default_factory=Counter)
    runs: int = 0
    tools: int = 0
    failed_tools: int = 0
    path: Sequence[Step] = ()
    """Of the run whose operations these are, or of the slowest one."""

    def add(self, one: Record) -> None:
        """One operation, without what is below it."""
        if one.limit is not None:
            self.limits[one.limit] += 1
        if one.kind == "run":
            self.runs += 1
        elif one.kind == "tool":
            self.tools += 1
            self.failed_tools += one.failed
        else:
            depth = one.origin.depth if one.origin.run_id is not None else None
            self.figures.setdefault((depth, one.name), Figures(model=one.name, depth=depth)).add(one)
            if isinstance(one.cost, Cost) and self._is_dear(one.cost.usd):
                self._rank(_dear(one, one.cost.usd))

    def add_all(self, records: Iterable[Record]) -> None:
        """Operations, and all that is below them."""
        for one in records:
            self.add(one)
            if isinstance(one.below, Tally):
                self.merge(one.below)
            elif isinstance(one.below, Kept):
                self.add_all(one.below.records)

    def merge(self, other: "Tally") -> None:
        """All that the other one has counted as well."""
        for key, figures in other.figures.items():
            self.figures.setdefault(key, Figures(model=figures.model, depth=figures.depth)).merge(figures)
        for dear in other.dearest:
            if self._is_dear(dear.cost_usd):
                self._rank(dear)
        self.limits += other.limits
        self.runs += other.runs
        self.tools += other.tools
        self.failed_tools += other.failed_tools

    def _is_dear(self, usd: float) -> bool:
        return len(self.dearest) < _DEAREST or usd > self.dearest[-1].cost_usd

    def _rank(self, dear: DearCall) -> None:
        self.dearest.append(dear)
        self.dearest.sort(key=lambda one: -one.cost_usd)
        del self.dearest[_DEAREST:]


class Kept(NamedTuple):
    """The records of a small run as they are; nobody pays for sums that nobody asks for."""

    records: tuple[Record, ...]
    size: int


def kept(records: Iterable[Record], run: Origin, start_ns: int, end_ns: int) -> Kept | Tally:
    """What a run that ended keeps of what is in it."""
    records = tuple(records)
    size = len(records)
    for one in records:
        if one.below is not None:
            size += one.below.size if isinstance(one.below, Kept) else _STEPS
    if size <= _KEPT:
        return Kept(records, size)
    tally = Tally()
    tally.add_all(records)
    own_s, steps = _steps_in(run.id, _by_parent(records), start_ns, end_ns)
    tally.path = shortened([Step(_named("run", run.agent or ""), run.depth, own_s), *steps])
    return tally


# The critical path ------------------------------------------------------------

_END: Final = attrgetter("end_ns")
Children = Mapping[str | None, Sequence[Record]]


def path_of(run: Record) -> list[Step]:
    """What a run waited for, in the order of time: at each moment the operation below that was the last to end."""
    return shortened(_steps(run, {}))


def shortened(steps: Sequence[Step]) -> list[Step]:
    """The longest ones, in their order, and one for the others."""
    if len(steps) <= _STEPS:
        return list(steps)
    ranked = sorted(range(len(steps)), key=lambda index: (steps[index].count > 1, -steps[index].seconds))
    longest = [steps[index] for index in sorted(ranked[: _STEPS - 1])]
    others = [steps[index] for index in ranked[_STEPS - 1 :]]
    return [*longest, Step("", 0, sum(one.seconds for one in others), sum(one.count for one in others))]


def _steps(one: Record, siblings: Children) -> list[Step]:
    """Of one operation; what a tool has called is among the tool's siblings."""
    if isinstance(one.below, Tally):
        return list(one.below.path)
    children = _by_parent(one.below.records) if isinstance(one.below, Kept) else siblings
    if one.origin.id not in children:
        return [Step(_named(one.kind, one.name), one.origin.depth, one.elapsed_s)]
    own_s, steps = _steps_in(one.origin.id, children, one.start_ns, one.end_ns)
    return [Step(_named(one.kind, one.name), one.origin.depth, own_s), *steps]


def _steps_in(parent_id: str, children: Children, start_ns: int, end_ns: int) -> tuple[float, list[Step]]:
    """How long an operation did something itself, and the steps of those that it waited for, from its end backwards."""
    own_ns, now_ns, pieces = 0, end_ns, list[list[Step]]()
    for one in sorted(children.get(parent_id, ()), key=_END, reverse=True):
        if one.end_ns <= now_ns and (began_ns := one.start_ns) >= start_ns:
            own_ns += now_ns - one.end_ns
            now_ns = began_ns
            pieces.append(_steps(one, children))
    own_ns += now_ns - start_ns
    return own_ns / 1e9, [step for piece in reversed(pieces) for step in piece]


def _by_parent(records: Iterable[Record]) -> Children:
    children: dict[str | None, list[Record]] = {}
    for one in records:
        children.setdefault(one.origin.parent_id, []).append(one)
    return children


def _named(kind: str, name: str) -> str:
    return f"{'model' if kind in ('inference', 'other call') else kind} {name}".rstrip()


def _dear(call: Record, usd: float) -> DearCall:
    used = call.usage.total_tokens if call.usage is not None else None
    return DearCall(
        model=call.name,
        depth=call.origin.depth,
        agent=call.origin.agent,
        cost_usd=usd,
        tokens=used or 0,
        seconds=call.elapsed_s,
        operation_id=call.origin.id,
        trace_id=call.link.trace_id if call.link else None,
        span_id=call.link.span_id if call.link else None,
    )
