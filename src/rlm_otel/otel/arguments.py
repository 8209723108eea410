"""Checks the arguments of `OTelCallback`: a bad one is an error that says what was given and what is wanted."""

from collections.abc import Callable, Iterable, Mapping

from rlm_otel.measuring import DeclaredLabels
from rlm_otel.older import SEMCONVS, Semconv
from rlm_otel.telemetry import Telemetry


def checked_labels(labels: Mapping[str, Iterable[str]] | None) -> DeclaredLabels:
    """Label keys and the values that metrics may show."""
    if labels is None:
        return {}
    if not isinstance(labels, Mapping):
        raise ValueError(f'labels={labels!r} is no mapping; write e.g. labels={{"team": ("search", "ads")}}.')
    checked: dict[str, tuple[str, ...]] = {}
    for key, given in labels.items():
        values = () if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
        texts: tuple[object, ...] = (key, *values)
        if not values or not all(isinstance(text, str) and text for text in texts):
            raise ValueError(
                f"labels: {key!r}: {given!r} does not list the values of a label; "
                'write a key and its values, e.g. labels={"team": ("search", "ads")}.'
            )
        checked[key] = values
    return checked


def check_telemetry(telemetry: Telemetry | None, providers: Mapping[str, object | None]) -> None:
    """One place says where telemetry goes: a `Telemetry`, or providers by signal."""
    given = [name for name, provider in providers.items() if provider is not None]
    if telemetry is not None and not isinstance(telemetry, Telemetry):
        raise ValueError(f"telemetry={telemetry!r} is no Telemetry; pass what rlm_otel.configure() returns.")
    if telemetry is not None and given:
        raise ValueError(f"telemetry= and {given[0]}= were both given; use one of them.")
    for name in given:
        method = {"tracer_provider": "get_tracer", "meter_provider": "get_meter", "logger_provider": "get_logger"}[name]
        if isinstance(providers[name], type) or not callable(getattr(providers[name], method, None)):
            raise ValueError(f"{name}={providers[name]!r} has no {method}(); pass a provider, not its class.")


def checked_semconv(semconv: str) -> Semconv:
    """Which metric names to record."""
    for known in SEMCONVS:
        if semconv == known:
            return known
    raise ValueError(f"semconv={semconv!r} is not known; use one of: {', '.join(SEMCONVS)}.")


def check_redact(redact: Callable[[str], str | None] | None) -> None:
    """`redact` is called with texts."""
    if redact is not None and not callable(redact):
        raise ValueError(f"redact={redact!r} cannot be called; pass a function (str) -> str | None.")
