"""A plain line for an event, indented by depth."""

from rlm_otel.callbacks.printing import plain
from rlm_otel.callbacks.wording import count, dollars, name_of, reason, tokens
from rlm_otel.events import Event, Finished, Retrying, Run, Started
from rlm_otel.outcome import Cost, RunResult, Unpriced


def line_of(event: Event) -> str | None:
    """The event's line; None for one that has none."""
    name = name_of(event.operation, event.agent)
    match event:
        case Started():
            line = f"{name} ..."
        case Retrying():
            attempt = f"retry {event.attempt} of {event.max_attempts} in {event.delay_s:.2f} s"
            line = f"{name}: {attempt} after {reason(event.failure)}"
        case Finished():
            why = reason(event.failure, in_full=event.passage != "passing")
            line = f"{name}: {', '.join(_facts(event, why))}"
        case _:
            return None
    is_inside = event.origin.run_id is not None and not isinstance(event.operation, Run)
    return "  " * (event.depth + is_inside) + plain(line)


def _facts(event: Finished, why: str) -> list[str]:
    facts = [f"{event.elapsed_s:.2f} s"]
    if isinstance(event.result, RunResult):
        facts.append(count(event.result.inference_calls, "call"))
        facts.append(count(event.result.tool_calls, "tool"))
    if event.first_token_s is not None:
        facts.append(f"first token after {event.first_token_s:.2f} s")
    if event.usage is not None:
        facts.append(tokens(event.usage))
    match event.cost:
        case Cost(usd=usd):
            facts.append(dollars(usd))
        case Unpriced(reason="no_price"):
            facts.append("cost unknown (no price)")
        case Unpriced():
            facts.append("cost unknown (tokens not reported)")
    if event.attempts > 1:
        facts.append(count(event.attempts, "attempt"))
    if event.outcome != "completed":
        facts.append(f"{event.outcome}: {why}" if why else event.outcome)
    return facts
