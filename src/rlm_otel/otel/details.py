"""The details event of an operation: what its span says, and its content in structured form, as a log record."""

import json
from collections.abc import Mapping
from typing import Final

from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.util.types import AnyValue

from rlm_otel import mapping
from rlm_otel import semconv as sc
from rlm_otel.content import Policy
from rlm_otel.events import Finished, ModelCall, Started
from rlm_otel.otel.operations import Open
from rlm_otel.values import LARGEST_INT, LEAST_INT, Attributes


class Details:
    """Emits details events where there is a logger for them, with the content that the policy lets out."""

    def __init__(self, logger: Logger | None, policy: Policy) -> None:
        self._logger: Final = logger
        self._policy: Final = policy

    def wanted(self, operation: Open) -> bool:
        """Whether this operation may get one: inference always, what else there is for its content alone.

        Not where its trace is sampled out: content is then not even serialised.
        """
        if self._logger is None or not (self._policy.captures or _is_inference(operation.started)):
            return False
        return operation.link is None or operation.link.sampled

    def emit(self, operation: Open, finished: Finished, attributes: Attributes, time_ns: int) -> None:
        """Emits it, with the attributes of the span's end, in nanoseconds since 1970."""
        if self._logger is None:
            return
        content = {
            **mapping.start_content(operation.started, self._policy, operation.written),
            **mapping.end_content(finished, self._policy, operation.written),
        }
        is_inference = _is_inference(operation.started)
        if not content and not is_inference:
            return
        self._logger.emit(
            timestamp=time_ns,
            context=operation.context,
            severity_number=SeverityNumber.DEBUG,
            severity_text="DEBUG",
            event_name=sc.DETAILS_LOG if is_inference else sc.OWN_DETAILS_LOG,
            attributes={**operation.attributes, **attributes, **_structured(content)},
        )


def _is_inference(started: Started) -> bool:
    return isinstance(started.operation, ModelCall) and started.operation.name in sc.INFERENCE


def _structured(content: Attributes) -> Mapping[str, AnyValue]:
    """On spans content is JSON text, since most viewers want that; on events the conventions want the structure."""
    return {
        name: json.loads(value, parse_int=_carried) if isinstance(value, str) else value
        for name, value in content.items()
    }


def _carried(digits: str) -> int | str:
    """The number, as text where OTLP has no room for it: the exporter would drop all the messages."""
    number = int(digits)
    return number if LEAST_INT <= number <= LARGEST_INT else digits
