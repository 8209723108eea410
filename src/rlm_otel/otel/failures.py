"""How a failure is recorded: the span's status, and the exception as a span event, a log event, or both."""

import traceback
from collections.abc import Mapping
from typing import Final, Literal

from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.trace import Status, StatusCode

from rlm_otel import mapping
from rlm_otel import semconv as sc
from rlm_otel.content import Policy
from rlm_otel.events import ModelCall
from rlm_otel.otel.operations import Open
from rlm_otel.outcome import Failure
from rlm_otel.values import Attributes

_OURS: Final = f"{__name__.partition('.')[0]}."
_VARIABLE: Final = "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN"

Signal = Literal["span", "logs", "both"]


def exception_signal(environ: Mapping[str, str]) -> Signal:
    """Where exceptions are to be recorded; without a logs destination it is always the span."""
    signals: dict[str, Signal] = {"logs": "logs", "logs/dup": "both"}
    return signals.get(environ.get(_VARIABLE, "").strip().lower(), "span")


class Failures:
    """Records failures: text as each signal's policy allows, exceptions where the environment wants them."""

    def __init__(self, logger: Logger | None, signal: Signal, *, on_spans: Policy, on_events: Policy) -> None:
        self._logger = logger if signal != "span" else None
        self._as_span_events = self._logger is None or signal == "both"
        self._on_spans = on_spans
        self._on_events = on_events

    def record(self, operation: Open, failure: Failure, time_ns: int, *, told: bool) -> None:
        """Marks the span as failed; records the exception too, unless that was `told` elsewhere. Unix time."""
        span = operation.span
        if span.is_recording():
            message = _beyond_type(failure, operation.written.failure(failure, self._on_spans))
            span.set_status(Status(StatusCode.ERROR, message))
            if self._as_span_events and not told:
                span.add_event(sc.EXCEPTION_EVENT, _exception(failure, message, self._on_spans), time_ns)
        if self._logger is not None and not told:
            is_client = isinstance(operation.started.operation, ModelCall)
            message = _beyond_type(failure, mapping.failure_text(failure, self._on_events))
            self._logger.emit(
                timestamp=time_ns,
                context=operation.context,
                severity_number=SeverityNumber.WARN,
                severity_text="WARN",
                event_name=sc.EXCEPTION_LOG if is_client else sc.OWN_EXCEPTION_LOG,
                attributes=_exception(failure, message, self._on_events),
            )


def _exception(failure: Failure, message: str | None, policy: Policy) -> Attributes:
    attributes: Attributes = {sc.EXCEPTION_TYPE: failure.type}
    if message is not None:
        attributes[sc.EXCEPTION_MESSAGE] = message
    if policy.captures and failure.exception is not None:
        stacktrace = policy.text(_stacktrace(failure.exception))
        if stacktrace is not None:
            attributes[sc.EXCEPTION_STACKTRACE] = stacktrace
    return attributes


def _stacktrace(error: BaseException) -> str:
    """As Python prints it, but for the steps of this package that lead to the application's or the vendor's code.

    And but for the marks under each line, which cost as much as all the rest, here and in the back end.
    """
    outside = error.__traceback__
    while outside is not None and str(outside.tb_frame.f_globals.get("__name__")).startswith(_OURS):
        outside = outside.tb_next
    told = traceback.TracebackException(type(error), error, outside or error.__traceback__, compact=True)
    waiting: list[traceback.TracebackException | None] = [told]
    while waiting:
        if (one := waiting.pop()) is not None:
            for frame in one.stack:
                frame.colno = None
            waiting += (one.__cause__, one.__context__, *(one.exceptions or ()))
    return "".join(told.format())


def _beyond_type(failure: Failure, text: str | None) -> str | None:
    """Its text; None where that would only repeat the type."""
    return text if text != failure.type else None
