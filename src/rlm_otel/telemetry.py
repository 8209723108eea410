"""Which providers spans, metrics and logs go to: the application's own where it has them, else private ones."""

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, Self, TypeVar

from rlm_otel import reaper
from rlm_otel.bounded import side_by_side
from rlm_otel.destination import Options, is_disabled, wants_logs

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from rlm_otel.private import PrivateProviders

    Providers = tuple[TracerProvider | None, MeterProvider | None, LoggerProvider | None]

State = Literal["joined", "private", "none"]
logger: Final = logging.getLogger("rlm_otel")

_EXIT_S: Final = 5.0
_SETTERS: Final = {
    "traces": ("TracerProvider", "opentelemetry.trace.set_tracer_provider", "tracer_provider"),
    "metrics": ("MeterProvider", "opentelemetry.metrics.set_meter_provider", "meter_provider"),
    "logs": ("LoggerProvider", "opentelemetry._logs.set_logger_provider", "logger_provider"),
}

_API: Final = ("opentelemetry.trace", "opentelemetry.metrics", "opentelemetry._logs")
P = TypeVar("P")

_open: Final["weakref.WeakSet[Telemetry]"] = weakref.WeakSet()
_made: Final[list["PrivateProviders"]] = []
_shared: Final[dict[bool, "PrivateProviders"]] = {}
_said: Final[set[tuple[object, ...]]] = set()
_choosing = threading.Lock()


class Telemetry:
    """The providers that spans, metrics and logs go to, and how to flush and close those that are ours.

    As a context manager it is shut down at the end of the block. At the interpreter's exit that happens by itself.
    """

    def __init__(
        self, providers: "Providers", *, private: "PrivateProviders | None" = None, joined_traces: bool = False
    ) -> None:
        """For `configure` and `choose`; a provider that is None becomes a no-op."""
        from opentelemetry import _logs, metrics, trace

        tracer_provider, meter_provider, logger_provider = providers
        self.tracer_provider: TracerProvider = tracer_provider or trace.NoOpTracerProvider()
        self.meter_provider: MeterProvider = meter_provider or metrics.NoOpMeterProvider()
        self.logger_provider: LoggerProvider = logger_provider or _logs.NoOpLoggerProvider()
        owned: State = "private" if private else "joined"
        self.traces: State = owned if tracer_provider else "none"
        self.metrics: State = owned if meter_provider else "none"
        self.logs: State = owned if logger_provider else "none"
        self.joined_traces = joined_traces
        """Whether spans go into OpenTelemetry's global context; a private span never does."""
        self._private = private.hold() if private else None
        self._endings: list[Callable[[], Callable[[], object] | None]] = []
        self._closed = False
        _open.add(self)
        _watch_exit()

    @property
    def failed_exports(self) -> int:
        """How many exports of private providers did not arrive (batches, not items)."""
        return self._private.failed_exports if self._private else 0

    def on_shutdown(self, ending: Callable[[], object]) -> None:
        """Have `ending` called before the providers are closed; a bound method does not keep its object alive."""
        if hasattr(ending, "__self__"):
            self._endings.append(weakref.WeakMethod(ending))
        else:
            self._endings.append(lambda: ending)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Send what is waiting, for at most so long; True if everything arrived in time."""
        if self._closed:
            return True
        reaper.wait(timeout_s)  # dropped streams are being ended
        if self._private:
            return self._private.flush(timeout_s)
        refused: list[object] = []
        providers = (self.tracer_provider, self.meter_provider, self.logger_provider)
        in_time = side_by_side([partial(_force_flush, it, timeout_s, refused) for it in providers], timeout_s)
        return in_time and not refused

    def shutdown(self, timeout_s: float = 5.0) -> bool:
        """End what is open, send it, and close the private providers, for at most so long; never those of others.

        True if everything arrived in time. May be called again.
        """
        if self._closed:
            return True
        deadline = time.monotonic() + timeout_s
        reaper.wait(timeout_s)  # dropped streams are being ended
        self.end_open()
        if self._private is None:
            return True
        return self._private.release(max(deadline - time.monotonic(), 0.1))

    def end_open(self) -> None:
        """Call what `on_shutdown` was given, once: the first half of `shutdown`."""
        self._closed = True
        endings, self._endings = self._endings, []
        for ending in endings:
            if call := ending():
                call()

    @property
    def closed(self) -> bool:
        """Whether it was shut down."""
        return self._closed

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()


def configure(
    *,
    service_name: str | None = None,
    endpoint: str | None = None,
    headers: Mapping[str, str] | None = None,
    protocol: str | None = None,
    logs: bool = False,
    set_global: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Telemetry:
    """Private providers that export by OTLP; an argument wins over its `OTEL_*` variable, that over the default.

    `endpoint` is the base address (`http://collector:4318`), `protocol` is `http/protobuf` or `grpc`, `logs=True`
    builds a log exporter where the environment does not ask for one, `set_global=True` makes the providers
    OpenTelemetry's global ones. `environ` stands in for the process environment in all that this package reads itself;
    sampler, span limits, batch sizes (`OTEL_BSP_*`), compression, certificates and temporality are read by the SDK,
    from the process.
    """
    options = Options(service_name=service_name, endpoint=endpoint, headers=headers, protocol=protocol)
    environment = _environment(environ)
    if is_disabled(environment):
        return _switched_off()
    telemetry = _with(_make(options, environment, logs=logs))
    if set_global:
        telemetry.joined_traces = _make_global(telemetry)
    return telemetry


def choose(
    *,
    tracer_provider: "TracerProvider | None" = None,
    meter_provider: "MeterProvider | None" = None,
    logger_provider: "LoggerProvider | None" = None,
    logs: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Telemetry:
    """Join the given and the global providers, signal by signal; without any, private ones from `OTEL_*`.

    Private ones chosen from the process environment are made once a process, however many callbacks ask.
    `logs=True` says that log records will be emitted, so that a destination for them is wanted.
    """
    environment = _environment(environ)
    disabled = is_disabled(environment)
    traces, metrics, records = (None, None, None) if disabled else _global_providers()
    chosen = (_real(tracer_provider) or traces, _real(meter_provider) or metrics, _real(logger_provider) or records)
    if any(provider is not None for provider in chosen):
        _say_joined(chosen, logs=logs or wants_logs(environment))
        return Telemetry(chosen, joined_traces=chosen[0] is not None)
    if disabled:
        return _switched_off()
    if environ is not None:
        return _with(_make(Options(), environment, logs=logs))
    with _choosing:
        shared = _shared.get(logs)
        if shared is None or shared.closed:
            shared = _shared[logs] = _make(Options(), environment, logs=logs)
        return _with(shared)


def joins_traces(tracer_provider: "TracerProvider | None") -> bool:
    """Whether `choose` would join the application's traces, as things are now."""
    return bool(_real(tracer_provider) or _global_providers()[0]) and not is_disabled(_environment(None))


def renew_lock() -> None:
    """In a forked child: the thread that was choosing is not there to let go."""
    global _choosing
    _choosing = threading.Lock()


def _environment(environ: Mapping[str, str] | None) -> Mapping[str, str]:
    return dict(os.environ) if environ is None else environ


def _make(options: Options, environ: Mapping[str, str], *, logs: bool) -> "PrivateProviders":
    from rlm_otel.private import PrivateProviders  # the SDK is loaded here, not at import

    private = PrivateProviders(options, environ, logs=logs)
    _made.append(private)
    return private


def _with(private: "PrivateProviders") -> Telemetry:
    return Telemetry((private.tracer_provider, private.meter_provider, private.logger_provider), private=private)


def _switched_off() -> Telemetry:
    _say_once(logging.INFO, "telemetry is off: OTEL_SDK_DISABLED is true")
    return Telemetry((None, None, None))


def _global_providers() -> "Providers":
    from opentelemetry import _logs, metrics, trace

    return (
        _real(trace.get_tracer_provider()),
        _real(metrics.get_meter_provider()),
        _real(_logs.get_logger_provider()),
    )


def _real(provider: P | None) -> P | None:
    """The provider, unless it is one of the API's own classes: those stand in for the global one, or do nothing."""
    return None if type(provider).__module__.startswith(_API) else provider


def _make_global(telemetry: Telemetry) -> bool:
    """Set the providers as global ones; whether ours is now the global tracer provider."""
    from opentelemetry import _logs, metrics, trace

    taken = [provider for provider in _global_providers() if provider is not None]
    if taken:
        names = ", ".join(type(provider).__name__ for provider in taken)
        logger.warning("OpenTelemetry's global providers stay: %s was set before configure(set_global=True)", names)
        return False
    if telemetry.traces == "private":
        trace.set_tracer_provider(telemetry.tracer_provider)
    if telemetry.metrics == "private":
        metrics.set_meter_provider(telemetry.meter_provider)
    if telemetry.logs == "private":
        _logs.set_logger_provider(telemetry.logger_provider)
    return trace.get_tracer_provider() is telemetry.tracer_provider


def _say_joined(chosen: "Providers", *, logs: bool) -> None:
    signals = [signal for signal in _SETTERS if signal != "logs" or logs or chosen[2]]
    joined = [signal for signal, provider in zip(_SETTERS, chosen, strict=True) if provider]
    missing = [signal for signal in signals if signal not in joined]
    line = f"{' and '.join(joined)} go to the application's OpenTelemetry providers"
    for signal in missing:
        name, setter, argument = _SETTERS[signal]
        line += (
            f"; {signal} are not recorded because no {name} is set: "
            f"call {setter}(...) at the start or pass OTelCallback({argument}=...)"
        )
    _say_once(logging.WARNING if missing else logging.INFO, line, *map(id, chosen))


def _say_once(level: int, line: str, *about: object) -> None:
    if (line, *about) not in _said:
        _said.add((line, *about))
        logger.log(level, "%s", line)


def _force_flush(provider: object, timeout_s: float, refused: list[object]) -> None:
    """Flush a provider of the application, if it can; `refused` gets it when it says that it failed."""
    force_flush = getattr(provider, "force_flush", None)
    if force_flush is not None and force_flush(int(timeout_s * 1000)) is False:
        refused.append(provider)


def _watch_exit() -> None:
    atexit.unregister(_at_exit)  # so that it stands once, and after whatever the application registered so far
    atexit.register(_at_exit)


def _at_exit() -> None:
    """End what is open and close what we made, for at most five seconds in all."""
    deadline = time.monotonic() + _EXIT_S
    reaper.wait(_EXIT_S / 2)
    for telemetry in list(_open):
        if not telemetry.closed:
            telemetry.end_open()
    for private in _made:
        private.close(max(deadline - time.monotonic(), 0.1), at_exit=True)
