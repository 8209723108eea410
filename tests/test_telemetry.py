"""Private providers: what they deliver, what they say when it does not arrive, and a bounded end."""

import logging
import os
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from rlm_otel.receiver import Receiver
from rlm_otel.telemetry import Telemetry, configure
from tests.fresh_interpreter import run

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


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


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
