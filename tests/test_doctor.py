"""`rlm-otel doctor`: who said what, whether it arrives, and what to do when it does not; over real sockets."""

import io
import re
import socket
import time

import pytest

from rlm_otel.destination import Destination, Options, Signal, read_destination
from rlm_otel.doctor import diagnose
from rlm_otel.receiver import Receiver
from rlm_otel.trouble import ExportFailure, explain


def doctor(options: Options, timeout_s: float = 8.0, **environ: str) -> tuple[int, str]:
    """The exit code and the text, with the changing numbers taken out."""
    out = io.StringIO()
    code = diagnose(options, environ=environ, out=out, program="serve.py", timeout_s=timeout_s)
    return code, re.sub(r"127\.0\.0\.1:\d+", "HOST", re.sub(r"\d+ ms", "N ms", out.getvalue()))


def test_all_is_well() -> None:
    """Each setting with its origin, header names without values, both signals accepted, exit code 0."""
    with Receiver() as receiver:
        code, text = doctor(
            Options(endpoint=receiver.endpoint),
            OTEL_SERVICE_NAME="магазин",
            OTEL_EXPORTER_OTLP_HEADERS="x-api-key=s3cret",
        )
        assert [span.name for span in receiver.spans()] == ["rlm.doctor.check"]
        assert [point.metric for point in receiver.points()] == ["rlm.doctor.check"]
        assert receiver.spans()[0].resource["service.name"] == "магазин"
    assert text == (
        "service: магазин  [OTEL_SERVICE_NAME]\n"
        "traces: http://HOST/v1/traces  [argument endpoint]\n"
        "  protocol: http/protobuf  [default]\n"
        "  headers: x-api-key  [OTEL_EXPORTER_OTLP_HEADERS]\n"
        "metrics: http://HOST/v1/metrics  [argument endpoint]\n"
        "  protocol: http/protobuf  [default]\n"
        "  headers: x-api-key  [OTEL_EXPORTER_OTLP_HEADERS]\n"
        "\n"
        "one span: accepted by http://HOST/v1/traces in N ms.\n"
        "one metric: accepted by http://HOST/v1/metrics in N ms.\n"
        "Both were accepted. An application that sets OpenTelemetry providers of its own sends to where those say.\n"
    )
    assert code == 0


def test_grpc_is_well() -> None:
    """The same over gRPC, chosen by the environment."""
    with Receiver("grpc") as receiver:
        code, text = doctor(
            Options(), OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint, OTEL_EXPORTER_OTLP_PROTOCOL="grpc"
        )
    assert code == 0
    assert "traces: http://HOST  [OTEL_EXPORTER_OTLP_ENDPOINT]\n  protocol: grpc  [OTEL_EXPORTER_OTLP_PROTOCOL]" in text


@pytest.mark.parametrize(
    ("protocol", "served", "status", "why", "advice"),
    [
        ("http/protobuf", None, 0, "refused the connection", "Start a collector there"),
        ("grpc", None, 0, "refused the connection", "Start a collector there"),
        ("http/protobuf", "grpc", 200, "speaks gRPC, but we speak HTTP", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"),
        ("grpc", "http/protobuf", 200, "speaks HTTP, but we speak gRPC", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"),
        ("http/protobuf", "http/protobuf", 401, "did not accept our credentials", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("grpc", "grpc", 401, "did not accept our credentials", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("http/protobuf", "http/protobuf", 404, "does not take metrics (404)", "OTEL_METRICS_EXPORTER=none"),
        ("grpc", "grpc", 404, "does not take metrics", "OTEL_METRICS_EXPORTER=none"),
        ("http/protobuf", "http/protobuf", 302, "redirects elsewhere", "Set the endpoint to the final address"),
    ],
)
def test_trouble_is_told_in_plain_words(protocol: str, served: str | None, status: int, why: str, advice: str) -> None:
    """What is wrong and what to do, for both signals, and an exit code that scripts can ask."""
    with Receiver(served or "http/protobuf", status=status) as receiver:  # type: ignore[arg-type]  # one of the two
        endpoint = receiver.endpoint if served else "http://127.0.0.1:1"
        code, text = doctor(Options(endpoint=endpoint, protocol=protocol), timeout_s=3)
    assert code == 1
    assert "one span: NOT accepted" in text
    assert "one metric: NOT accepted" in text
    assert why in text
    assert advice in text


def test_tls_to_a_plain_port_is_named() -> None:
    """https:// in the endpoint of a receiver without TLS."""
    with Receiver() as receiver:
        code, text = doctor(Options(endpoint=receiver.endpoint.replace("http://", "https://")), timeout_s=3)
    assert code == 1
    assert "does not speak TLS, but the endpoint starts with https://" in text


def test_a_silent_port_takes_bounded_time() -> None:
    """A port that answers nothing is called that, within the time given."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        started = time.monotonic()
        code, text = doctor(Options(endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}"), timeout_s=0.6)
        assert time.monotonic() - started < 3
    assert code == 1
    assert text.count("did not answer in time") == 2


def test_half_is_not_enough() -> None:
    """A signal that is switched off counts as not accepted, and the line says by what."""
    with Receiver() as receiver:
        code, text = doctor(Options(endpoint=receiver.endpoint), OTEL_METRICS_EXPORTER="none")
    assert code == 1
    assert "metrics: nowhere  [OTEL_METRICS_EXPORTER]\n" in text
    assert "one metric: not sent, because OTEL_METRICS_EXPORTER names no otlp exporter.\n" in text


def test_disabled_sends_nothing() -> None:
    """OTEL_SDK_DISABLED is found, and named."""
    with Receiver() as receiver:
        code, text = doctor(Options(endpoint=receiver.endpoint), OTEL_SDK_DISABLED="true")
        assert receiver.exports() == ()
    assert code == 1
    assert text.endswith("Nothing is sent: OTEL_SDK_DISABLED is true. Unset it to switch telemetry on.\n")


def test_any_terminal_will_do() -> None:
    """Control characters are made visible, and what the terminal cannot show is escaped."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="cp1251")
    diagnose(
        Options(service_name="магазин🙂\x1b[31m"), environ={"OTEL_SDK_DISABLED": "true"}, out=out, program="serve.py"
    )
    assert raw.getvalue().decode("cp1251").startswith("service: магазин\\U0001f642\\x1b[31m  [argument service_name]")


@pytest.mark.parametrize(
    ("status", "text", "why"),
    [
        (None, "Failed to resolve 'nope' ([Errno -2] Name or service not known)", "has a host name that cannot be"),
        (
            None,
            "lookup error:address lookup failed for nope:4317: Domain name not found",
            "has a host name that cannot",
        ),
        (None, "SSLError: [SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate", "has a TLS certificate that is"),
        (None, "Error details: Deadline Exceeded StatusCode.DEADLINE_EXCEEDED", "did not answer in time"),
        (
            None,
            "ProxyError: Unable to connect to proxy: Connection refused",
            "is reached through a proxy, and that one",
        ),
        (None, "('Connection aborted.', ConnectionResetError(104))", "closed the connection without an answer"),
        (400, "Client sent an HTTP request to an HTTPS server.", "wants TLS, but the endpoint starts with http://"),
        (200, "a web page", "answered with a web page: it is no OTLP receiver"),
        (200, "1 rejected: no such tenant", "took the request but rejected what was in it"),
        (503, "", "says it gets too much or is not ready (status 503)"),
        (418, "", "refused the export with status 418"),
        (None, "the moon\nis full", "did not take it: the moon is full"),
    ],
)
def test_what_was_said_becomes_a_reason(status: int | None, text: str, why: str) -> None:
    """Texts of requests, urllib3, gRPC and Go servers, as they were seen."""
    assert explain(ExportFailure(_destination("traces"), status, text)).why.startswith(why)


def test_a_wrong_path_is_told_from_a_missing_signal() -> None:
    """404 at the path of another signal is a wrong path; at the right one the backend has no such signal."""
    wrong = read_destination("traces", Options(), {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318"})
    assert explain(ExportFailure(wrong, 404)).why == "is not a place that takes traces (404)"
    assert explain(ExportFailure(_destination("metrics"), 404)).why == "does not take metrics (404)"


def test_endpoints_are_shown_without_their_secrets() -> None:
    """A password in the URL and a query never reach a log or a terminal."""
    options = Options(endpoint="https://user:s3cret@c:4318?key=s3cret")
    assert read_destination("traces", options, {}).shown == "https://c:4318"


def _destination(signal: Signal) -> Destination:
    return read_destination(signal, Options(), {})
