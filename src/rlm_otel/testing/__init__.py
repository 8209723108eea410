"""What users need in their own tests: a scripted model server."""

from rlm_otel.testing.script import Answer, Broken, Failure, Hang, Item, Raw, Repeat, Tokens, Tool, rate_limits
from rlm_otel.testing.server import RecordedRequest, ScriptedServer

__all__ = [
    "Answer",
    "Broken",
    "Failure",
    "Hang",
    "Item",
    "Raw",
    "RecordedRequest",
    "Repeat",
    "ScriptedServer",
    "Tokens",
    "Tool",
    "rate_limits",
]
