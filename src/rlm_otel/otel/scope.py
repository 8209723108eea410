"""Our instrumentation scope: the same name, version and schema on tracer, meter and logger."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from opentelemetry._logs import Logger, LoggerProvider
from opentelemetry.metrics import Meter, MeterProvider
from opentelemetry.trace import Tracer, TracerProvider

from rlm_otel import semconv as sc

_DISTRIBUTION: Final = "rlm-otel"


def tracer_of(provider: TracerProvider) -> Tracer:
    """Our tracer."""
    return provider.get_tracer(sc.SCOPE, _version(), sc.SCHEMA_URL)


def meter_of(provider: MeterProvider) -> Meter:
    """Our meter."""
    return provider.get_meter(sc.SCOPE, _version(), sc.SCHEMA_URL)


def logger_of(provider: LoggerProvider) -> Logger:
    """Our logger."""
    return provider.get_logger(sc.SCOPE, _version(), sc.SCHEMA_URL)


@cache
def _version() -> str | None:
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:  # run from a checkout that is not installed
        return None
