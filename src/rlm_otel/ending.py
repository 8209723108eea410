"""What a span says when its operation ended, and what a failure may tell about itself."""

from typing import Final, assert_never

from rlm_otel import semconv as sc
from rlm_otel.content import Policy, encodable, identifier
from rlm_otel.events import Finished, ModelCall, Retrying, Run, ToolCall
from rlm_otel.outcome import Cost, Failure, Reply, RunResult, Unpriced, Usage
from rlm_otel.values import Attributes, Known, double, present

_INPUT_BY: Final = {"text": sc.USAGE_TEXT_INPUT, "image": sc.USAGE_IMAGE_INPUT, "audio": sc.USAGE_AUDIO_INPUT}
_OUTPUT_BY: Final = {"text": sc.USAGE_TEXT_OUTPUT, "image": sc.USAGE_IMAGE_OUTPUT, "audio": sc.USAGE_AUDIO_OUTPUT}
_RATE_LIMITS: Final = {
    "request": (sc.RLM_RATELIMIT_REQUEST_REMAINING, sc.RLM_RATELIMIT_REQUEST_LIMIT),
    "token": (sc.RLM_RATELIMIT_TOKEN_REMAINING, sc.RLM_RATELIMIT_TOKEN_LIMIT),
}


def end_attributes(finished: Finished) -> Attributes:
    """All that is known when an operation ended, content apart."""
    return present(_end(finished).items())


def _end(finished: Finished) -> Known:
    operation, failure = finished.operation, finished.failure
    known: Known = {sc.RLM_OUTCOME: finished.outcome}
    if failure is not None:
        known[sc.ERROR_TYPE] = failure.type
    match operation:
        case Run():
            known.update(_run_end(operation, finished))
        case ModelCall():
            if failure is not None:
                known.update(_failure(failure))
            _add_model_call_end(known, operation, finished)
        case ToolCall():
            return known
        case _:
            assert_never(operation)
    known.update(_cost(finished.cost))
    return known


def _run_end(run: Run, finished: Finished) -> Known:
    known: Known = {}
    # The conventions allow no breakdown of the tokens here, and nothing of the kind on a workflow.
    is_agent = run.workflow is None
    if finished.usage is not None and is_agent:
        known[sc.USAGE_INPUT] = finished.usage.input_tokens
        known[sc.USAGE_OUTPUT] = finished.usage.output_tokens
    if isinstance(finished.result, RunResult):
        if is_agent:
            known[sc.RESPONSE_FINISH_REASONS] = _finish_reasons(finished.result.finish_reasons, finished.failure)
        known[sc.RLM_RUN_INFERENCE_CALLS] = finished.result.inference_calls
        known[sc.RLM_RUN_TOOL_CALLS] = finished.result.tool_calls
        known[sc.RLM_RUN_UNPRICED_CALLS] = finished.result.unpriced_calls or None
    return known


def _add_model_call_end(known: Known, call: ModelCall, finished: Finished) -> None:
    reply = finished.result if isinstance(finished.result, Reply) else None
    inference = call.name in sc.INFERENCE
    if reply is not None:
        known[sc.RESPONSE_MODEL] = reply.model
        if (request_id := identifier(reply.request_id)) is not None:
            known[sc.RLM_REQUEST_ID] = request_id
        for limit in reply.rate_limits:
            remaining, allowed = _RATE_LIMITS[limit.kind]
            known[remaining] = limit.remaining
            known[allowed] = limit.limit
        if inference or call.name == sc.FETCH_RESPONSE:
            _add_answer(known, call, reply, finished.failure)
        else:
            known[sc.EMBEDDINGS_DIMENSIONS] = reply.dimensions
    if finished.usage is not None and call.name != sc.FETCH_RESPONSE:
        known.update(_usage(finished.usage) if inference else {sc.USAGE_INPUT: finished.usage.input_tokens})
    if call.stream and inference:
        known.update(_stream_times(finished))
    if finished.attempts > 1:
        known[sc.RLM_RETRY_COUNT] = finished.attempts - 1


def _add_answer(known: Known, call: ModelCall, reply: Reply, failure: Failure | None) -> None:
    known[sc.RESPONSE_ID] = reply.id
    known[sc.RESPONSE_FINISH_REASONS] = _finish_reasons(reply.finish_reasons, failure)
    if call.provider == sc.PROVIDER_OPENAI:
        known[sc.OPENAI_RESPONSE_SERVICE_TIER] = reply.service_tier
    if call.name == sc.FETCH_RESPONSE:
        known[sc.RESPONSE_STATUS] = reply.status if reply.status in sc.STATUSES else None
        return
    if reply.compacted:
        known[sc.CONVERSATION_COMPACTED] = True
    if call.provider == sc.PROVIDER_OPENAI:
        known[sc.OPENAI_SYSTEM_FINGERPRINT] = reply.system_fingerprint


def _finish_reasons(reasons: tuple[str | None, ...], failure: Failure | None) -> tuple[str, ...] | None:
    """One a choice; one that a failure kept from coming is `error`, one that nobody waited for is left out."""
    if failure is not None:
        return tuple(reason or sc.MISSING_REASON for reason in reasons) or None
    return tuple(reason for reason in reasons if reason) or None


def _usage(usage: Usage) -> Known:
    known: Known = {sc.USAGE_INPUT: usage.input_tokens, sc.USAGE_OUTPUT: usage.output_tokens}
    if usage.cache_read_tokens:
        known[sc.USAGE_CACHE_READ] = usage.cache_read_tokens
    if usage.cache_write_tokens:
        known[sc.USAGE_CACHE_WRITE] = usage.cache_write_tokens
    if usage.reasoning_tokens:
        known[sc.USAGE_REASONING] = usage.reasoning_tokens
    for names, split in ((_INPUT_BY, usage.input_by), (_OUTPUT_BY, usage.output_by)):
        for modality, tokens in split:
            if modality in names:
                known[names[modality]] = tokens or None
    return known


def _stream_times(finished: Finished) -> Known:
    known: Known = {
        sc.TIME_TO_FIRST_CHUNK: finished.first_chunk_s,
        sc.RLM_TIME_TO_FIRST_TOKEN: finished.first_token_s,
        sc.RLM_TIME_TO_FIRST_VISIBLE: finished.first_visible_s,
    }
    tokens = finished.usage.output_tokens if finished.usage is not None else None
    if finished.outcome == "completed" and tokens is not None and finished.first_token_s is not None:
        seconds = finished.elapsed_s - finished.first_token_s
        known[sc.RLM_TOKENS_PER_SECOND] = (tokens - 1) / seconds if tokens > 1 and seconds > 0 else None
    return known


def _cost(cost: Cost | Unpriced | None) -> Known:
    match cost:
        case Cost(usd, source):
            return {sc.RLM_COST_AMOUNT: usd, sc.RLM_COST_CURRENCY: "USD", sc.RLM_COST_SOURCE: source}
        case Unpriced(reason):
            return {sc.RLM_UNPRICED: reason}
        case None:
            return {}
        case _:
            assert_never(cost)


# Failures ----------------------------------------------------------------------------------------------------------


def _failure(failure: Failure) -> Known:
    return {
        sc.RLM_HTTP_STATUS_CODE: failure.status,
        sc.RLM_ERROR_CODE: identifier(failure.code),
        sc.RLM_REQUEST_ID: identifier(failure.request_id),
        sc.RLM_RETRY_AFTER: double(failure.retry_after_s),
    }


def failure_text(failure: Failure, policy: Policy) -> str | None:
    """What may be said of a failure: its text if content is on, else class, HTTP status, code and request id."""
    shown = policy.text(failure.message) if policy.captures and failure.message else None
    if shown is not None:
        return shown
    text = failure.type
    if failure.status is not None:
        text += f", HTTP {failure.status}"
    if (code := identifier(failure.code)) is not None:
        text += f", code {code}"
    if (request_id := identifier(failure.request_id)) is not None:
        text += f", request {request_id}"
    return encodable(text)


def retry_attributes(retrying: Retrying, policy: Policy) -> Attributes:
    """What the span event of a failed attempt says."""
    failure = retrying.failure
    attributes = present(_failure(failure).items())
    attributes[sc.ERROR_TYPE] = encodable(failure.type)
    attributes[sc.RLM_RETRY_ATTEMPT] = retrying.attempt
    attributes[sc.RLM_RETRY_MAX_ATTEMPTS] = retrying.max_attempts
    attributes[sc.RLM_RETRY_DELAY] = float(retrying.delay_s)
    if policy.captures and (text := policy.text(failure.message)) is not None:
        attributes[sc.RLM_ERROR_MESSAGE] = text
    return attributes
