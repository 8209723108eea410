"""From an event to its span's name and attributes and to its measurements; pure, so that a test needs no provider.

Here is what is known at the start, and the content; the end is in `ending.py`, the measurements are in `measuring.py`.
"""

from typing import assert_never

from rlm_otel import semconv as sc
from rlm_otel.content import Policy, encodable
from rlm_otel.ending import end_attributes, failure_text, retry_attributes
from rlm_otel.events import Finished, ModelCall, Operation, Origin, Request, Run, Started, ToolCall
from rlm_otel.measuring import (
    DeclaredLabels,
    Measurement,
    identity,
    measurements,
    retry_measurements,
    start_identity,
)
from rlm_otel.messages import Message, Text
from rlm_otel.outcome import Reply, RunResult, ToolResult
from rlm_otel.shapes import instructions_json, tools_json, value_json
from rlm_otel.values import Attributes, Known, Value, present
from rlm_otel.written import Written

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
        case Run(workflow=None):
            return _named(sc.INVOKE_AGENT, origin.agent)
        case Run(workflow=name):
            return _named(sc.INVOKE_WORKFLOW, name)
        case ModelCall():
            return _named(operation.name, operation.model)
        case ToolCall():
            return _named(sc.EXECUTE_TOOL, operation.name)
        case _:
            assert_never(operation)


def _named(operation: str, name: str | None) -> str:
    return encodable(f"{operation} {str.__str__(name)}") if name else operation  # of an enum its value


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
    attributes = present(own.items())
    attributes[sc.RLM_DEPTH] = started.origin.depth
    for key, value in started.origin.labels:
        attributes[f"{sc.RLM_LABEL}.{encodable(key)}"] = encodable(value)
    return attributes


def _run(run: Run, origin: Origin) -> Known:
    if run.workflow is not None:
        return {
            sc.OPERATION_NAME: sc.INVOKE_WORKFLOW,
            sc.WORKFLOW_NAME: run.workflow or None,
            sc.CONVERSATION_ID: origin.conversation,
        }
    return {
        sc.OPERATION_NAME: sc.INVOKE_AGENT,
        sc.AGENT_NAME: origin.agent,
        sc.CONVERSATION_ID: origin.conversation,
        sc.REQUEST_MODEL: run.model,
        **_request(run.request),
    }


def _model_call(call: ModelCall, origin: Origin) -> Known:
    known: Known = {
        sc.OPERATION_NAME: call.name,
        sc.PROVIDER_NAME: call.provider,
        sc.REQUEST_MODEL: call.model or None,
        sc.SERVER_ADDRESS: call.server_address,
        sc.SERVER_PORT: call.server_port if call.server_address is not None else None,
        sc.RLM_TURN: call.turn,
    }
    request = call.request
    if call.name not in sc.INFERENCE:
        return {**known, **_not_inference(call)}
    if (conversation := origin.conversation or request.conversation) is not None:
        known[sc.CONVERSATION_ID] = conversation
    if origin.prompt is not None:
        known[sc.PROMPT_NAME] = origin.prompt.name
        known[sc.PROMPT_VERSION] = origin.prompt.version
    if call.stream:
        known[sc.REQUEST_STREAM] = True
    if request.reasoning_level is not None:
        known[sc.REQUEST_REASONING_LEVEL] = request.reasoning_level
    if request.previous_response_id is not None:
        known[sc.REQUEST_PREVIOUS_RESPONSE] = request.previous_response_id
    known.update(_request(request))
    if call.provider == sc.PROVIDER_OPENAI:
        tier = request.service_tier
        known[sc.OPENAI_API_TYPE] = request.api or ("chat_completions" if call.name == "chat" else None)
        known[sc.OPENAI_REQUEST_SERVICE_TIER] = tier if tier != "auto" else None
    return known


def _not_inference(call: ModelCall) -> Known:
    request = call.request
    if call.name == sc.EMBEDDINGS:
        return {
            sc.EMBEDDINGS_DIMENSIONS: request.dimensions,
            sc.REQUEST_ENCODING_FORMATS: request.encoding_formats,
        }
    if call.name == sc.FETCH_RESPONSE:
        return {
            sc.RESPONSE_ID: request.response_id,
            sc.REQUEST_STREAM_CURSOR: request.stream_cursor,
            sc.OPENAI_API_TYPE: request.api if call.provider == sc.PROVIDER_OPENAI else None,
        }
    return {}


def _request(request: Request) -> Known:
    known: Known = {}
    # Not all at once: a caller sends two or three of them, and what is None costs several steps behind this.
    if request.temperature is not None:
        known[sc.REQUEST_TEMPERATURE] = float(request.temperature)
    if request.top_p is not None:
        known[sc.REQUEST_TOP_P] = float(request.top_p)
    if request.max_tokens is not None:
        known[sc.REQUEST_MAX_TOKENS] = request.max_tokens
    if request.frequency_penalty is not None:
        known[sc.REQUEST_FREQUENCY_PENALTY] = float(request.frequency_penalty)
    if request.presence_penalty is not None:
        known[sc.REQUEST_PRESENCE_PENALTY] = float(request.presence_penalty)
    if request.stop:
        known[sc.REQUEST_STOP_SEQUENCES] = request.stop
    if request.seed is not None:
        known[sc.REQUEST_SEED] = request.seed
    if request.choices != 1:
        known[sc.REQUEST_CHOICE_COUNT] = request.choices
    if request.output_type is not None:
        known[sc.OUTPUT_TYPE] = request.output_type
    return known


def _tool_call(tool: ToolCall, origin: Origin) -> Known:
    return {
        sc.OPERATION_NAME: sc.EXECUTE_TOOL,
        sc.TOOL_NAME: tool.name,
        sc.TOOL_TYPE: tool.type,
        sc.TOOL_DESCRIPTION: tool.description,
        sc.TOOL_CALL_ID: tool.call_id,
        sc.AGENT_NAME: origin.agent,
        sc.CONVERSATION_ID: origin.conversation,
        sc.RLM_TURN: tool.turn,
    }


# Content -----------------------------------------------------------------------------------------------------------


def start_content(started: Started, policy: Policy, written: Written | None = None) -> Attributes:
    """The content that is known at the start, as JSON strings; nothing where the policy captures none.

    `written`: what was written for other spans of the same runs, by the same policy.
    """
    operation = started.operation
    if not policy.captures:
        return {}
    match operation:
        case Run(messages=messages):
            return _prompt(messages, policy, written or Written())
        case ModelCall(instructions=instructions, messages=messages, tools=tools):
            attributes = _prompt(messages, policy, written or Written())
            if instructions and (text := instructions_json(instructions, policy)) is not None:
                attributes[sc.SYSTEM_INSTRUCTIONS] = text
            if tools:
                attributes[sc.TOOL_DEFINITIONS] = tools_json(tools, policy)
            return attributes
        case ToolCall(arguments=arguments):
            return present([(sc.TOOL_CALL_ARGUMENTS, value_json(arguments, policy))]) if arguments else {}
        case _:
            assert_never(operation)


def _prompt(messages: tuple[Message, ...], policy: Policy, written: Written) -> Attributes:
    if not messages:
        return {}
    text, omitted = written.prompt(messages, policy)
    return {sc.INPUT_MESSAGES: text, sc.RLM_CONTENT_OMITTED: omitted} if omitted else {sc.INPUT_MESSAGES: text}


def end_content(finished: Finished, policy: Policy, written: Written | None = None) -> Attributes:
    """The content that came back, as JSON strings; never invented: what did not arrive is not there."""
    if not policy.captures:
        return {}
    match finished.result:
        case Reply(messages=messages) if messages:
            return {sc.OUTPUT_MESSAGES: (written or Written()).answer(messages, policy)}
        case RunResult(text=text) if text:
            said = (Message("assistant", (Text(text),)),)
            return {sc.OUTPUT_MESSAGES: (written or Written()).answer(said, policy)}
        case ToolResult(text=text):
            return present([(sc.TOOL_CALL_RESULT, value_json(text, policy))])
        case _:
            return {}
