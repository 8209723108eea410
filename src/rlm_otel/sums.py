"""How an operation ended, as pure functions: its outcome, its price, and the sums of a run."""

from collections.abc import Sequence
from typing import Final

from rlm_otel.errors import Leave, LimitReached, StopRun
from rlm_otel.events import ModelCall
from rlm_otel.outcome import Cost, Failure, Outcome, Reply, RunResult, Unpriced, Usage
from rlm_otel.prices import PriceList
from rlm_otel.reader import read_failure
from rlm_otel.records import Record
from rlm_otel.rising import Risen, failure_inside
from rlm_otel.semconv import FETCH_RESPONSE

_NO_USAGE: Final = Usage()


def verdict(
    error: BaseException | None, noted: Failure | None, risen: Sequence[Risen] = ()
) -> tuple[Outcome, Failure | None]:
    """The outcome by the exception that leaves, or by the failure that was noted and does not.

    `risen`: what came up from inside, and was read there already.
    """
    if isinstance(error, Leave):
        if error.error is None:
            return error.outcome, None
        error = error.error
    if error is None:
        return ("completed", None) if noted is None else ("failed", noted)
    if isinstance(error, GeneratorExit) or (isinstance(error, StopRun) and not isinstance(error, LimitReached)):
        return "closed", None
    failure = failure_inside(risen, error) or read_failure(error)
    return "failed" if isinstance(error, Exception) else "cancelled", failure


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


def total(
    children: Sequence[Record], result: Reply | RunResult, below: object = None
) -> tuple[Usage | None, Cost | None, RunResult]:
    """A run's usage and cost, those of its sub-runs included, and what it came to, with its own calls counted.

    `result`: the latest reply, or what the producer says that the run came to; where that has no finish reasons, those
    of the last call below are the run's. `below`: what it is to keep of its children.
    """
    usage: Usage | None = None
    costs: list[Cost] = []
    model_calls = tool_calls = unpriced = 0
    for one in children:
        model_calls += one.kind == "inference"
        tool_calls += one.kind == "tool"
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
        below=below,
    )
    return usage, _sum(costs), counted


def _sum(costs: Sequence[Cost]) -> Cost | None:
    if len(costs) <= 1:
        return costs[0] if costs else None
    by_vendor = all(cost.source == "provider" for cost in costs)
    return Cost(sum(cost.usd for cost in costs), "provider" if by_vendor else "local")
