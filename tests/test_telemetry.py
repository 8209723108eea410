"""Providers: joined or private, chosen signal by signal, bounded at the end, plain about what does not arrive."""

import io
import logging
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider

from rlm_otel.destination import Options, read_destination, read_service
from rlm_otel.logs import TraceContextFilter
from rlm_otel.receiver import Receiver
from rlm_otel.telemetry import Telemetry, choose, configure

NOBODY = "http://127.0.0.1:1"


@pytest.fixture(params=["http/protobuf", "grpc"])
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    with Receiver(request.param) as receiver:
        yield receiver


def emit(telemetry: Telemetry, name: str = "a") -> None:
    telemetry.tracer_provider.get_tracer("test").start_span(name).end()
    telemetry.meter_provider.get_meter("test").create_counter("rlm.test").add(1)


def send_to(receiver: Receiver, **more: str) -> Telemetry:
    return configure(endpoint=receiver.endpoint, protocol=receiver.protocol, environ=more)


def run(code: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a fresh interpreter: globals and the exit cannot be tried in this one."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **variables}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.WARNING) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


# delivery --------------------------------------------------------------------------------------------------------


def test_flush_delivers_spans_and_metrics(receiver: Receiver) -> None:
    """After a flush that says True the receiver has everything, under the service's name."""
    with configure(
        service_name="магазин", endpoint=receiver.endpoint, protocol=receiver.protocol, environ={}
    ) as telemetry:
        emit(telemetry)
        assert telemetry.flush() is True
    assert [span.name for span in receiver.spans()] == ["a"]
    assert {point.metric for point in receiver.points()} == {"rlm.test"}
    assert receiver.spans()[0].resource["service.name"] == "магазин"
    assert telemetry.failed_exports == 0


def test_headers_reach_the_receiver(receiver: Receiver) -> None:
    """Headers of the argument are added to those of the environment and win over them."""
    telemetry = configure(
        endpoint=receiver.endpoint,
        protocol=receiver.protocol,
        headers={"X-Key": "argument"},
        environ={"OTEL_EXPORTER_OTLP_HEADERS": "x-key=variable,x-team=a%20b"},
    )
    emit(telemetry)
    assert telemetry.shutdown() is True
    headers = receiver.exports()[0].headers
    assert (headers["x-key"], headers["x-team"]) == ("argument", "a b")


def test_logs_are_built_only_when_asked(receiver: Receiver) -> None:
    """Without a wish for logs their provider is a no-op; with one it exports."""
    with send_to(receiver) as without:
        assert without.logs == "none"
    with configure(endpoint=receiver.endpoint, protocol=receiver.protocol, logs=True, environ={}) as asked:
        asked.logger_provider.get_logger("test").emit(body="привет")
        assert asked.flush() is True
    assert [log.body for log in receiver.logs()] == ["привет"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_delivers_under_its_own_instance_id() -> None:
    """After a fork the child's span arrives, and its series are told from the parent's."""
    with Receiver() as receiver, send_to(receiver) as telemetry:
        emit(telemetry, "parent")
        assert telemetry.flush() is True
        child = os.fork()
        if child == 0:
            emit(telemetry, "child")
            os._exit(0 if telemetry.flush() else 1)
        assert os.waitpid(child, 0)[1] == 0
        spans = {span.name: span.resource["service.instance.id"] for span in receiver.spans()}
    assert spans.keys() == {"parent", "child"}
    assert spans["parent"] != spans["child"]


# what does not arrive --------------------------------------------------------------------------------------------


def test_a_refused_export_logs_one_plain_line(caplog: pytest.LogCaptureFixture) -> None:
    """Where, why and what to do, once, though two signals and two flushes fail; nothing of the SDK's own."""
    telemetry = configure(endpoint=NOBODY, environ={"OTEL_EXPORTER_OTLP_TIMEOUT": "0.05"})
    emit(telemetry)
    assert telemetry.flush() is False
    emit(telemetry)
    assert telemetry.shutdown() is False
    assert telemetry.failed_exports == 4
    assert len(lines(caplog)) == 1
    assert " do not arrive: http://127.0.0.1:1/v1/" in lines(caplog)[0]
    assert "refused the connection: nothing listens there. Start a collector there" in lines(caplog)[0]


@pytest.mark.parametrize(
    ("ours", "theirs", "advice"),
    [
        ("http/protobuf", "grpc", "speaks gRPC, but we speak HTTP to it. Set OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
        (
            "grpc",
            "http/protobuf",
            "speaks HTTP, but we speak gRPC to it. Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf",
        ),
    ],
)
def test_mixed_up_protocols_are_named(caplog: pytest.LogCaptureFixture, ours: str, theirs: str, advice: str) -> None:
    """HTTP sent to a gRPC port, and the reverse, is told as what it is."""
    with Receiver(theirs) as receiver:  # type: ignore[arg-type]  # one of the two literals
        telemetry = configure(endpoint=receiver.endpoint, protocol=ours, environ={})
        emit(telemetry)
        assert telemetry.shutdown() is False
    assert len(lines(caplog)) == 1
    assert advice in lines(caplog)[0]


@pytest.mark.parametrize(
    ("status", "why"),
    [(401, "did not accept our credentials"), (404, "does not take traces"), (400, "rejected what was in it")],
)
def test_a_refusing_server_is_explained(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, status: int, why: str
) -> None:
    """A status in the answer becomes a reason in plain words, over both protocols."""
    receiver.status = status
    telemetry = send_to(receiver, OTEL_METRICS_EXPORTER="none")
    emit(telemetry)
    assert telemetry.shutdown() is False
    assert len(lines(caplog)) == 1
    assert why in lines(caplog)[0]


def test_foreign_exporters_keep_their_log_lines(caplog: pytest.LogCaptureFixture) -> None:
    """Only what is logged during our own exports is held back."""
    with configure(endpoint=NOBODY, environ={"OTEL_EXPORTER_OTLP_TIMEOUT": "0.05"}) as telemetry:
        emit(telemetry)
    logging.getLogger("opentelemetry.exporter.otlp.proto.http.trace_exporter").warning("theirs")
    assert lines(caplog)[-1] == "theirs"


# the end ---------------------------------------------------------------------------------------------------------


def test_shutdown_is_bounded_with_a_hanging_collector(caplog: pytest.LogCaptureFixture) -> None:
    """A collector that takes the connection and says nothing costs no more than the timeout."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        telemetry = configure(endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}", environ={})
        emit(telemetry)
        started = time.monotonic()
        assert telemetry.flush(0.1) is False
        assert telemetry.shutdown(0.1) is False
        assert time.monotonic() - started < 2  # the exporter would wait for ten seconds
    for thread in threading.enumerate():  # what still hangs ends now, with the socket
        if thread.name == "rlm-otel-bounded":
            thread.join(5)
    assert "telemetry was not sent within 0.1 s at shutdown; what was waiting is lost" in lines(caplog)


def test_shutdown_does_not_retry_where_nobody_listens() -> None:
    """At the end a refused connection is final: no ten seconds of retries."""
    telemetry = configure(endpoint=NOBODY, environ={})
    emit(telemetry)
    started = time.monotonic()
    assert telemetry.shutdown() is False
    assert time.monotonic() - started < 0.9


def test_shutdown_ends_what_is_open_first_and_only_once() -> None:
    """The endings run before the providers close, so that what they end is still sent; twice is as once."""
    with Receiver() as receiver:
        telemetry = send_to(receiver)
        span = telemetry.tracer_provider.get_tracer("test").start_span("open")
        telemetry.on_shutdown(span.end)
        assert telemetry.shutdown() is True
        assert telemetry.shutdown() is True
        assert [it.name for it in receiver.spans()] == ["open"]


def test_the_exit_is_bounded_with_a_hanging_collector() -> None:
    """A process whose collector hangs ends after five seconds at most, not after the exporter's ten or thirty."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        done = run(
            """
            from rlm_otel import telemetry
            telemetry._EXIT_S = 0.3
            telemetry.choose().tracer_provider.get_tracer("test").start_span("a").end()
            """,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{silent.getsockname()[1]}",
        )
        assert time.monotonic() - started < 4
    assert done.returncode == 0
    assert "telemetry was not sent within 0.3 s at shutdown; what was waiting is lost" in done.stderr


def test_the_exit_of_the_interpreter_delivers() -> None:
    """A script that neither flushes nor shuts down loses nothing."""
    with Receiver() as receiver:
        done = run(
            """
            from rlm_otel.telemetry import choose
            telemetry = choose()
            span = telemetry.tracer_provider.get_tracer("test").start_span("open")
            telemetry.on_shutdown(span.end)
            telemetry.tracer_provider.get_tracer("test").start_span("ended").end()
            """,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert {span.name for span in receiver.spans()} == {"ended", "open"}


def test_importing_loads_no_opentelemetry_sdk() -> None:
    """Importing telemetry, doctor and the log filter reads nothing and loads neither the SDK nor exporters."""
    done = run(
        """
        import sys
        import rlm_otel.telemetry, rlm_otel.doctor, rlm_otel.logs
        print([name for name in sys.modules if name.startswith(("opentelemetry", "requests", "grpc"))])
        """
    )
    assert done.stdout == "[]\n", done.stderr


# the choice ------------------------------------------------------------------------------------------------------


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
    assert lines(caplog, logging.INFO) == [
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
    done = run(
        """
        from opentelemetry import trace
        from rlm_otel.telemetry import choose, configure
        first, second = choose(), choose()
        print(first.traces, first.joined_traces, first.tracer_provider is second.tracer_provider)
        print(type(trace.get_tracer_provider()).__name__)
        first.shutdown()
        print(second.tracer_provider.get_tracer("test").start_span("alive").is_recording())
        second.shutdown()
        print(choose().tracer_provider is second.tracer_provider)
        loud = configure(set_global=True)
        print(loud.joined_traces, trace.get_tracer_provider() is loud.tracer_provider)
        print(choose().traces, configure(set_global=True).joined_traces)
        """,
        OTEL_EXPORTER_OTLP_ENDPOINT=NOBODY,
    )
    assert done.stdout == "private False True\nProxyTracerProvider\nTrue\nFalse\nTrue True\njoined False\n", done.stderr
    assert "TracerProvider, MeterProvider was set before configure(set_global=True)" in done.stderr


def test_exporters_none_builds_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """A signal whose exporter is `none` is a no-op."""
    caplog.set_level(logging.INFO, "rlm_otel")
    with configure(environ={"OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "none"}) as telemetry:
        assert (telemetry.traces, telemetry.metrics) == ("none", "none")
    assert lines(caplog, logging.INFO) == ["telemetry goes nowhere: every OTEL_*_EXPORTER is none"]


def test_the_console_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """`console` prints spans on the standard output of the moment."""
    with configure(environ={"OTEL_TRACES_EXPORTER": "console", "OTEL_METRICS_EXPORTER": "none"}) as telemetry:
        emit(telemetry, "printed")
    assert '"name": "printed"' in capsys.readouterr().out


# the settings ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "environ", "expected"),
    [
        (Options(), {}, "http://localhost:4318/v1/traces [default]"),
        (Options(protocol="grpc"), {}, "http://localhost:4317 [default]"),
        (Options(endpoint="http://c:4318/"), {}, "http://c:4318/v1/traces [argument endpoint]"),
        (Options(endpoint="c:4318/v1/traces"), {}, "http://c:4318/v1/traces [argument endpoint]"),
        (
            Options(),
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/otlp"},
            "https://c/otlp/v1/traces [OTEL_EXPORTER_OTLP_ENDPOINT]",
        ),
        (
            Options(),
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b/in"},
            "http://b/in [OTEL_EXPORTER_OTLP_TRACES_ENDPOINT]",
        ),
        (
            Options(protocol="grpc"),
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317", "OTEL_EXPORTER_OTLP_INSECURE": "false"},
            "https://c:4317 [OTEL_EXPORTER_OTLP_ENDPOINT]",
        ),
        (Options(), {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "http://localhost:4318/v1/traces [default]"),
    ],
)
def test_the_endpoint_is_settled(options: Options, environ: dict[str, str], expected: str) -> None:
    """Argument, then the signal's variable as it is, then the general one with a path, then the default."""
    endpoint = read_destination("traces", options, environ).endpoint
    assert f"{endpoint.value} [{endpoint.source}]" == expected


def test_bad_variables_are_named_and_ignored() -> None:
    """A variable that makes no sense breaks nothing: one sentence each, no value that may be a key."""
    destination = read_destination(
        "traces",
        Options(),
        {
            "OTEL_TRACES_EXPORTER": "zipkin",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
            "OTEL_EXPORTER_OTLP_HEADERS": "s3cret",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "soon",
        },
    )
    assert (destination.otlp, destination.protocol, destination.timeout_s) == (True, "http/protobuf", 10.0)
    assert destination.warnings == (
        "OTEL_TRACES_EXPORTER: zipkin is not known and ignored; use one or more of: otlp, console, none.",
        "OTEL_EXPORTER_OTLP_PROTOCOL='http/json' is not known; http/protobuf is used. Known are: http/protobuf, grpc.",
        "OTEL_EXPORTER_OTLP_HEADERS: entry 1 has no `name=value` form and is ignored.",
        "OTEL_EXPORTER_OTLP_TIMEOUT='soon' is no number of seconds above 0; 10 is used.",
    )


def test_a_bad_argument_is_an_error() -> None:
    """What the programmer wrote wrongly is said at once."""
    with pytest.raises(ValueError, match="protocol='http' is not known; use one of: http/protobuf, grpc"):
        configure(protocol="http", environ={})


@pytest.mark.parametrize(
    ("argument", "environ", "program", "expected"),
    [
        ("a", {"OTEL_SERVICE_NAME": "b"}, "c.py", "a"),
        (None, {"OTEL_SERVICE_NAME": "b", "OTEL_RESOURCE_ATTRIBUTES": "service.name=c"}, "d.py", "b"),
        (None, {"OTEL_RESOURCE_ATTRIBUTES": "team=x,service.name=c%20c"}, "d.py", "c c"),
        (None, {}, "/srv/shop/serve.py", "serve"),
        (None, {}, "/srv/shop/__main__.py", "shop"),
        (None, {}, "-c", "python"),
        (None, {}, "", "python"),
    ],
)
def test_the_service_has_a_name(argument: str | None, environ: dict[str, str], program: str, expected: str) -> None:
    """Argument, variable, resource attributes, program; never unknown_service."""
    assert read_service(Options(service_name=argument), environ, program)[0].value == expected


# the log filter --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("ids", "expected"), [(("4bf9", "00f0"), "4bf9 00f0 да\n"), (None, "- - да\n")])
def test_log_records_carry_the_ids(ids: tuple[str, str] | None, expected: str) -> None:
    """The application's own lines can be found from the trace; outside of a span they carry dashes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(TraceContextFilter(lambda: ids))
    handler.setFormatter(logging.Formatter("%(trace_id)s %(span_id)s %(message)s"))
    handler.handle(logging.makeLogRecord({"msg": "да"}))
    assert stream.getvalue() == expected


def test_a_failing_source_of_ids_harms_no_log_line() -> None:
    """The record passes with dashes."""

    def source() -> tuple[str, str]:
        raise RuntimeError("no ids today")

    record = logging.makeLogRecord({"msg": "x"})
    assert TraceContextFilter(source).filter(record) is True
    assert record.__dict__["trace_id"] == "-"
