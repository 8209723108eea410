"""Every instrument that we record to: its unit, its buckets, and the attributes that its points may carry."""

from dataclasses import dataclass
from typing import Final, Literal

from rlm_otel import semconv as sc


@dataclass(frozen=True, slots=True)
class Instrument:
    """One instrument; `attributes` are all that its points may carry. `integer`: its values are whole numbers."""

    name: str
    kind: Literal["counter", "up_down_counter", "gauge", "histogram"]
    unit: str
    attributes: tuple[str, ...]
    description: str
    buckets: tuple[float, ...] | None = None
    integer: bool = False


SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
# The conventions stop at 409.6 s; a recursive run may work for two hours, and all such would land in +Inf.
RUN_SECONDS: Final = (*(0.1 * 2**power for power in range(16)), 7200.0)
WORKFLOW_SECONDS: Final = (1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0)
TOKENS: Final = tuple(float(4**power) for power in range(14))
CALLS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
# Scores are yes or no, from -1 to 1, shares, stars, marks up to ten, or percents.
SCORES: Final = (0.0, 0.25, 0.5, 0.75, 0.9, 1.0, 2.0, 3.0, 4.0, 5.0, 10.0, 50.0, 100.0)
LEVELS: Final = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)

_ASKED: Final = (sc.OPERATION_NAME, sc.PROVIDER_NAME, sc.REQUEST_MODEL)
_MODEL: Final = (*_ASKED, sc.RESPONSE_MODEL)
_CALL: Final = (*_MODEL, sc.SERVER_ADDRESS, sc.SERVER_PORT)
_COUNTED: Final = (*_CALL, sc.OPENAI_RESPONSE_SERVICE_TIER)
_TOKENS: Final = (*_COUNTED, sc.TOKEN_MODALITY)


def _seconds(name: str, attributes: tuple[str, ...], text: str, buckets: tuple[float, ...] = SECONDS) -> Instrument:
    return Instrument(name, "histogram", "s", attributes, text, buckets)


def _sizes(name: str, unit: str, attributes: tuple[str, ...], text: str, buckets: tuple[float, ...]) -> Instrument:
    return Instrument(name, "histogram", unit, attributes, text, buckets, integer=True)


def _counter(name: str, unit: str, attributes: tuple[str, ...], text: str) -> Instrument:
    return Instrument(name, "counter", unit, attributes, text, integer=True)


INSTRUMENTS: Final = (
    _seconds(sc.INFERENCE_DURATION, (*_COUNTED, sc.ERROR_TYPE), "A model call, its retries included."),
    _seconds(sc.OPERATION_DURATION, (*_COUNTED, sc.ERROR_TYPE), "No inference: embeddings, a fetched response."),
    _seconds(sc.INFERENCE_FIRST_CHUNK, _CALL, "To the first chunk of a stream."),
    _seconds(sc.INFERENCE_CHUNK, _CALL, "From chunk to chunk of a stream; only with `chunk_times=True`."),
    _counter(sc.INPUT_TOKENS, "{token}", _TOKENS, "Tokens in, cached ones included."),
    _counter(sc.OUTPUT_TOKENS, "{token}", _TOKENS, "Tokens out, reasoning included."),
    _counter(sc.CACHE_READ_TOKENS, "{token}", _TOKENS, "Tokens in that came from the vendor's cache."),
    _counter(sc.CACHE_WRITE_TOKENS, "{token}", _TOKENS, "Tokens in that were written to the vendor's cache."),
    _counter(sc.REASONING_TOKENS, "{token}", _TOKENS, "Tokens out that were reasoning."),
    _sizes(
        sc.CALL_INPUT_TOKENS, "{token}", _COUNTED, "Tokens in of one call: for percentiles, not for totals.", TOKENS
    ),
    _sizes(
        sc.CALL_OUTPUT_TOKENS, "{token}", _COUNTED, "Tokens out of one call: for percentiles, not for totals.", TOKENS
    ),
    _seconds(sc.AGENT_DURATION, (sc.AGENT_NAME, sc.REQUEST_MODEL, sc.ERROR_TYPE), "A run.", RUN_SECONDS),
    _sizes(
        sc.AGENT_INFERENCE_CALLS, "{inference_call}", (sc.AGENT_NAME,), "Model calls that a run itself made.", CALLS
    ),
    _sizes(sc.AGENT_TOOL_CALLS, "{tool_call}", (sc.AGENT_NAME,), "Tool calls that a run itself made.", CALLS),
    _seconds(sc.WORKFLOW_DURATION, (sc.WORKFLOW_NAME, sc.ERROR_TYPE), "A workflow.", WORKFLOW_SECONDS),
    _seconds(sc.TOOL_DURATION, (sc.TOOL_NAME, sc.TOOL_TYPE, sc.AGENT_NAME, sc.ERROR_TYPE), "A tool's execution."),
    _counter(sc.OPERATIONS, "{call}", (*_MODEL, sc.RLM_OUTCOME), "Model calls, by how they ended."),
    _counter(sc.ATTEMPTS, "{attempt}", (*_MODEL, sc.ERROR_TYPE), "Requests sent, failed ones with their error."),
    Instrument(sc.ACTIVE, "up_down_counter", "{call}", _ASKED, "Model calls in flight.", integer=True),
    Instrument(sc.OLDEST_ACTIVE, "gauge", "s", _ASKED, "Age of the oldest model call in flight."),
    _seconds(sc.FIRST_TOKEN, _MODEL, "To the first generated text, reasoning or tool call of a stream."),
    Instrument(sc.COST, "counter", "{USD}", (*_MODEL, sc.RLM_COST_SOURCE), "Cost of model calls in US dollars."),
    _counter(sc.UNPRICED, "{call}", (*_MODEL, sc.RLM_REASON), "Model calls without a cost, and why."),
    # One name has one unit; it is not `1`, which Prometheus calls a ratio. `rlm.ratelimit.kind` says what is counted.
    Instrument(
        sc.RATELIMIT_REMAINING,
        "gauge",
        "{item}",
        (*_MODEL, sc.RLM_RATELIMIT_KIND),
        "Requests or tokens left, as the vendor says.",
        integer=True,
    ),
    Instrument(
        sc.RATELIMIT_LIMIT,
        "gauge",
        "{item}",
        (*_MODEL, sc.RLM_RATELIMIT_KIND),
        "Requests or tokens allowed, as the vendor says.",
        integer=True,
    ),
    _sizes(sc.RUN_DEPTH, "{level}", (sc.AGENT_NAME, sc.REQUEST_MODEL), "Recursion level of a run, root = 0.", LEVELS),
    Instrument(
        sc.FEEDBACK,
        "histogram",
        "1",
        (sc.EVALUATION_NAME, sc.EVALUATION_LABEL),
        "Scores that the application gave to what a model said.",
        SCORES,
    ),
    _counter(sc.CALLBACK_FAILURES, "{failure}", (sc.RLM_CALLBACK, sc.RLM_HOOK), "Exceptions raised by callbacks."),
    _counter(sc.DROPPED, "{item}", (sc.RLM_REASON,), "Telemetry that was dropped, and why."),
)

OLDER_INSTRUMENTS: Final = (
    _sizes(sc.OLDER_TOKEN_USAGE, "{token}", (*_CALL, sc.TOKEN_TYPE), "Tokens of one call, in and out apart.", TOKENS),
    _seconds(sc.OLDER_FIRST_CHUNK, _CALL, "To the first chunk of a stream."),
    _seconds(sc.OLDER_CHUNK, _CALL, "From chunk to chunk of a stream; only with `chunk_times=True`."),
)
"""Names that the conventions have given up: made only under `semconv="legacy"` or `"both"`."""
