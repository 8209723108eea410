"""Which providers are chosen: given, global, private or none, and the one line that says so."""

import logging

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider

from rlm_otel.receiver import Receiver
from rlm_otel.telemetry import choose, configure
from tests.fresh_interpreter import run


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


def test_given_providers_are_joined_and_the_rest_is_off(caplog: pytest.LogCaptureFixture) -> None:
    """A given provider counts as joined; the line says how to get the missing signal; shutdown leaves it open."""
    caplog.set_level(logging.INFO, "rlm_otel")
    ended: list[str] = []
    provider = TracerProvider(shutdown_on_exit=False)
    telemetry = choose(tracer_provider=provider, environ={})
    telemetry.on_shutdown(lambda: ended.append("open spans"))
    assert telemetry.tracer_provider is provider
    assert (telemetry.traces, telemetry.metrics, telemetry.logs) == ("joined", "none", "none")
    assert telemetry.joined_traces is True
    assert lines(caplog) == [
        "traces go to the application's OpenTelemetry providers; metrics are not recorded because no MeterProvider is "
        "set: call opentelemetry.metrics.set_meter_provider(...) at the start or pass OTelCallback(meter_provider=...)"
    ]
    assert telemetry.shutdown() is True
    assert ended == ["open spans"]
    assert provider.get_tracer("test").start_span("still open").is_recording()


def test_all_wanted_signals_given_is_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    """With spans and metrics provided the line is informative, and is said once for any number of callbacks."""
    caplog.set_level(logging.INFO, "rlm_otel")
    tracer_provider = TracerProvider(shutdown_on_exit=False)
    meter_provider = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    for _ in range(2):
        choose(tracer_provider=tracer_provider, meter_provider=meter_provider, environ={})
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.INFO, "traces and metrics go to the application's OpenTelemetry providers")
    ]


def test_a_stand_in_is_no_provider() -> None:
    """A no-op provider given by hand does not count as one to join."""
    telemetry = choose(tracer_provider=NoOpTracerProvider(), environ={"OTEL_SDK_DISABLED": "true"})
    assert (telemetry.traces, telemetry.metrics, telemetry.logs) == ("none", "none", "none")
    assert telemetry.joined_traces is False


def test_global_providers_are_joined_signal_by_signal() -> None:
    """What is global is joined, even through a stand-in taken before; what is not is off, and nothing is private."""
    done = run(
        """
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        early = trace.ProxyTracerProvider()
        trace.set_tracer_provider(TracerProvider())
        from rlm_otel.telemetry import choose
        telemetry = choose()
        print(telemetry.traces, telemetry.metrics, telemetry.joined_traces)
        print(telemetry.tracer_provider is trace.get_tracer_provider())
        print(choose(tracer_provider=early).tracer_provider is trace.get_tracer_provider())
        """
    )
    assert done.stdout == "joined none True\nTrue\nTrue\n", done.stderr
    assert done.stderr.count("metrics are not recorded because no MeterProvider is set") == 1


def test_private_providers_are_shared_and_global_only_on_request() -> None:
    """Callbacks without arguments share one set of private providers; only set_global=True touches the globals."""
    with Receiver() as receiver:
        done = run(
            """
            from opentelemetry import trace
            from rlm_otel.telemetry import choose, configure
            first, second = choose(), choose()
            print(first.traces, first.joined_traces, first.tracer_provider is second.tracer_provider)
            print(type(trace.get_tracer_provider()).__name__)
            first.shutdown()
            second.tracer_provider.get_tracer("test").start_span("alive").end()
            second.shutdown()
            print(choose().tracer_provider is second.tracer_provider)
            loud = configure(set_global=True)
            print(loud.joined_traces, trace.get_tracer_provider() is loud.tracer_provider)
            print(choose().traces, configure(set_global=True).joined_traces)
            """,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
        )
        assert [span.name for span in receiver.spans()] == ["alive"]
    assert done.stdout == "private False True\nProxyTracerProvider\nFalse\nTrue True\njoined False\n", done.stderr
    assert "TracerProvider, MeterProvider was set before configure(set_global=True)" in done.stderr


def test_exporters_none_builds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A signal whose exporter is `none` is a no-op."""
    caplog.set_level(logging.INFO, "rlm_otel")
    with configure(environ={"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}) as telemetry:
        assert (telemetry.traces, telemetry.metrics) == ("none", "none")
    assert lines(caplog) == ["telemetry goes nowhere: every OTEL_*_EXPORTER is none"]


def test_the_console_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """`console` prints spans on the standard output of the moment."""
    with configure(environ={"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none"}) as telemetry:
        telemetry.tracer_provider.get_tracer("test").start_span("printed").end()
    assert '"name": "printed"' in capsys.readouterr().out
