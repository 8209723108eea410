"""Makes the real collector lose data, as it does only when much goes wrong: full queues, a back end that refuses."""

import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final
from urllib.error import HTTPError

import grpc  # type: ignore[import-untyped]  # ships no types
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from rlm_otel.stack.services import HOST
from tests.stack.real import RealStack

_FULL: Final = "sending queue is full"
_PATIENCE_S: Final = 60.0
# Not text, which the collector would search for secrets; in Jaeger each is twice as long, and still fits its keys.
_BLOCK: Final = bytes(30_000)
_BLOCKS: Final = 10


_SERVICE: Final = "overload"


def fill_queue_to_jaeger(stack: RealStack) -> None:
    """While Jaeger is away: until the collector has no room for one more trace."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = _SERVICE
    span = resource.scope_spans.add().spans.add(name="large", trace_id=bytes([1] * 16), span_id=bytes([1] * 8))
    span.start_time_unix_nano = span.end_time_unix_nano = time.time_ns()
    for number in range(_BLOCKS):
        span.attributes.add(key=f"block.{number}").value.bytes_value = _BLOCK
    _post_until_full(f"{stack.collector_http}/v1/traces", request.SerializeToString())


def fill_queue_to_prometheus(stack: RealStack) -> None:
    """While Prometheus is away: until the collector has no room for one more request."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    resource.resource.attributes.add(key="service.name").value.string_value = _SERVICE
    metric = resource.scope_metrics.add().metrics.add(name="one.of.many")
    metric.gauge.data_points.add(as_int=1, time_unix_nano=time.time_ns())
    _post_until_full(f"{stack.collector_http}/v1/metrics", request.SerializeToString())


def queued(stack: RealStack) -> float:
    """How much waits in all queues of the collector, by its own account (requests and bytes, so only 0 says much)."""
    with urllib.request.urlopen(f"http://{HOST}:{stack.ports.otelcol_metrics_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("otelcol_exporter_queue_size{"))


@contextmanager
def refusing(port: int) -> Iterator[None]:
    """In the block: a gRPC server in Jaeger's place that takes nothing, and says that trying again is of no use."""
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers([_Refusal()])
    assert server.add_insecure_port(f"{HOST}:{port}") == port
    server.start()
    try:
        yield
    finally:
        server.stop(grace=None).wait()


class _Refusal(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpc has no types
    def service(self, handler_call_details: object) -> Any:
        return grpc.unary_unary_rpc_method_handler(_refuse)


def _refuse(request: bytes, context: Any) -> None:
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "I take nothing")


def _post_until_full(url: str, body: bytes) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    said = ""
    while _FULL not in said:
        assert time.monotonic() < deadline, f"the queue does not fill up; the last answer: {said}"
        said = _post(url, body)


def _post(url: str, body: bytes) -> str:
    """What the collector says to it; empty if it accepts."""
    request = urllib.request.Request(url, body, {"Content-Type": "application/x-protobuf"})
    try:
        with urllib.request.urlopen(request, timeout=10):
            return ""
    except HTTPError as error:
        with error:
            return error.read().decode("utf-8", "replace")
