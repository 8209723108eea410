"""The only code that touches OpenTelemetry's context, inside `with`: spans made current, others kept quiet."""

import sys
from types import TracebackType
from typing import Final

from opentelemetry import context
from opentelemetry.trace import format_span_id, format_trace_id, get_current_span, set_span_in_context

from rlm_otel.events import Link, ModelCall, Operation
from rlm_otel.fence import fence
from rlm_otel.otel.links import span_of
from rlm_otel.semconv import EMBEDDINGS, FETCH_RESPONSE

# The instrumentations of the `opentelemetry-util-genai` family agree on these keys: whoever finds an `InferenceData`
# (and so on) under one is inside somebody else's span of the same model call and makes no telemetry of its own.
INFERENCE_KEY: Final = "opentelemetry.genai.client.inference.context"
_OTHER_KEYS: Final = {
    EMBEDDINGS: "opentelemetry.genai.client.embedding.context",
    FETCH_RESPONSE: "opentelemetry.genai.client.fetch_response.context",
}
_DATA: Final = {
    INFERENCE_KEY: "InferenceData",
    _OTHER_KEYS[EMBEDDINGS]: "EmbeddingData",
    _OTHER_KEYS[FETCH_RESPONSE]: "FetchResponseData",
}
_INFERENCE_MODULE: Final = "opentelemetry.util.genai.invocation"

# The API has the second name private, but there is no other way to honour `suppress_instrumentation()`; older code sets
# the plain string.
_SUPPRESSION_KEYS: Final = ("suppress_instrumentation", context._SUPPRESS_INSTRUMENTATION_KEY)


def is_suppressed(operation: Operation) -> bool:
    """Whether the caller's context asks for silence, or (a model call) somebody outside observes the very same call."""
    ambient = context.get_current()
    if not ambient:
        return False
    if any(ambient.get(key) for key in _SUPPRESSION_KEYS):
        return True
    if not isinstance(operation, ModelCall):
        return False
    return ambient.get(_OTHER_KEYS.get(operation.name, INFERENCE_KEY)) is not None


def ambient_link() -> Link | None:
    """The span that is current in the caller's context, whoever made it."""
    current = get_current_span().get_span_context()
    if not current.is_valid:
        return None
    trace_id, span_id = format_trace_id(current.trace_id), format_span_id(current.span_id)
    return Link(trace_id, span_id, current.trace_flags.sampled, current.trace_state.to_header())


class Attached:
    """Holds a context current for the length of a block; left in another thread or task it does nothing."""

    __slots__ = ("_context", "_token")

    def __init__(self, current: context.Context) -> None:
        self._context = current

    def __enter__(self) -> None:
        self._token = context.attach(self._context)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # `detach` would log an error where the block was entered in another thread or task.
        try:
            self._token.var.reset(self._token)
        except (ValueError, RuntimeError):
            pass


def under(link: Link) -> Attached:
    """A block in which a span that is kept elsewhere is current."""
    return Attached(set_span_in_context(span_of(link)))


class Unchanged:
    """A block that leaves the context alone: private spans are never put into it."""

    __slots__ = ()

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return None


UNCHANGED: Final = Unchanged()


def without_inner_inference() -> Attached | Unchanged:
    """A block in which instrumentations of the model's SDK that know the key stay quiet.

    They look for an `InferenceData` of theirs, so it takes their module; if nobody has imported that, nobody is there.
    """
    module = sys.modules.get(_INFERENCE_MODULE)
    if module is None:
        return UNCHANGED
    with fence("OTelCallback", "suppressed"):  # their API is a beta
        inside = context.get_current()
        for key, name in _DATA.items():
            data = getattr(module, name, None)
            if data is not None:
                inside = context.set_value(key, data(), inside)
        return Attached(inside)
    return UNCHANGED
