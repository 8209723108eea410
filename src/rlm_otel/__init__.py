"""See every LLM call, tool call and recursive run of a Python service in OpenTelemetry: attach `OTelCallback`."""

from typing import TYPE_CHECKING, Final

from rlm_otel.lazy import exports

if TYPE_CHECKING:
    from rlm_otel.adapters.openai import instrument_openai
    from rlm_otel.ambient import annotate, attributes, conversation, current_trace_id, prompt, suppress
    from rlm_otel.callbacks.base import BaseCallback
    from rlm_otel.carrier import extract, inject
    from rlm_otel.errors import BudgetExceeded, FailedReply, LimitReached, NoAnswer, StopRun, TornStream
    from rlm_otel.logs import TraceContextFilter
    from rlm_otel.observed_call import LLMCall, llm_call
    from rlm_otel.observed_run import ObservedRun, run
    from rlm_otel.observed_tool import ObservedTool, tool
    from rlm_otel.observing import flush, shutdown
    from rlm_otel.otel import OTelCallback
    from rlm_otel.outcome import Usage
    from rlm_otel.prices import Price
    from rlm_otel.report import Report
    from rlm_otel.result import Result
    from rlm_otel.rlm import RLM
    from rlm_otel.scoring import feedback
    from rlm_otel.stream import RunStream
    from rlm_otel.telemetry import Telemetry, configure
    from rlm_otel.threads import TracedThreadPoolExecutor, run_in_executor

__all__ = [
    "RLM",
    "BaseCallback",
    "BudgetExceeded",
    "FailedReply",
    "LLMCall",
    "LimitReached",
    "NoAnswer",
    "OTelCallback",
    "ObservedRun",
    "ObservedTool",
    "Price",
    "Report",
    "Result",
    "RunStream",
    "StopRun",
    "Telemetry",
    "TornStream",
    "TraceContextFilter",
    "TracedThreadPoolExecutor",
    "Usage",
    "annotate",
    "attributes",
    "configure",
    "conversation",
    "current_trace_id",
    "instrument_openai",
    "extract",
    "feedback",
    "flush",
    "inject",
    "llm_call",
    "prompt",
    "run",
    "run_in_executor",
    "shutdown",
    "suppress",
    "tool",
]

_HOMES: Final = {
    "RLM": "rlm",
    "BaseCallback": "callbacks.base",
    "BudgetExceeded": "errors",
    "FailedReply": "errors",
    "LLMCall": "observed_call",
    "LimitReached": "errors",
    "NoAnswer": "errors",
    "OTelCallback": "otel",
    "ObservedRun": "observed_run",
    "ObservedTool": "observed_tool",
    "Price": "prices",
    "Report": "report",
    "Result": "result",
    "RunStream": "stream",
    "StopRun": "errors",
    "Telemetry": "telemetry",
    "TornStream": "errors",
    "TraceContextFilter": "logs",
    "TracedThreadPoolExecutor": "threads",
    "Usage": "outcome",
    "annotate": "ambient",
    "attributes": "ambient",
    "configure": "telemetry",
    "conversation": "ambient",
    "current_trace_id": "ambient",
    "instrument_openai": "adapters.openai",
    "extract": "carrier",
    "feedback": "scoring",
    "flush": "observing",
    "inject": "carrier",
    "llm_call": "observed_call",
    "prompt": "ambient",
    "run": "observed_run",
    "run_in_executor": "threads",
    "shutdown": "observing",
    "suppress": "ambient",
    "tool": "observed_tool",
}

__getattr__ = exports(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
