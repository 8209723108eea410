"""`MetricsCollector`: calls, tokens, cost, latency and errors of all runs that it is attached to, in memory."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypedDict

from rlm_otel.callbacks.base import BaseCallback
from rlm_otel.callbacks.lock import ForkLock
from rlm_otel.events import Event, Finished, ModelCall, Retrying, Started
from rlm_otel.outcome import Cost, Unpriced
from rlm_otel.prices import Price, PriceList
from rlm_otel.records import Record, record
from rlm_otel.report import Report, told
from rlm_otel.tallies import Tally, path_of

_REMEMBERED: Final = 10_000
"""How many latencies are kept of each model, the latest ones: a service runs for months."""


class TokensByKind(TypedDict):
    """Tokens as the vendors counted them; `cached` are among `input`, `reasoning` among `output`."""

    input: int
    output: int
    cached: int
    reasoning: int


class ModelSummary(TypedDict):
    """What is known of one model. `calls` were started, whatever became of them."""

    calls: int
    errors: int
    retries: int
    total_tokens: int
    tokens: TokensByKind
    cost_usd: float
    unpriced_calls: int
    avg_latency_ms: float
    p50_latency_ms: float
    p95_latency_ms: float


class Summary(TypedDict):
    """What is known of everything. `by_model` counts the calls that ended without an error; `models` has the rest."""

    total_calls: int
    total_tokens: int
    errors: int
    avg_latency_ms: float
    by_model: dict[str, int]
    p50_latency_ms: float
    p95_latency_ms: float
    tokens: TokensByKind
    cost_usd: float
    unpriced_calls: int
    retries: int
    models: dict[str, ModelSummary]


@dataclass(slots=True)
class _Model:
    calls: int = 0
    ended_well: int = 0
    errors: int = 0
    retries: int = 0
    total_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost_usd: float = 0.0
    unpriced_calls: int = 0
    latency_s: float = 0.0
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def finish(self, event: Finished) -> None:
        """Adds a call that ended."""
        if event.failure is None:
            self.ended_well += 1
            self.latency_s += event.elapsed_s
            self.latencies_s.append(event.elapsed_s)
        else:
            self.errors += 1
        if isinstance(event.cost, Cost):
            self.cost_usd += event.cost.usd
        elif isinstance(event.cost, Unpriced):
            self.unpriced_calls += 1
        if event.usage is not None:
            self.total_tokens += event.usage.total_tokens or 0
            self.input_tokens += event.usage.input_tokens or 0
            self.output_tokens += event.usage.output_tokens or 0
            self.cached_tokens += event.usage.cache_read_tokens or 0
            self.reasoning_tokens += event.usage.reasoning_tokens or 0

    def summary(self) -> ModelSummary:
        return {
            "calls": self.calls,
            "errors": self.errors,
            "retries": self.retries,
            "total_tokens": self.total_tokens,
            "tokens": {
                "input": self.input_tokens,
                "output": self.output_tokens,
                "cached": self.cached_tokens,
                "reasoning": self.reasoning_tokens,
            },
            "cost_usd": self.cost_usd,
            "unpriced_calls": self.unpriced_calls,
            "avg_latency_ms": self.latency_s / self.ended_well * 1000 if self.ended_well else 0.0,
            "p50_latency_ms": _percentile_ms(self.latencies_s, 0.5),
            "p95_latency_ms": _percentile_ms(self.latencies_s, 0.95),
        }


class MetricsCollector(BaseCallback):
    """Counts model calls under any number of threads; `summary()` tells.

    `errors` counts failures of calls and runs once each, where they arose. `prices` (model name -> price) come before
    the public price list; ValueError for one that is no price.
    """

    def __init__(
        self, *, prices: PriceList | Mapping[str, str | Price | Mapping[str, float | None]] | None = None
    ) -> None:
        self.prices = prices if prices is None or isinstance(prices, PriceList) else PriceList(prices)
        self.errors = 0
        self._models: dict[str, _Model] = {}
        self._tally = Tally()
        self._slowest_s = -1.0
        self._lock = ForkLock()

    def on_event(self, event: Event, /) -> None:
        """Takes note of an event."""
        with self._lock:
            if isinstance(event, Finished) and event.tells_failure:
                self.errors += 1
            if isinstance(event, Finished):
                self._count(record(event))
            if isinstance(event.operation, ModelCall):
                self._note(event, self._models.setdefault(event.operation.model, _Model()))

    def _count(self, ended: Record) -> None:
        self._tally.add(ended)
        if ended.kind == "run" and ended.origin.parent_id is None and ended.elapsed_s > self._slowest_s:
            self._slowest_s, self._tally.path = ended.elapsed_s, path_of(ended)

    def _note(self, event: Event, model: _Model) -> None:
        match event:
            case Started():
                model.calls += 1
            case Retrying():
                model.retries += 1
            case Finished():
                model.finish(event)

    # What a person reads ------------------------------------------------------------

    @property
    def calls(self) -> int:
        """Model calls that began."""
        with self._lock:
            return sum(model.calls for model in self._models.values())

    @property
    def tokens(self) -> int:
        """Tokens in and out."""
        with self._lock:
            return sum(model.total_tokens for model in self._models.values())

    @property
    def latencies(self) -> list[float]:
        """Seconds of the latest calls that ended without an error, model by model."""
        with self._lock:
            return [seconds for model in self._models.values() for seconds in model.latencies_s]

    @property
    def by_model(self) -> dict[str, int]:
        """Calls that ended without an error, by the model that was asked for."""
        with self._lock:
            return {name: model.ended_well for name, model in self._models.items() if model.ended_well}

    def summary(self) -> Summary:
        """Everything up to now; latencies in milliseconds, percentiles of the latest 10000 calls of each model."""
        with self._lock:
            models = list(self._models.values())
            latencies = [seconds for model in models for seconds in model.latencies_s]
            ended_well = sum(model.ended_well for model in models)
            return {
                "total_calls": sum(model.calls for model in models),
                "total_tokens": sum(model.total_tokens for model in models),
                "errors": self.errors,
                "avg_latency_ms": sum(model.latency_s for model in models) / ended_well * 1000 if ended_well else 0.0,
                "by_model": {name: model.ended_well for name, model in self._models.items() if model.ended_well},
                "p50_latency_ms": _percentile_ms(latencies, 0.5),
                "p95_latency_ms": _percentile_ms(latencies, 0.95),
                "tokens": {
                    "input": sum(model.input_tokens for model in models),
                    "output": sum(model.output_tokens for model in models),
                    "cached": sum(model.cached_tokens for model in models),
                    "reasoning": sum(model.reasoning_tokens for model in models),
                },
                "cost_usd": sum(model.cost_usd for model in models),
                "unpriced_calls": sum(model.unpriced_calls for model in models),
                "retries": sum(model.retries for model in models),
                "models": {name: model.summary() for name, model in self._models.items()},
            }

    def report(self) -> Report:
        """The same as `Result.report()`, over all that ended until now; the critical path is that of the slowest run.

        Calls that are still running are in `summary()` alone.
        """
        with self._lock:
            return told(self._tally)


def _percentile_ms(seconds: Sequence[float], share: float) -> float:
    """The value below which that share lies, between neighbours in proportion; 0 of nothing."""
    if not seconds:
        return 0.0
    ordered = sorted(seconds)
    position = (len(ordered) - 1) * share
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return (ordered[below] + (ordered[above] - ordered[below]) * (position - below)) * 1000
