"""What users need in their own tests: a scripted model server, captured telemetry, and clocks and ids that repeat."""

from typing import TYPE_CHECKING, Final

from rlm_otel.lazy import exports

if TYPE_CHECKING:
    from rlm_otel.testing.capture import Capture
    from rlm_otel.testing.captured import CapturedEvent, CapturedLog, CapturedSpan, Exemplar, Point
    from rlm_otel.testing.deterministic import StepClock, numbered_ids
    from rlm_otel.testing.recorder import Recorder
    from rlm_otel.testing.runner import scripted_rlm
    from rlm_otel.testing.script import Answer, Broken, Failure, Hang, Item, Raw, Repeat, Tokens, Tool, rate_limits
    from rlm_otel.testing.server import RecordedRequest, ScriptedServer
    from rlm_otel.testing.trace_ids import NumberedTraceIds

__all__ = [
    "Answer",
    "Broken",
    "Capture",
    "CapturedEvent",
    "CapturedLog",
    "CapturedSpan",
    "Exemplar",
    "Failure",
    "Hang",
    "Item",
    "NumberedTraceIds",
    "Point",
    "Raw",
    "RecordedRequest",
    "Recorder",
    "Repeat",
    "ScriptedServer",
    "StepClock",
    "Tokens",
    "Tool",
    "numbered_ids",
    "rate_limits",
    "scripted_rlm",
]

_HOMES: Final = {
    "Answer": "script",
    "Broken": "script",
    "Capture": "capture",
    "CapturedEvent": "captured",
    "CapturedLog": "captured",
    "CapturedSpan": "captured",
    "Exemplar": "captured",
    "Failure": "script",
    "Hang": "script",
    "Item": "script",
    "NumberedTraceIds": "trace_ids",
    "Point": "captured",
    "Raw": "script",
    "RecordedRequest": "server",
    "Recorder": "recorder",
    "Repeat": "script",
    "ScriptedServer": "server",
    "StepClock": "deterministic",
    "Tokens": "script",
    "Tool": "script",
    "numbered_ids": "deterministic",
    "rate_limits": "script",
    "scripted_rlm": "runner",
}

__getattr__ = exports(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
