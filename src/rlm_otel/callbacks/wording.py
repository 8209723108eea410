"""What is said of operations on a console: names, figures and reasons, the same in lines and in trees."""

from typing import Final

from rlm_otel.content import cut, without_secrets
from rlm_otel.events import ModelCall, Operation, Run, ToolCall
from rlm_otel.outcome import Failure, Usage

_LIMIT: Final = 200
"""How much of an error's text is shown, in characters."""


def name_of(operation: Operation, agent: str | None) -> str:
    """What it is, such as `run planner (gpt-4o)`."""
    match operation:
        case Run(workflow=str(name)):
            return f"workflow {name}".rstrip()
        case Run() as run:
            named = f"run {agent}" if agent else "run"
            return f"{named} ({run.model})" if run.model else named
        case ModelCall() as call:
            return f"{call.name} {call.model}".rstrip()
        case ToolCall() as tool:
            return f"tool {tool.name}"


def tokens(usage: Usage) -> str:
    """Tokens in and out; what was not counted is `?`."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return f"{usage.total_tokens} tokens" if usage.total_tokens is not None else "tokens not reported"
    cached = f" ({usage.cache_read_tokens} cached)" if usage.cache_read_tokens else ""
    reasoning = f" ({usage.reasoning_tokens} reasoning)" if usage.reasoning_tokens else ""
    return f"{_number(usage.input_tokens)} in{cached} + {_number(usage.output_tokens)} out{reasoning} tokens"


def dollars(usd: float) -> str:
    """An amount of money, small ones with more digits."""
    return f"${usd:,.4f}" if usd >= 0.01 else f"${usd:.6f}"


def count(number: int, noun: str, several: str | None = None) -> str:
    """`1 call`, `2 calls`."""
    return f"{number} {noun}" if number == 1 else f"{number} {several or noun + 's'}"


def reason(failure: Failure | None, *, in_full: bool = True, short: bool = False) -> str:
    """Why it failed; the text only where it arose, not again at each level that it leaves.

    `short`: the class without its module.
    """
    if failure is None:
        return ""
    kind = failure.type.rpartition(".")[2] if short else failure.type
    status = f" ({failure.status})" if failure.status else ""
    text = cut(without_secrets(failure.message), _LIMIT) if in_full else ""
    return f"{kind}{status}: {text}" if text else f"{kind}{status}"


def _number(known: int | None) -> str:
    return "?" if known is None else str(known)
