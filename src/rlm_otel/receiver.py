"""An OTLP receiver inside the process: what an exporter really sent, as plain records."""

import gzip
import threading
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler
from types import TracebackType
from typing import Any, Final, Literal, TypeAlias

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # ships no types
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from rlm_otel.loopback import LoopbackServer
from rlm_otel.received import ReceivedLog, ReceivedPoint, ReceivedSpan, read_logs, read_points, read_spans

Signal: TypeAlias = Literal["traces", "metrics", "logs"]
_Request: TypeAlias = ExportTraceServiceRequest | ExportMetricsServiceRequest | ExportLogsServiceRequest

_PATHS: Final[dict[str, Signal]] = {"/v1/traces": "traces", "/v1/metrics": "metrics", "/v1/logs": "logs"}
_REQUESTS: Final[dict[Signal, type[_Request]]] = {
    "traces": ExportTraceServiceRequest,
    "metrics": ExportMetricsServiceRequest,
    "logs": ExportLogsServiceRequest,
}
_SERVICES: Final[dict[Signal, tuple[str, type[Any]]]] = {
    "traces": ("opentelemetry.proto.collector.trace.v1.TraceService", ExportTraceServiceResponse),
    "metrics": ("opentelemetry.proto.collector.metrics.v1.MetricsService", ExportMetricsServiceResponse),
    "logs": ("opentelemetry.proto.collector.logs.v1.LogsService", ExportLogsServiceResponse),
}
_GRPC_CODES: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "UNIMPLEMENTED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
_PROTOBUF: Final = "application/x-protobuf"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedExport:
    """One export request, accepted or refused."""

    signal: Signal
    status: int
    headers: Mapping[str, str]
    """HTTP headers or gRPC metadata; names in lower case."""


class Receiver:
    """Receives OTLP on the loopback interface and keeps all of it in memory.

        with Receiver() as receiver:
            ...  # export to receiver.endpoint
            assert receiver.wait_for(lambda it: len(it.spans()) == 2)

    `status` and `delay_s` may be changed at any time: with a status other than 200 exports are refused with it (in gRPC
    with the code that corresponds) and not kept.
    """

    def __init__(
        self,
        protocol: Literal["http/protobuf", "grpc"] = "http/protobuf",
        *,
        status: int = 200,
        delay_s: float = 0.0,
        port: int = 0,
    ) -> None:
        if protocol not in ("http/protobuf", "grpc"):
            msg = f"protocol={protocol!r} is not known; use one of: http/protobuf, grpc."
            raise ValueError(msg)
        self.status = status
        self.delay_s = delay_s
        self.protocol: Final = protocol
        self.waiting = 0
        """How many exports wait for their answer just now."""
        self._wanted_port = port
        self._server: LoopbackServer | _GrpcServer | None = None
        self._changed = threading.Condition()
        self._exports: list[ReceivedExport] = []
        self._spans: list[ReceivedSpan] = []
        self._points: list[ReceivedPoint] = []
        self._logs: list[ReceivedLog] = []

    @property
    def endpoint(self) -> str:
        """The base address for `OTEL_EXPORTER_OTLP_ENDPOINT`, without a path."""
        if self._server is None:
            msg = "The receiver has no address yet; use `with Receiver() as receiver:` or call start()."
            raise RuntimeError(msg)
        return f"http://127.0.0.1:{self._server.port}"

    def spans(self) -> tuple[ReceivedSpan, ...]:
        """Every span so far, in order of arrival."""
        with self._changed:
            return tuple(self._spans)

    def points(self) -> tuple[ReceivedPoint, ...]:
        """Every metric point so far, in order of arrival: each export repeats the cumulative ones."""
        with self._changed:
            return tuple(self._points)

    def latest_points(self) -> tuple[ReceivedPoint, ...]:
        """The newest point of each series (metric, attributes, resource, scope).

        Totals are complete in it, exemplars are not: an SDK exports each exemplar once, so look for them in `points()`.
        """
        latest: dict[tuple[object, ...], ReceivedPoint] = {}
        for point in self.points():
            key = (point.metric, point.scope, _key(point.attributes), _key(point.resource))
            if key not in latest or point.time_ns >= latest[key].time_ns:
                latest[key] = point
        return tuple(latest.values())

    def logs(self) -> tuple[ReceivedLog, ...]:
        """Every log record so far, in order of arrival."""
        with self._changed:
            return tuple(self._logs)

    def exports(self) -> tuple[ReceivedExport, ...]:
        """Every export request so far, the refused ones too."""
        with self._changed:
            return tuple(self._exports)

    def wait_for(self, predicate: "Callable[[Receiver], bool]", timeout_s: float = 5.0) -> bool:
        """Wait until the predicate holds, asked again after each export; whether it does."""
        with self._changed:
            return self._changed.wait_for(lambda: predicate(self), timeout_s)

    def start(self) -> "Receiver":
        """Begin to receive, in threads of its own."""
        if self._server is None:
            if self.protocol == "grpc":
                self._server = _GrpcServer(self, self._wanted_port)
            else:
                self._server = LoopbackServer(partial(_Handler, self), self._wanted_port)
        return self

    def close(self) -> None:
        """Stop receiving; what was received stays. May be called again."""
        if self._server is not None and not self._server.closing.is_set():
            self._server.close()

    def __enter__(self) -> "Receiver":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def take(self, signal: Signal, request: _Request, headers: Mapping[str, str], closing: threading.Event) -> int:
        """Keep (or refuse) one export; the status to answer with."""
        with self._changed:
            self.waiting += 1
            self._changed.notify_all()
        closing.wait(self.delay_s)
        status = self.status
        with self._changed:
            self.waiting -= 1
            self._exports.append(ReceivedExport(signal=signal, status=status, headers=headers))
            if status == 200:
                self._keep(request)
            self._changed.notify_all()
        return status

    def _keep(self, request: _Request) -> None:
        if isinstance(request, ExportTraceServiceRequest):
            self._spans.extend(read_spans(request))
        elif isinstance(request, ExportMetricsServiceRequest):
            self._points.extend(read_points(request))
        else:
            self._logs.extend(read_logs(request))


def _key(attributes: Mapping[str, object]) -> str:
    """Equal for equal attributes; a text, because values may be lists and dicts."""
    return repr(sorted(attributes.items()))


class _Handler(BaseHTTPRequestHandler):
    """OTLP over HTTP, with binary protobuf."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, owner: Receiver, connection: object, address: object, server: LoopbackServer) -> None:
        self._owner = owner
        self._closing = server.closing
        super().__init__(connection, address, server)  # type: ignore[arg-type]  # handed on as they came

    def log_message(self, *_: object) -> None:
        """Nothing: the terminal belongs to the application."""

    def do_POST(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        signal = _PATHS.get(self.path)
        if signal is None:
            return self._answer(404, b"no such path; use /v1/traces, /v1/metrics or /v1/logs")
        if headers.get("content-type") != _PROTOBUF:
            return self._answer(415, b"only application/x-protobuf is understood")
        try:
            request = _REQUESTS[signal].FromString(_unpacked(data, headers.get("content-encoding")))
        except (DecodeError, OSError, EOFError, zlib.error):
            return self._answer(400, b"the body is not what its headers say")
        status = self._owner.take(signal, request, headers, self._closing)
        return self._answer(status, b"")  # an empty message is empty bytes

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "text/plain" if body else _PROTOBUF)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _unpacked(data: bytes, encoding: str | None) -> bytes:
    if encoding == "gzip":
        return gzip.decompress(data)
    if encoding == "deflate":
        return zlib.decompress(data)
    return data


class _GrpcServer:
    """OTLP over gRPC; grpc is imported only here, because it starts threads and is slow to load."""

    def __init__(self, owner: Receiver, port: int) -> None:
        import grpc  # type: ignore[import-untyped]  # ships no types

        self.closing: Final = threading.Event()

        def export(signal: Signal, request: _Request, context: grpc.ServicerContext) -> Any:
            headers = dict(context.invocation_metadata())
            status = owner.take(signal, request, headers, self.closing)
            if status != 200:
                code = getattr(grpc.StatusCode, _GRPC_CODES.get(status, "UNKNOWN"))
                context.abort(code, f"refused with {status}")
            return _SERVICES[signal][1]()

        self._pool = ThreadPoolExecutor(4, "rlm-otel-receiver")
        self._server = grpc.server(self._pool)
        for signal, (service, response) in _SERVICES.items():
            method = grpc.unary_unary_rpc_method_handler(
                partial(export, signal),
                request_deserializer=_REQUESTS[signal].FromString,
                response_serializer=response.SerializeToString,
            )
            handlers = grpc.method_handlers_generic_handler(service, {"Export": method})
            self._server.add_generic_rpc_handlers((handlers,))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self._server.start()

    def close(self) -> None:
        """Stop, after exports under way had a moment to end."""
        self.closing.set()
        self._server.stop(grace=0.5).wait()
        self._pool.shutdown(wait=False)
