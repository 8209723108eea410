"""`OTelCallback`: attach it, and every run, model call and tool call becomes spans and metrics."""

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from typing import Final
from weakref import WeakSet

from opentelemetry._logs import LoggerProvider
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from rlm_otel.content import Policy, Redactor, mode_from, wants_events
from rlm_otel.events import Event, Finished, Link, Retrying, Started
from rlm_otel.live import table
from rlm_otel.measuring import DeclaredLabels
from rlm_otel.older import Semconv
from rlm_otel.otel.arguments import check_redact, check_telemetry, checked_labels, checked_semconv
from rlm_otel.otel.context import UNCHANGED, ambient_link, under, without_inner_inference
from rlm_otel.otel.failures import exception_signal
from rlm_otel.otel.operations import Open
from rlm_otel.otel.recorder import Recorder
from rlm_otel.outcome import Score
from rlm_otel.prices import Price, PriceList
from rlm_otel.telemetry import Telemetry, choose, joins_traces, renew_lock
from rlm_otel.w3c import read_link

_DEFAULT_TIMEOUT_S: Final = 5.0
_PARENT: Final = ("TRACEPARENT", "TRACESTATE")
"""Variables by which whoever starts a job says under which span it belongs."""

_creating = threading.RLock()
_recorders: Final[WeakSet[Recorder]] = WeakSet()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Options:
    """What the callback was made with; the defaults stand in where a subclass skips `super().__init__()`."""

    telemetry: Telemetry | None = None
    tracer_provider: TracerProvider | None = None
    meter_provider: MeterProvider | None = None
    logger_provider: LoggerProvider | None = None
    content: str | None = None
    redact: Callable[[str], str | None] | None = None
    labels: DeclaredLabels = field(default_factory=dict)
    semconv: Semconv = "latest"


class OTelCallback:
    """Spans, metrics and (where a logs destination exists) log events of everything that happens in a run.

        RLM.from_openai("gpt-5.2", callbacks=[OTelCallback()])

    Without arguments it joins the OpenTelemetry that the process has, else it makes private providers from `OTEL_*`;
    that is decided at the first event. `content` is none, span, event or both; `redact` sees every text before it
    leaves (None drops it); `labels` declares label keys and the values that metrics may show; `prices` comes before the
    public price list; `chunk_times=True` records the time between chunks; `semconv="legacy"` records the older metric
    names for dashboards that were built on those, `"both"` these and the latest; with `ps=False` this
    process is not shown by `rlm-otel ps`. Raises ValueError for an argument that makes no sense.
    """

    prices: PriceList | None = None
    chunk_times: bool = False
    _options: _Options = _Options()
    _environ: Mapping[str, str] = os.environ
    _recorder: Recorder | None = None
    _closed: bool = False

    def __init__(
        self,
        telemetry: Telemetry | None = None,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        logger_provider: LoggerProvider | None = None,
        content: str | None = None,
        redact: Callable[[str], str | None] | None = None,
        labels: Mapping[str, Iterable[str]] | None = None,
        prices: PriceList | Mapping[str, str | Price | Mapping[str, float | None]] | None = None,
        chunk_times: bool = False,
        semconv: str = "latest",
        ps: bool = True,
    ) -> None:
        providers = {
            "tracer_provider": tracer_provider,
            "meter_provider": meter_provider,
            "logger_provider": logger_provider,
        }
        check_telemetry(telemetry, providers)
        check_redact(redact)
        mode_from(content, {})
        self._options = _Options(
            telemetry=telemetry,
            tracer_provider=tracer_provider,
            meter_provider=meter_provider,
            logger_provider=logger_provider,
            content=content,
            redact=redact,
            labels=checked_labels(labels),
            semconv=checked_semconv(semconv),
        )
        self.prices = prices if prices is None or isinstance(prices, PriceList) else PriceList(prices)
        self.chunk_times = chunk_times
        if not ps:
            table.switch_off()

    # Tracing ---------------------------------------------------------------------------------------------------------

    def begin(self, started: Started, /) -> Link | None:
        """Makes the operation's span, in the caller's thread; None where nothing is to be recorded."""
        operation = None if self._closed else (self._recorder or self._live()).open(started)
        return operation.link if operation is not None else None

    def current(self, link: Link, /) -> AbstractContextManager[None]:
        """Makes a span of the application's own provider current for the block; a private one never is."""
        return self._live().current(link)

    def suppressed(self) -> AbstractContextManager[None]:
        """Keeps OpenTelemetry's own GenAI instrumentations quiet for the block: this callback has the call already."""
        return without_inner_inference()

    # Listener --------------------------------------------------------------------------------------------------------

    def on_event(self, event: Event, /) -> None:
        """Records an event; one of an operation that it has not seen the start of is ignored."""
        match event:
            case Finished():
                if self._recorder is not None:
                    self._recorder.finish(event)
            case Started():
                self._open(event)
            case Retrying():
                if self._recorder is not None:
                    self._recorder.retry(event)

    # For the application ---------------------------------------------------------------------------------------------

    def annotate(self, link_or_id: Link | str, attributes: Mapping[str, str | bool | int | float], /) -> None:
        """Adds attributes to the open span with this link or operation id; without one: nothing."""
        if self._recorder is not None:
            self._recorder.annotate(link_or_id, attributes)

    def here(self) -> Link | None:
        """The span that is current in the caller's OpenTelemetry context, to go along to another process."""
        if self._recorder is not None and not self._recorder.joined:
            return None  # what is there is none of ours, and our own is never put there
        return ambient_link()

    def under(self, link: Link, /) -> AbstractContextManager[None]:
        """A block in which spans of the application belong under one of another process; nothing is made for that."""
        if self._recorder is not None:
            joined = self._recorder.joined
        elif self._options.telemetry is not None:
            joined = self._options.telemetry.joined_traces
        else:
            joined = joins_traces(self._options.tracer_provider)
        return under(link) if joined else UNCHANGED

    def feedback(self, link: Link | None, score: Score, /) -> None:
        """Records a score of the span with this link; without one it belongs to nothing in particular."""
        if not self._closed:
            self._live().scores.record(link, score)

    def flush(self, timeout_s: float = _DEFAULT_TIMEOUT_S) -> bool:
        """Sends what is finished; False where that takes longer than `timeout_s` seconds."""
        return self._recorder is None or self._recorder.telemetry.flush(timeout_s=timeout_s)

    def shutdown(self, timeout_s: float = _DEFAULT_TIMEOUT_S) -> bool:
        """Ends open spans as abandoned, sends everything, and closes the providers that this callback made itself.

        True if everything arrived within `timeout_s` seconds. What happens later is not recorded.
        """
        self._closed = True
        if self._recorder is None:
            return True
        self._recorder.close()
        if self._options.telemetry is not None:  # not ours to close: others may use it
            return self.flush(timeout_s)
        return self._recorder.telemetry.shutdown(timeout_s)

    # Inside ----------------------------------------------------------------------------------------------------------

    def _open(self, started: Started) -> Open | None:
        return None if self._closed else self._live().open(started)

    def _live(self) -> Recorder:
        """The recorder, made at first use: global providers may be set after this callback."""
        if self._recorder is None:
            with _creating:
                if self._recorder is None:
                    self._recorder = _make(self._options, self._environ)
        return self._recorder


def _make(options: _Options, environ: Mapping[str, str]) -> Recorder:
    _watch_forks()  # first: another thread may fork while this one makes things
    policy = Policy(mode_from(options.content, environ), Redactor(options.redact))
    exceptions = exception_signal(environ)
    events = wants_events(options.content, policy.on_events, environ)
    telemetry = options.telemetry or choose(
        tracer_provider=options.tracer_provider,
        meter_provider=options.meter_provider,
        logger_provider=options.logger_provider,
        logs=events or exceptions != "span",
    )
    parent = read_link({name: environ[name] for name in _PARENT if name in environ})
    recorder = Recorder(
        telemetry,
        policy,
        labels=options.labels,
        exceptions=exceptions,
        events=events,
        parent=parent,
        semconv=options.semconv,
    )
    _recorders.add(recorder)
    return recorder


@cache
def _watch_forks() -> None:
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    """In a forked child: what is open belongs to the parent; the lock may be held by a thread that is not here."""
    global _creating
    _creating = threading.RLock()
    renew_lock()
    for recorder in list(_recorders):
        recorder.operations.forget()
