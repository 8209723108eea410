"""The OpenTelemetry side: `OTelCallback` turns events into spans, metrics and log events."""

from rlm_otel.otel.callback import OTelCallback

__all__ = ["OTelCallback"]
