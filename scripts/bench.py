"""What our telemetry costs beside the same spans and records by hand (B1f) and the least that anyone writes (B1c).

The openai SDK answers with ready-made objects, so that only what observes it is left: CPU time of the whole process in
short blocks that take turns, less the same call unobserved (B0). Ratios hold, microseconds vary with the machine. The
exit code is 0 whatever the figures; 1 where the telemetry by hand is not what we emit: then nothing can be compared.
"""

import argparse
import asyncio
import gc
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, Final

import bench_live
from bench_full import Full
from bench_once import import_ms, kept_bytes
from bench_server import CHUNKS, FEW_CHUNKS, HISTORY, MODEL, REFUSED, Prompt
from bench_ways import PROMPT, Least, Ours, Plain, Rig, Way
from openai import RateLimitError
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

LONG_PROMPT: Final = "All that I know about it is here. " * 3000
CONCURRENT, THREADS = 100, 8
BLOCK_S: Final = 0.05  # shorter ones measure cold caches
LOOP: Final = asyncio.new_event_loop()

Work = Callable[[Way, int], None]
"""Makes so many calls in that way."""
Make = Callable[[Rig, str], Way]

WAYS: Final[dict[str, Make]] = {
    "B0": lambda _rig, _content: Plain(),
    "ours": Ours,
    "B1f": Full,
    "B1c": Least,
    "B0 again": lambda _rig, _content: Plain(),
    "bare": lambda _rig, _content: Ours(None, "none"),
}
FLOORS: Final = ("B0", "ours", "B1f", "B1c")


# What is called ----------------------------------------------------------------------------------------------------


def _chat(way: Way, calls: int, prompt: Prompt = PROMPT) -> None:
    for _ in range(calls):
        way.chat(prompt, MODEL)


def _refused(way: Way, calls: int) -> None:
    for _ in range(calls):
        with suppress(RateLimitError):
            way.chat(PROMPT, REFUSED)


def _stream(way: Way, calls: int, chunks: int = CHUNKS) -> None:
    for _ in range(calls):
        way.stream(chunks)


def _concurrent(way: Way, calls: int) -> None:
    async def at_once() -> None:
        await asyncio.gather(*[way.achat() for _ in range(CONCURRENT)])

    for _ in range(calls // CONCURRENT):
        LOOP.run_until_complete(at_once())


def _threads(way: Way, calls: int) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(partial(_chat, way), [calls // THREADS] * THREADS))


@dataclass(frozen=True, slots=True)
class Scenario:
    """One program; a block of it makes a multiple of `step` calls."""

    name: str
    work: Work
    content: str = "none"
    step: int = 1
    seconds: float = 5.0


SCENARIOS: Final = (
    Scenario("F1 chat", _chat),
    Scenario("F1 chat, content on", _chat, "span"),
    Scenario("F2 stream", _stream),
    Scenario("F2 stream, content on", _stream, "span"),
    Scenario("F3 async, 100 at once", _concurrent, step=CONCURRENT),
    Scenario("F3 async, content on", _concurrent, "span", step=CONCURRENT),
    Scenario("F4 history and tools", partial(_chat, prompt=HISTORY), seconds=15.0),
    Scenario("F4 history and tools, content on", partial(_chat, prompt=HISTORY), "span", seconds=15.0),
    Scenario("F5 100 KB prompt", partial(_chat, prompt=LONG_PROMPT)),
    Scenario("F5 100 KB prompt, content on", partial(_chat, prompt=LONG_PROMPT), "span"),
    Scenario("F6 8 threads", _threads, step=THREADS),
    Scenario("F6 8 threads, content on", _threads, "span", step=THREADS),
    Scenario("F7 429", _refused),
    Scenario("F7 429, content on", _refused, "span"),
)


# Is it the same? ---------------------------------------------------------------------------------------------------


def _differences(scenarios: Iterable[Scenario]) -> Iterator[str]:
    """What only one of the two emits: names, attributes, values (not of what is measured), buckets, points."""
    for scenario in scenarios:
        ours, hand = _emitted(scenario, Ours), _emitted(scenario, Full)
        yield from (f"{scenario.name}: only ours: {item}" for item in sorted(ours - hand))
        yield from (f"{scenario.name}: only by hand: {item}" for item in sorted(hand - ours))


def _emitted(scenario: Scenario, make: Make) -> Counter[str]:
    spans = InMemorySpanExporter()
    rig = Rig(SimpleSpanProcessor(spans))
    scenario.work(make(rig, scenario.content), scenario.step)
    found: Counter[str] = Counter()
    names = {span.context.span_id: span.name for span in spans.get_finished_spans()}
    for span in spans.get_finished_spans():
        parent, status = span.parent and names[span.parent.span_id], span.status
        told = f"span {span.name}"
        found[f"{told} {span.kind.name} in {parent}, {status.status_code.name} {status.description}"] += 1
        found.update(f"{told}: {name} = {_shown(name, value)}" for name, value in (span.attributes or {}).items())
        for event in span.events:
            said = {name: _shown(name, value) for name, value in (event.attributes or {}).items()}
            found[f"{told}: event {event.name} {sorted(said.items())}"] += 1
    data = rig.reader.get_metrics_data()
    for metric in data.resource_metrics[0].scope_metrics[0].metrics if data else ():
        for point in metric.data.data_points:
            who = sorted((point.attributes or {}).items())
            value = getattr(point, "count", None) or _shown(metric.name, getattr(point, "value", None))
            bounds, exemplar = getattr(point, "explicit_bounds", ()), bool(point.exemplars)
            kind = type(metric.data).__name__
            found[f"{kind} {metric.name} {metric.unit} {who} = {value}, {bounds}, exemplar: {exemplar}"] += 1
    return found


def _shown(name: str, value: object) -> object:
    if name.endswith(".stacktrace"):
        return f"{str(value).count('  File ')} frames"
    if name.endswith(".messages") and len(str(value)) > 10_000:
        return "long"
    return "a number" if isinstance(value, float) else value


# Timing ------------------------------------------------------------------------------------------------------------


class _Discard(SpanExporter):
    def export(self, spans: Any) -> SpanExportResult:  # noqa: ARG002
        return SpanExportResult.SUCCESS


class Blocks:
    """One way to call, with its own providers, timed block by block; a block ends when its spans are exported and its
    metrics collected."""

    def __init__(self, make: Make, content: str, work: Work, step: int) -> None:
        self._rig = Rig(BatchSpanProcessor(_Discard()))
        self._way = make(self._rig, content)
        self._work = work
        self.us: list[float] = []
        """CPU time of the process, a call."""
        self.thread_us: list[float] = []
        """The calling thread's part of it."""
        self._calls = max(step, 20 // step * step)
        self.time()  # what is made once, such as the price list, is not counted
        self.us.clear()
        self.time()
        self._calls = max(step, round(self._calls * BLOCK_S * 1e6 / (self.us.pop() * self._calls) / step) * step)
        self.thread_us.clear()

    def time(self) -> None:
        """One block."""
        gc.collect()
        thread, process = time.thread_time(), time.process_time()
        self._work(self._way, self._calls)
        self.thread_us.append((time.thread_time() - thread) / self._calls * 1e6)
        self._rig.tracers.force_flush()
        self._rig.meters.force_flush()
        self.us.append((time.process_time() - process) / self._calls * 1e6)


def _take_turns(all_blocks: Sequence[Blocks], seconds: float) -> None:
    """Rounds of a block each, always beginning with another one."""
    order, until = list(all_blocks), time.perf_counter() + seconds
    while len(order[0].us) < 5 or time.perf_counter() < until:
        for blocks in order:
            blocks.time()
        order.append(order.pop(0))


@dataclass(frozen=True, slots=True)
class Added:
    """Microseconds that are added to a call or chunk: in the typical round, and by the quickest blocks."""

    median: float
    least: float


def _added(us: Sequence[float], base: Sequence[float]) -> Added:
    return Added(median(a - b for a, b in zip(us, base, strict=True)), min(us) - min(base))


# The table ---------------------------------------------------------------------------------------------------------

HEADER: Final = f"{'us, CPU':<34}{'median':>9}{'min':>9}{'B1f':>9}{'x B1f':>8}{'B1c':>9}{'x B1c':>8}  target"


def _row(name: str, ours: Added, floors: Sequence[Added] = (), *, ratio: float = 0, us: float = 0) -> None:
    """`floors`: B1f, B1c. The target is a ratio to B1f, or microseconds, or (neither given) there is none."""
    cells = "".join(f"{floor.median:9.2f}{_times(ours, floor):>8}" for floor in floors)
    target = f"<= {ratio} x B1f: {_met(ours.median <= ratio * floors[0].median)}" if ratio else ""
    target = f"<= {us} us: {_met(abs(ours.median) <= us)}" if us else target
    print(f"{name:<34}{ours.median:9.2f}{ours.least:9.2f}{cells:<34}  {target}", flush=True)


def _met(is_met: bool) -> str:
    return "met" if is_met else "NOT MET"


def _times(ours: Added, floor: Added) -> str:
    return f"{ours.median / floor.median:.2f}" if floor.median > 0.05 else "-"  # below that it is noise


def _run(scenario: Scenario, seconds: float) -> None:
    names = WAYS if scenario is SCENARIOS[0] else [name for name in WAYS if name != "B0 again"]
    blocks = {name: Blocks(WAYS[name], scenario.content, scenario.work, scenario.step) for name in names}
    few = partial(_stream, chunks=FEW_CHUNKS)
    lengths = FLOORS if scenario.work is _stream else ()
    short = {name: Blocks(WAYS[name], scenario.content, few, 1) for name in lengths}
    _take_turns([*blocks.values(), *short.values()], seconds)
    base, bare = blocks["B0"], blocks["bare"]
    added = {name: _added(it.us, base.us) for name, it in blocks.items()}
    floors = added["B1f"], added["B1c"]
    if short:  # the targets are for the call and for a chunk
        _row(scenario.name, added["ours"], floors)
        once = {name: _without_chunks(blocks[name].us, short[name].us) for name in FLOORS}
        per_call = {name: _added(us, once["B0"]) for name, us in once.items()}
        _row("  the call without its chunks", per_call["ours"], (per_call["B1f"], per_call["B1c"]), ratio=1.3)
    else:
        _row(scenario.name, added["ours"], floors, ratio=1.3)
    _row("  the callback's part", _added(blocks["ours"].us, bare.us), floors)
    if scenario.work is _chat:
        thread = [_added(blocks[name].thread_us, base.thread_us) for name in FLOORS[1:]]
        _row("  in the calling thread", thread[0], thread[1:])
    if short:
        chunk = {name: _per_chunk(blocks[name].us, short[name].us) for name in FLOORS}
        per = {name: _added(us, chunk["B0"]) for name, us in chunk.items()}
        _row("  a chunk", per["ours"], (per["B1f"], per["B1c"]), us=0.6)
    if "B0 again" in blocks:
        _row("  B0 against B0", added["B0 again"], us=2.0)
        print(f"  (B0, the SDK's own part of the call: {median(base.us):.1f})")


def _per_chunk(long: Sequence[float], short: Sequence[float]) -> list[float]:
    return [(a - b) / (CHUNKS - FEW_CHUNKS) for a, b in zip(long, short, strict=True)]


def _without_chunks(long: Sequence[float], short: Sequence[float]) -> list[float]:
    return [b - FEW_CHUNKS * chunk for b, chunk in zip(short, _per_chunk(long, short), strict=True)]


_KEEPING: Final = Rig(BatchSpanProcessor(_Discard()))


def _make_calls(calls: int) -> None:
    _chat(Ours(_KEEPING, "none"), calls)
    _KEEPING.tracers.force_flush()


def main() -> int:
    """Compares, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a fifth of the time, for a first look")
    parser.add_argument("--only", default="", help="scenarios whose name has this in it, e.g. F2")
    options = parser.parse_args()
    chosen = [scenario for scenario in SCENARIOS if options.only in scenario.name]
    differences = list(_differences(chosen))
    if differences:
        print("B1f in scripts/bench_full.py is not what we emit, so nothing is measured:", *differences, sep="\n")
        return 1
    gc.collect()
    gc.freeze()
    print(HEADER)
    for scenario in chosen:
        _run(scenario, scenario.seconds / 5 if options.quick else scenario.seconds)
    if not options.only:
        took = import_ms(3 if options.quick else 9)
        kept = kept_bytes(500 if options.quick else 3000, _make_calls)
        print(f"import of RLM and OTelCallback: {took:.1f} ms  <= 15 ms: {_met(took <= 15)}")
        print(f"kept in memory, a call: {kept:.1f} bytes  <= 5 bytes: {_met(kept <= 5)}")
        print("rlm-otel ps, us of CPU:")
        for what, us in bench_live.costs():
            print(f"  {what:<44}{us:9.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
