"""`ConsoleCallback`: a plain line when something starts, is retried or ends, indented by depth."""

from typing import Final, TextIO

from rlm_otel.callbacks.base import BaseCallback
from rlm_otel.callbacks.printing import plain, write_line
from rlm_otel.content import cut, without_secrets
from rlm_otel.events import Event, Finished, ModelCall, Retrying, Run, Started, ToolCall
from rlm_otel.outcome import Cost, Failure, RunResult, Unpriced, Usage

_LIMIT: Final = 200
"""How much of an error's text is shown, in characters."""


class ConsoleCallback(BaseCallback):
    """Prints runs, model calls and tools: time, tokens, cost, retries and failures; never prompts and answers.

    `file` is where to; else stdout.
    """

    def __init__(self, *, file: TextIO | None = None) -> None:
        self._file = file

    def on_event(self, event: Event, /) -> None:
        """Prints the event's line."""
        match event:
            case Started():
                line = f"{_name(event)} ..."
            case Retrying():
                attempt = f"retry {event.attempt} of {event.max_attempts} in {event.delay_s:.2f} s"
                line = f"{_name(event)}: {attempt} after {_reason(event.failure)}"
            case Finished():
                reason = _reason(event.failure, in_full=event.passage != "passing")
                line = f"{_name(event)}: {', '.join(_facts(event, reason))}"
            case _:
                return
        is_inside = event.origin.run_id is not None and not isinstance(event.operation, Run)
        write_line("  " * (event.depth + is_inside) + plain(line), self._file)


def _name(event: Event) -> str:
    match event.operation:
        case Run(workflow=str(name)):
            return f"workflow {name}".rstrip()
        case Run() as run:
            named = f"run {event.agent}" if event.agent else "run"
            return f"{named} ({run.model})" if run.model else named
        case ModelCall() as call:
            return f"{call.name} {call.model}".rstrip()
        case ToolCall() as tool:
            return f"tool {tool.name}"


def _facts(event: Finished, reason: str) -> list[str]:
    facts = [f"{event.elapsed_s:.2f} s"]
    if isinstance(event.result, RunResult):
        facts.append(_count(event.result.inference_calls, "call"))
        facts.append(_count(event.result.tool_calls, "tool"))
    if event.first_token_s is not None:
        facts.append(f"first token after {event.first_token_s:.2f} s")
    if event.usage is not None:
        facts.append(_tokens(event.usage))
    match event.cost:
        case Cost(usd=usd):
            facts.append(f"${usd:.4f}" if usd >= 0.01 else f"${usd:.6f}")
        case Unpriced(reason="no_price"):
            facts.append("cost unknown (no price)")
        case Unpriced():
            facts.append("cost unknown (tokens not reported)")
    if event.attempts > 1:
        facts.append(_count(event.attempts, "attempt"))
    if event.outcome != "completed":
        facts.append(f"{event.outcome}: {reason}" if reason else event.outcome)
    return facts


def _tokens(usage: Usage) -> str:
    if usage.input_tokens is None and usage.output_tokens is None:
        return f"{usage.total_tokens} tokens" if usage.total_tokens is not None else "tokens not reported"
    cached = f" ({usage.cache_read_tokens} cached)" if usage.cache_read_tokens else ""
    reasoning = f" ({usage.reasoning_tokens} reasoning)" if usage.reasoning_tokens else ""
    return f"{_number(usage.input_tokens)} in{cached} + {_number(usage.output_tokens)} out{reasoning} tokens"


def _number(count: int | None) -> str:
    return "?" if count is None else str(count)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _reason(failure: Failure | None, *, in_full: bool = True) -> str:
    """Why it failed; the text only where it arose, not again at each level that it leaves."""
    if failure is None:
        return ""
    status = f" ({failure.status})" if failure.status else ""
    text = cut(without_secrets(failure.message), _LIMIT) if in_full else ""
    return f"{failure.type}{status}: {text}" if text else f"{failure.type}{status}"
