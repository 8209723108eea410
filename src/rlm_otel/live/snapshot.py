"""From open brackets to records; reads only what others write, and remembers when each stream last moved."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Final, assert_never
from weakref import WeakKeyDictionary

from rlm_otel import sums
from rlm_otel.clock import SYSTEM_CLOCK
from rlm_otel.events import ModelCall, Run, ToolCall
from rlm_otel.live.records import Kind, OpenOperation
from rlm_otel.outcome import RunResult

if TYPE_CHECKING:
    from rlm_otel.bracket import Bracket

_NS: Final = 1e9


class Watched:
    """Streams as they were seen last. Used by one thread."""

    def __init__(self) -> None:
        self._seen: WeakKeyDictionary[Bracket, tuple[int, int]] = WeakKeyDictionary()
        """How many pieces it had, and since when."""

    def look(self, brackets: Iterable["Bracket"]) -> None:
        """Notes which streams have moved: nobody writes that down for each chunk, which would cost the stream."""
        now = SYSTEM_CLOCK.monotonic_ns()
        for bracket in brackets:
            if bracket.progress is None or bracket.first_chunk_s is None:
                continue
            pieces, seen = bracket.progress(), self._seen.get(bracket)
            if seen is None:
                first = bracket.start_ns + round(bracket.first_chunk_s * _NS)
                self._seen[bracket] = (pieces, first if pieces <= 1 else now)
            elif seen[0] != pieces:
                self._seen[bracket] = (pieces, now)

    def records(self, brackets: Sequence["Bracket"]) -> list[dict[str, object]]:
        """All of them as JSON objects, in their order, which is that of their beginning."""
        self.look(brackets)
        now = SYSTEM_CLOCK.monotonic_ns()
        records = {one.id: asdict(self._record(one, now)) for one in brackets if not one.emitter.silent}
        for one in reversed(records.values()):  # whoever is above began before
            above = records.get(str(one["parent_id"]))
            while above is not None and above["kind"] != "run":
                above = records.get(str(above["parent_id"]))
            if one["kind"] == "run" and above is not None:
                for name in ("input_tokens", "output_tokens"):
                    above[name] = _sum(above[name], one[name])
        return list(records.values())

    def _record(self, bracket: "Bracket", now: int) -> OpenOperation:
        kind, name, model = _named(bracket)
        pieces, moved = self._seen.get(bracket, (0, 0))
        usage, _, below = sums.total(tuple(bracket.children), RunResult())
        waits_s = _waits(bracket, now)
        operation = bracket.operation
        return OpenOperation(
            id=bracket.id,
            parent_id=bracket.origin.parent_id,
            kind=kind,
            name=name,
            model=model,
            depth=bracket.origin.depth,
            age_s=_age(now, bracket.start_ns),
            trace_id=bracket.link.trace_id if bracket.link is not None else None,
            calls=below.inference_calls,
            input_tokens=usage.input_tokens if usage is not None else None,
            output_tokens=usage.output_tokens if usage is not None else None,
            attempt=bracket.attempts if kind == "call" else 0,
            streamed=isinstance(operation, ModelCall) and operation.stream,
            pieces=pieces,
            since_chunk_s=_age(now, moved) if moved else None,
            waits_s=waits_s,
            status=bracket.waits.status if bracket.waits is not None and waits_s is not None else None,
        )


def _named(bracket: "Bracket") -> tuple[Kind, str, str | None]:
    match bracket.operation:
        case Run(model=model):
            return "run", bracket.origin.agent or "", model
        case ModelCall(name=name, model=model):
            return "call", name, model or None
        case ToolCall(name=name):
            return "tool", name, None
        case never:
            assert_never(never)


def _waits(bracket: "Bracket", now: int) -> float | None:
    """Seconds until its next attempt; 0 where hooks hold that up, None where it waits for none."""
    waits = bracket.waits
    if waits is None or (waits.until_ns <= now and waits.attempt != bracket.attempts):
        return None
    return _age(waits.until_ns, now)


def _age(now: int, then: int) -> float:
    return round(max(now - then, 0) / _NS, 3)


def _sum(one: object, other: object) -> int | None:
    known = [number for number in (one, other) if isinstance(number, int)]
    return sum(known) if known else None
