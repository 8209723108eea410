"""What `opentelemetry-instrument` loads: it observes the whole process, with OpenTelemetry's own switches."""

from collections.abc import Collection
from typing import Any, Final

from opentelemetry.instrumentation.instrumentor import BaseInstrumentor  # type: ignore[attr-defined]

from rlm_otel.adapters.openai.client import instrument_openai
from rlm_otel.adapters.openai.handle import Handle
from rlm_otel.otel import OTelCallback

_PROVIDERS: Final = ("tracer_provider", "meter_provider", "logger_provider")


class OpenAIInstrumentor(BaseInstrumentor):  # type: ignore[misc]  # OpenTelemetry's has no types
    """Observes every openai client of a program: `opentelemetry-instrument python app.py`, without a change to it.

    It is the entry point `rlm_otel` (for `OTEL_PYTHON_DISABLED_INSTRUMENTATIONS`), and can be called by hand:
    `OpenAIInstrumentor().instrument(tracer_provider=..., meter_provider=..., logger_provider=...)`; without providers
    the process's own are joined.
    """

    _handle = Handle()

    def instrumentation_dependencies(self) -> Collection[str]:
        """Which versions of the SDK it knows."""
        return ["openai >= 1.109, < 4"]

    def _instrument(self, **kwargs: Any) -> None:
        given: dict[str, Any] = {name: kwargs[name] for name in _PROVIDERS if kwargs.get(name) is not None}
        self._handle = instrument_openai(callbacks=[OTelCallback(**given)] if given else None)

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - of the base
        self._handle.undo()
