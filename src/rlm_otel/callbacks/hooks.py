"""The façade: turns an event into the name of its hook and what the hook is given."""

import json

from rlm_otel.callbacks.plan import Payload
from rlm_otel.callbacks.response import response_of
from rlm_otel.events import Event, Finished, ModelCall, Operation, Retrying, Run, Started, ToolCall
from rlm_otel.messages import prompt_text
from rlm_otel.outcome import Failure, Reply, RunResult, ToolResult


def start_hook(operation: Operation) -> str:
    """Which hook an operation's start is for."""
    match operation:
        case Run():
            return "on_run_start"
        case ModelCall():
            return "on_llm_start"
        case ToolCall():
            return "on_tool_start"


def end_hook(event: Finished) -> str | None:
    """Which hook an operation's end is for; None for a failed model call, which has `on_error` alone."""
    match event.operation:
        case Run():
            return "on_run_end"
        case ModelCall():
            return "on_llm_end" if event.failure is None else None
        case ToolCall():
            return "on_tool_end"


def start_payload(event: Started) -> Payload:
    """What a start hook is given."""
    payload = _common(event)
    if event.parent is not None:
        payload["trace_id"] = event.parent.trace_id
    match event.operation:
        case Run() as run:
            payload.update(
                prompt=prompt_text(run.messages),
                messages=run.messages,
                provider=run.provider,
                workflow=run.workflow,
            )
        case ModelCall() as call:
            payload.update(
                prompt=prompt_text(call.messages),
                messages=call.messages,
                provider=call.provider,
                turn=call.turn,
                stream=call.stream,
            )
        case ToolCall() as tool:
            payload.update(tool_name=tool.name, tool_input=_tool_input(tool), tool_call_id=tool.call_id, turn=tool.turn)
    return payload


def end_payload(event: Finished) -> Payload:
    """What an end hook is given."""
    payload = _common(event)
    payload.update(_ends(event))
    match event.operation:
        case Run() as run:
            result = event.result if isinstance(event.result, RunResult) else RunResult()
            payload.update(result=result, error=_exception(event.failure), workflow=run.workflow)
        case ModelCall() as call:
            reply = event.result if isinstance(event.result, Reply) else None
            payload.update(
                response=response_of(reply, event.usage),
                provider=call.provider,
                turn=call.turn,
                first_token_s=event.first_token_s,
            )
        case ToolCall() as tool:
            payload.update(
                tool_name=tool.name,
                tool_output=event.result.text if isinstance(event.result, ToolResult) else "",
                error=_exception(event.failure),
                tool_call_id=tool.call_id,
                turn=tool.turn,
            )
    return payload


def error_payload(event: Finished) -> Payload:
    """What `on_error` is given."""
    payload = _common(event)
    payload.update(_ends(event))
    payload.update(error=_exception(event.failure), status=event.failure.status if event.failure else None)
    return payload


def retry_payload(event: Retrying) -> Payload:
    """What `on_retry` is given."""
    payload = _common(event)
    payload.update(
        attempt=event.attempt,
        max_attempts=event.max_attempts,
        error=_exception(event.failure),
        delay_s=event.delay_s,
        status=event.failure.status,
    )
    return payload


def token_payload(event: Event, text: str) -> Payload:
    """What `on_token` is given."""
    return {**_common(event), "token": text}


def _common(event: Event) -> dict[str, object]:
    origin, operation, link = event.origin, event.operation, event.link
    return {
        "operation_id": origin.id,
        "parent_id": origin.parent_id,
        "run_id": origin.run_id,
        "root_id": origin.root_id,
        "trace_id": link.trace_id if link else None,
        "span_id": link.span_id if link else None,
        "model": None if isinstance(operation, ToolCall) else operation.model,
        "agent": origin.agent,
        "depth": origin.depth,
    }


def _ends(event: Finished) -> dict[str, object]:
    return {"outcome": event.outcome, "usage": event.usage, "cost": event.cost, "elapsed_s": event.elapsed_s}


def _exception(failure: Failure | None) -> BaseException | None:
    return failure.exception if failure else None


def _tool_input(tool: ToolCall) -> object:
    try:
        return json.loads(tool.arguments)
    except (ValueError, RecursionError):  # no JSON, or nested too deep
        return tool.arguments
