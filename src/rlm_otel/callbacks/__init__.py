"""Callbacks: `BaseCallback` to subclass, and ready-made ones. Each is loaded when it is first asked for."""

from typing import TYPE_CHECKING, Final

from rlm_otel.lazy import exports

if TYPE_CHECKING:
    from rlm_otel.callbacks.base import BaseCallback
    from rlm_otel.callbacks.budget import BudgetCallback
    from rlm_otel.callbacks.console import ConsoleCallback
    from rlm_otel.callbacks.jsonl import JSONLLogger
    from rlm_otel.callbacks.metrics import MetricsCollector
    from rlm_otel.callbacks.response import Response, TokenCounts
    from rlm_otel.callbacks.retry import RetryHandler
    from rlm_otel.callbacks.rich_stream import RichStreamCallback
    from rlm_otel.callbacks.simple import SimpleLogger
    from rlm_otel.callbacks.streaming import StreamingCallback

__all__ = [
    "BaseCallback",
    "BudgetCallback",
    "ConsoleCallback",
    "JSONLLogger",
    "MetricsCollector",
    "Response",
    "RetryHandler",
    "RichStreamCallback",
    "SimpleLogger",
    "StreamingCallback",
    "TokenCounts",
]

_MODULES: Final = {
    "BaseCallback": "base",
    "BudgetCallback": "budget",
    "ConsoleCallback": "console",
    "JSONLLogger": "jsonl",
    "MetricsCollector": "metrics",
    "Response": "response",
    "RetryHandler": "retry",
    "RichStreamCallback": "rich_stream",
    "SimpleLogger": "simple",
    "StreamingCallback": "streaming",
    "TokenCounts": "response",
}

__getattr__ = exports(__name__, _MODULES)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
