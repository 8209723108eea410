"""What received spans say about each model: calls, tokens, times, retries, errors and cost."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from rlm_otel import semconv as sc
from rlm_otel.received import ReceivedSpan

_BESIDE_MODEL_CALLS: Final = frozenset({"invoke_agent", "execute_tool"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Tokens in and out; `cached` is a part of the first, `reasoning` of the second."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One line of the table; times in seconds, None where nothing was measured."""

    model: str
    calls: int
    tokens: Tokens
    p50_s: float | None
    p95_s: float | None
    first_token_s: float | None
    """The median over the streamed calls."""
    retries: int
    errors: int
    cost_usd: float | None
    unpriced: int
    """How many calls the cost leaves out."""


def by_model(spans: Iterable[ReceivedSpan]) -> list[Figures]:
    """Figures of each model, in the order of their names."""
    calls: dict[str, list[ReceivedSpan]] = {}
    for span in spans:
        if is_model_call(span):
            calls.setdefault(str(span.attributes.get(sc.REQUEST_MODEL, "")), []).append(span)
    return [figures(model, calls[model]) for model in sorted(calls)]


def figures(model: str, calls: Sequence[ReceivedSpan]) -> Figures:
    """Figures of some model calls under one name."""
    times = [seconds(call) for call in calls]
    costs = _known(calls, sc.RLM_COST_AMOUNT)
    return Figures(
        model=model,
        calls=len(calls),
        tokens=tokens(calls),
        p50_s=percentile(times, 0.5),
        p95_s=percentile(times, 0.95),
        first_token_s=percentile(_known(calls, sc.RLM_TIME_TO_FIRST_TOKEN), 0.5),
        retries=_sum(calls, sc.RLM_RETRY_COUNT),
        errors=sum(call.attributes.get(sc.RLM_OUTCOME) == "failed" for call in calls),
        cost_usd=sum(costs) if costs else None,
        unpriced=sum(sc.RLM_UNPRICED in call.attributes for call in calls),
    )


def tokens(calls: Iterable[ReceivedSpan]) -> Tokens:
    """What some model calls used together."""
    calls = list(calls)
    return Tokens(
        input=_sum(calls, sc.USAGE_INPUT),
        output=_sum(calls, sc.USAGE_OUTPUT),
        cached=_sum(calls, sc.USAGE_CACHE_READ),
        reasoning=_sum(calls, sc.USAGE_REASONING),
    )


def is_model_call(span: ReceivedSpan) -> bool:
    """Whether it is the span of a call of a model: runs repeat the sums of theirs."""
    return span.attributes.get(sc.OPERATION_NAME) not in {None, *_BESIDE_MODEL_CALLS}


def seconds(span: ReceivedSpan) -> float:
    """How long it took."""
    return (span.end_ns - span.start_ns) / 1e9


def number(span: ReceivedSpan, name: str) -> float | None:
    """A numeric attribute; None where it is absent."""
    value = span.attributes.get(name)
    return value if isinstance(value, int | float) else None


def percentile(values: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of all does not exceed: one that really occurred."""
    if not values:
        return None
    return sorted(values)[math.ceil(share * len(values)) - 1]


def _sum(calls: Iterable[ReceivedSpan], name: str) -> int:
    return int(sum(_known(calls, name)))


def _known(calls: Iterable[ReceivedSpan], name: str) -> list[float]:
    return [value for call in calls if (value := number(call, name)) is not None]
