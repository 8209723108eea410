"""`rlm-otel doctor`: where telemetry would go, who said so, and whether it arrives; in plain words."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal, TextIO

from rlm_otel.bounded import side_by_side
from rlm_otel.callbacks.printing import plain, write_line
from rlm_otel.destination import (
    SIGNALS,
    Destination,
    Options,
    is_disabled,
    read_destination,
    read_interval_ms,
    read_service,
    wants_logs,
)
from rlm_otel.trouble import ExportFailure, explain

CHECK: Final = "rlm.doctor.check"
"""The name of the test span and of the test counter (`{check}`)."""
Check = Literal["accepted", "refused", "late"]

Say = Callable[[str], None]


def diagnose(
    options: Options, *, environ: Mapping[str, str], out: TextIO, program: str = "", timeout_s: float = 8.0
) -> int:
    """Say what is configured, send one span and one metric, and say what came of it; 0 only if both were accepted.

    `program` is `sys.argv[0]` of the application, for the default service name. Takes at most about `timeout_s`.
    """
    say = _line_writer(out)
    service, attributes = read_service(options, environ, program or sys.argv[0])
    signals = SIGNALS if wants_logs(environ) else SIGNALS[:2]
    destinations = [read_destination(signal, options, environ) for signal in signals]
    say(f"service: {service.value}  [{service.source}]")
    for destination in destinations:
        _describe(destination, say)
    interval_warnings = read_interval_ms(environ)[1]
    for warning in dict.fromkeys([*(it for one in destinations for it in one.warnings), *interval_warnings]):
        say(f"warning: {warning}")
    if is_disabled(environ):
        say("Nothing is sent: OTEL_SDK_DISABLED is true. Unset it to switch telemetry on.")
        return 1
    say("")
    checks = [_check(destination, attributes, timeout_s / 2, say) for destination in destinations[:2]]
    if not all(checks):
        return 1
    say("Both were accepted. An application that sets OpenTelemetry providers of its own sends to where those say.")
    return 0


def _describe(destination: Destination, say: Say) -> None:
    if not destination.otlp:
        where = "the console" if destination.console else "nowhere"
        say(f"{destination.signal}: {where}  [{destination.exporters_source}]")
        return
    also = " and the console" if destination.console else ""
    say(f"{destination.signal}: {destination.shown}{also}  [{destination.endpoint.source}]")
    say(f"  protocol: {destination.protocol}  [{destination.protocol_source}]")
    if destination.headers:  # names only: the values are keys
        say(f"  headers: {', '.join(destination.headers)}  [{destination.headers_source}]")


def _check(destination: Destination, attributes: Mapping[str, str], timeout_s: float, say: Say) -> bool:
    """Send one item of a signal; whether it was accepted."""
    what = "one span" if destination.signal == "traces" else "one metric"
    if not destination.otlp:
        say(f"{what}: not sent, because {destination.exporters_source} names no otlp exporter.")
        return False
    # The exporter ends a little before we stop to wait for it, so that it can still say why.
    hurried = replace(destination, timeout_s=min(destination.timeout_s, timeout_s * 0.8))
    failures: list[ExportFailure] = []
    delivered: list[bool] = []
    send = _send_span if destination.signal == "traces" else _send_metric
    started = time.monotonic()
    in_time = side_by_side([lambda: delivered.append(send(hurried, attributes, failures))], timeout_s)
    elapsed_ms = (time.monotonic() - started) * 1000
    if in_time and delivered == [True]:
        say(f"{what}: accepted by {destination.shown} in {elapsed_ms:.0f} ms.")
        return True
    trouble = explain(failures[-1] if failures else ExportFailure(destination, text="timed out"))
    say(f"{what}: NOT accepted. {destination.shown} ({destination.protocol}) {trouble.why}.")
    say(f"  What to do: {trouble.advice}")
    return False


def _send_span(destination: Destination, attributes: Mapping[str, str], failures: list[ExportFailure]) -> bool:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    from rlm_otel.exporters import SpanDelivery, span_delivery

    delivery = span_delivery(destination, failures.append)
    delivery.hurry()
    provider = TracerProvider(resource=Resource.create(dict(attributes)), sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(SpanDelivery(delivery)))
    provider.get_tracer("rlm_otel").start_span(CHECK).end()
    return _finish(provider, delivery.failed)


def _send_metric(destination: Destination, attributes: Mapping[str, str], failures: list[ExportFailure]) -> bool:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import Resource

    from rlm_otel.exporters import MetricDelivery, metric_delivery

    delivery = metric_delivery(destination, failures.append)
    delivery.hurry()
    reader = PeriodicExportingMetricReader(MetricDelivery(delivery), float("inf"))
    provider = MeterProvider([reader], resource=Resource.create(dict(attributes)), shutdown_on_exit=False)
    provider.get_meter("rlm_otel").create_counter(CHECK, "{check}", "Test exports of rlm-otel doctor.").add(1)
    provider.force_flush()
    return _finish(provider, delivery.failed)


def _finish(provider: Any, failed: int) -> bool:
    provider.shutdown()
    return failed == 0


def _line_writer(out: TextIO) -> Say:
    """Spells out what the terminal does not have, instead of a `?`: a name may be what is wrong."""
    encoding = out.encoding or "utf-8"
    return lambda line: write_line(plain(line).encode(encoding, "backslashreplace").decode(encoding), out)
