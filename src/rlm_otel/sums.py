"""How an operation ended, as pure functions: its outcome, its price, and the sums of a run."""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from rlm_otel.errors import Leave, LimitReached, StopRun
from rlm_otel.events import Finished, ModelCall, Operation, ToolCall
from rlm_otel.outcome import Cost, Failure, Outcome, Reply, RunResult, ToolResult, Unpriced, Usage
from rlm_otel.prices import PriceList
from rlm_otel.reader import read_failure
from rlm_otel.semconv import FETCH_RESPONSE, INFERENCE

_NO_USAGE: Final = Usage()


class Ended(NamedTuple):
    """How an operation ended, without the failure: its traceback holds the bracket, which would then hold itself."""

    outcome: Outcome
    result: Reply | ToolResult | RunResult | None
    usage: Usage | None
    cost: Cost | Unpriced | None
    elapsed_s: float


def ended(finished: Finished) -> Ended:
    """What stays of it."""
    return Ended(finished.outcome, finished.result, finished.usage, finished.cost, finished.elapsed_s)


class Child(NamedTuple):
    """What an ended operation adds to the sums of its run."""

    counts_as: Literal["inference", "tool"] | None
    usage: Usage | None
    cost: Cost | Unpriced | None
    unpriced_calls: int
    finish_reasons: tuple[str | None, ...]


def child(finished: Finished) -> Child:
    """What this one adds."""
    result = finished.result
    unpriced = result.unpriced_calls if isinstance(result, RunResult) else 0
    reasons = () if result is None or isinstance(result, ToolResult) else result.finish_reasons
    return Child(_counts_as(finished.operation), finished.usage, finished.cost, unpriced, reasons)


def _counts_as(operation: Operation) -> Literal["inference", "tool"] | None:
    if isinstance(operation, ModelCall):
        return "inference" if operation.name in INFERENCE else None
    return "tool" if isinstance(operation, ToolCall) else None


def verdict(error: BaseException | None, noted: Failure | None) -> tuple[Outcome, Failure | None]:
    """The outcome by the exception that leaves, or by the failure that was noted and does not."""
    if isinstance(error, Leave):
        if error.error is None:
            return error.outcome, None
        error = error.error
    if error is None:
        return ("completed", None) if noted is None else ("failed", noted)
    if isinstance(error, GeneratorExit) or (isinstance(error, StopRun) and not isinstance(error, LimitReached)):
        return "closed", None
    return "failed" if isinstance(error, Exception) else "cancelled", read_failure(error)


def price(
    prices: PriceList, call: ModelCall, reply: Reply, usage: Usage | None, reported_usd: float | None
) -> Cost | Unpriced | None:
    """What a model call cost: the vendor's own word for it, else by the price list and the model that answered.

    None for one that generates nothing.
    """
    if call.name == FETCH_RESPONSE:
        return None
    if reported_usd is not None:
        return Cost(reported_usd, "provider")
    return prices.cost(call.provider, reply.model or call.model, usage, reply.service_tier, requested=call.model)


def total(children: Sequence[Child], result: Reply | RunResult) -> tuple[Usage | None, Cost | None, RunResult]:
    """A run's usage and cost, those of its sub-runs included, and what it came to, with its own calls counted.

    `result`: the latest reply, or what the producer says that the run came to; where that has no finish reasons, those
    of the last call below are the run's.
    """
    usage: Usage | None = None
    costs: list[Cost] = []
    model_calls = tool_calls = unpriced = 0
    for one in children:
        model_calls += one.counts_as == "inference"
        tool_calls += one.counts_as == "tool"
        if one.usage is not None:
            usage = one.usage + (usage or _NO_USAGE)
        if isinstance(one.cost, Cost):
            costs.append(one.cost)
        unpriced += one.unpriced_calls + isinstance(one.cost, Unpriced)
    reasons = result.finish_reasons
    if not reasons and isinstance(result, RunResult):
        reasons = next((one.finish_reasons for one in reversed(children) if one.finish_reasons), ())
    counted = RunResult(
        text=result.text,
        finish_reasons=reasons,
        inference_calls=model_calls,
        tool_calls=tool_calls,
        unpriced_calls=unpriced,
    )
    return usage, _sum(costs), counted


def _sum(costs: Sequence[Cost]) -> Cost | None:
    if len(costs) <= 1:
        return costs[0] if costs else None
    by_vendor = all(cost.source == "provider" for cost in costs)
    return Cost(sum(cost.usd for cost in costs), "provider" if by_vendor else "local")
