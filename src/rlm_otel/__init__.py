"""See every LLM call, tool call and recursive run of a Python service in OpenTelemetry: attach `OTelCallback`."""

from typing import TYPE_CHECKING, Final

from rlm_otel.lazy import exports

if TYPE_CHECKING:
    from rlm_otel.ambient import annotate, attributes, current_trace_id
    from rlm_otel.callbacks.base import BaseCallback
    from rlm_otel.errors import BudgetExceeded, FailedReply, LimitReached, NoAnswer, StopRun, TornStream
    from rlm_otel.logs import TraceContextFilter
    from rlm_otel.otel import OTelCallback
    from rlm_otel.prices import Price
    from rlm_otel.result import Result
    from rlm_otel.rlm import RLM
    from rlm_otel.stream import RunStream
    from rlm_otel.telemetry import Telemetry, configure

__all__ = [
    "RLM",
    "BaseCallback",
    "BudgetExceeded",
    "FailedReply",
    "LimitReached",
    "NoAnswer",
    "OTelCallback",
    "Price",
    "Result",
    "RunStream",
    "StopRun",
    "Telemetry",
    "TornStream",
    "TraceContextFilter",
    "annotate",
    "attributes",
    "configure",
    "current_trace_id",
]

_HOMES: Final = {
    "RLM": "rlm",
    "BaseCallback": "callbacks.base",
    "BudgetExceeded": "errors",
    "FailedReply": "errors",
    "LimitReached": "errors",
    "NoAnswer": "errors",
    "OTelCallback": "otel",
    "Price": "prices",
    "Result": "result",
    "RunStream": "stream",
    "StopRun": "errors",
    "Telemetry": "telemetry",
    "TornStream": "errors",
    "TraceContextFilter": "logs",
    "annotate": "ambient",
    "attributes": "ambient",
    "configure": "telemetry",
    "current_trace_id": "ambient",
}

__getattr__ = exports(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
