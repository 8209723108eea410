"""From an event to its span's name and attributes and to its measurements; pure, so that a test needs no provider.

Here is what is known at the start, and the content; the end is in `ending.py`, the measurements are in `measuring.py`.
"""

from typing import assert_never

from rlm_otel import semconv as sc
from rlm_otel.content import Policy, encodable
from rlm_otel.ending import end_attributes, failure_text, retry_attributes
from rlm_otel.events import (
    Finished,
    ModelCall,
    Operation,
    Origin,
    Reply,
    Request,
    Run,
    RunResult,
    Started,
    ToolCall,
    ToolResult,
)
from rlm_otel.measuring import (
    DeclaredLabels,
    Measurement,
    identity,
    measurements,
    retry_measurements,
    start_identity,
)
from rlm_otel.messages import Message, Text
from rlm_otel.shapes import prompt_json, reply_json, tools_json, value_json
from rlm_otel.values import Attributes, Pairs, Value, double, present

__all__ = [
    "Attributes",
    "DeclaredLabels",
    "Measurement",
    "Value",
    "end_attributes",
    "end_content",
    "failure_text",
    "identity",
    "is_client",
    "measurements",
    "retry_attributes",
    "retry_measurements",
    "span_name",
    "start_attributes",
    "start_content",
    "start_identity",
]


# The span itself ---------------------------------------------------------------------------------------------------


def span_name(operation: Operation, origin: Origin) -> str:
    """What the conventions call the span: the operation, and the model, agent or tool where it is known."""
    match operation:
        case Run():
            return _named(sc.INVOKE_AGENT, origin.agent)
        case ModelCall():
            return _named(operation.name, operation.model)
        case ToolCall():
            return _named(sc.EXECUTE_TOOL, operation.name)
        case _:
            assert_never(operation)


def _named(operation: str, name: str | None) -> str:
    return encodable(f"{operation} {name}") if name else operation


def is_client(operation: Operation) -> bool:
    """Whether the span's kind is CLIENT (it calls a service); else it is INTERNAL."""
    return isinstance(operation, ModelCall)


# At the start ------------------------------------------------------------------------------------------------------


def start_attributes(started: Started) -> Attributes:
    """All that is known when an operation starts: what a sampler may look at, and the request's parameters."""
    operation = started.operation
    match operation:
        case Run():
            own = _run(operation, started.origin)
        case ModelCall():
            own = _model_call(operation, started.origin)
        case ToolCall():
            own = _tool_call(operation, started.origin)
        case _:
            assert_never(operation)
    attributes = present(own)
    attributes[sc.RLM_DEPTH] = started.origin.depth
    for key, value in started.origin.labels:
        attributes[f"{sc.RLM_LABEL}.{encodable(key)}"] = encodable(value)
    return attributes


def _run(run: Run, origin: Origin) -> Pairs:
    yield sc.OPERATION_NAME, sc.INVOKE_AGENT
    yield sc.AGENT_NAME, origin.agent
    yield sc.CONVERSATION_ID, origin.conversation
    yield sc.REQUEST_MODEL, run.model
    yield from _request(run.request)


def _model_call(call: ModelCall, origin: Origin) -> Pairs:
    yield sc.OPERATION_NAME, call.name
    yield sc.PROVIDER_NAME, call.provider
    yield sc.REQUEST_MODEL, call.model or None
    yield sc.SERVER_ADDRESS, call.server_address
    yield sc.SERVER_PORT, call.server_port if call.server_address is not None else None
    yield sc.RLM_TURN, call.turn
    if call.name not in sc.INFERENCE:
        return
    yield sc.CONVERSATION_ID, origin.conversation
    yield sc.REQUEST_STREAM, call.stream or None
    yield sc.REQUEST_REASONING_LEVEL, call.request.reasoning_level
    yield from _request(call.request)
    if call.provider == sc.PROVIDER_OPENAI:
        tier = call.request.service_tier
        yield sc.OPENAI_API_TYPE, "chat_completions" if call.name == "chat" else None
        yield sc.OPENAI_REQUEST_SERVICE_TIER, tier if tier != "auto" else None


def _request(request: Request) -> Pairs:
    yield sc.REQUEST_TEMPERATURE, double(request.temperature)
    yield sc.REQUEST_TOP_P, double(request.top_p)
    yield sc.REQUEST_MAX_TOKENS, request.max_tokens
    yield sc.REQUEST_FREQUENCY_PENALTY, double(request.frequency_penalty)
    yield sc.REQUEST_PRESENCE_PENALTY, double(request.presence_penalty)
    yield sc.REQUEST_STOP_SEQUENCES, request.stop or None
    yield sc.REQUEST_SEED, request.seed
    yield sc.REQUEST_CHOICE_COUNT, request.choices if request.choices != 1 else None
    yield sc.OUTPUT_TYPE, request.output_type


def _tool_call(tool: ToolCall, origin: Origin) -> Pairs:
    yield sc.OPERATION_NAME, sc.EXECUTE_TOOL
    yield sc.TOOL_NAME, tool.name
    yield sc.TOOL_TYPE, tool.type
    yield sc.TOOL_DESCRIPTION, tool.description
    yield sc.TOOL_CALL_ID, tool.call_id
    yield sc.AGENT_NAME, origin.agent
    yield sc.CONVERSATION_ID, origin.conversation
    yield sc.RLM_TURN, tool.turn


# Content -----------------------------------------------------------------------------------------------------------


def start_content(started: Started, policy: Policy) -> Attributes:
    """The content that is known at the start, as JSON strings; nothing where the policy captures none."""
    operation = started.operation
    if not policy.captures:
        return {}
    match operation:
        case Run(messages=messages):
            return _prompt(messages, policy)
        case ModelCall(messages=messages, tools=tools):
            attributes = _prompt(messages, policy)
            if tools:
                attributes[sc.TOOL_DEFINITIONS] = tools_json(tools, policy)
            return attributes
        case ToolCall(arguments=arguments):
            return present([(sc.TOOL_CALL_ARGUMENTS, value_json(arguments, policy))]) if arguments else {}
        case _:
            assert_never(operation)


def _prompt(messages: tuple[Message, ...], policy: Policy) -> Attributes:
    if not messages:
        return {}
    text, omitted = prompt_json(messages, policy)
    return present([(sc.INPUT_MESSAGES, text), (sc.RLM_CONTENT_OMITTED, omitted or None)])


def end_content(finished: Finished, policy: Policy) -> Attributes:
    """The content that came back, as JSON strings; never invented: what did not arrive is not there."""
    if not policy.captures:
        return {}
    match finished.result:
        case Reply(messages=messages) if messages:
            return {sc.OUTPUT_MESSAGES: reply_json(messages, policy)}
        case RunResult(text=text) if text:
            return {sc.OUTPUT_MESSAGES: reply_json((Message("assistant", (Text(text),)),), policy)}
        case ToolResult(text=text):
            return present([(sc.TOOL_CALL_RESULT, value_json(text, policy))])
        case _:
            return {}
