"""What the stack without Docker carries on this machine: the demo's spans at more and more a second, until it lags.

Real programs, the shipped configuration, data in a temporary folder. The sender runs on the same machine and takes its
share of it, which is shown. Metrics of 200 processes, one export each in 15 seconds, go beside the spans.
    python scripts/bench_stack.py --seconds 10 --content 0
"""

import argparse
import http.client
import itertools
import os
import re
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from rlm_otel import OTelCallback
from rlm_otel.demo.calls import call_script
from rlm_otel.stack import binaries, local
from rlm_otel.stack.services import HOST, services
from rlm_otel.stack.settings import Ports
from tests.stack.real import RealPrograms, free_ports

PROGRAMS = (binaries.PROMETHEUS, binaries.JAEGER, binaries.COLLECTOR)
COPIES, SENDERS, PROCESSES, EXPORT_S = 5, 4, 200, 15
STEPS = (500, 1000, 2000, 4000, 6000, 8000, 12000, 16000, 24000)


@dataclass(frozen=True)
class Demo:
    """The demo's six traces and its metrics as a process sends them; ids are replaced in the bytes."""

    traces: bytes
    metrics: bytes
    trace_ids: tuple[bytes, ...]
    instance: bytes
    spans: int

    def fresh(self) -> bytes:
        """One request with `COPIES` of the traces, each with ids of its own: joined messages are one message."""
        made = [self.traces] * COPIES
        for trace_id in self.trace_ids:
            made = [one.replace(trace_id, os.urandom(16)) for one in made]
        return b"".join(made)


def record(content: int) -> Demo:
    """Run the demo's calls and keep what they send; each span with `content` bytes of text, as when content is on."""
    instance, spans, reader = str(uuid.uuid4()), InMemorySpanExporter(), InMemoryMetricReader()
    resource = Resource.create({"service.name": "bench", "service.instance.id": instance})
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(SimpleSpanProcessor(spans))
    meters = MeterProvider([reader], resource=resource)
    call_script([OTelCallback(tracer_provider=traces, meter_provider=meters)], StringIO())
    request, data = encode_spans(spans.get_finished_spans()), reader.get_metrics_data()
    all_spans = [span for one in request.resource_spans for scope in one.scope_spans for span in scope.spans]
    for span in all_spans if content else ():
        span.attributes.add(key="gen_ai.input.messages").value.string_value = ("Привет, мир! " * content)[
            : content // 2
        ]
    assert data is not None
    return Demo(
        traces=request.SerializeToString(),
        metrics=encode_metrics(data).SerializeToString(),
        trace_ids=tuple({span.trace_id for span in all_spans}),
        instance=instance.encode(),
        spans=len(all_spans),
    )


class Load:
    """Sends for some seconds at a rate, and knows what was accepted."""

    def __init__(self, demo: Demo, ports: Ports, spans_a_second: int, seconds: float) -> None:
        self._demo, self._port = demo, ports.otlp_http_port
        per_request = demo.spans * COPIES
        self._every_s = per_request * SENDERS / spans_a_second
        self._end_s = time.monotonic() + seconds
        self._lock = threading.Lock()
        self.per_request = per_request
        self.accepted = self.refused = 0
        self.worst_s = 0.0

    def run(self) -> None:
        """Until the time is up."""
        senders = [threading.Thread(target=self._traces) for _ in range(SENDERS)]
        senders.append(threading.Thread(target=self._metrics))
        for sender in senders:
            sender.start()
        for sender in senders:
            sender.join()

    def _traces(self) -> None:
        connection, due_s = http.client.HTTPConnection(HOST, self._port, timeout=30), time.monotonic()
        while (now := time.monotonic()) < self._end_s:
            taken = post(connection, "traces", self._demo.fresh())
            with self._lock:
                self.accepted += self.per_request * taken
                self.refused += self.per_request * (not taken)
                self.worst_s = max(self.worst_s, time.monotonic() - now)
            due_s += self._every_s
            time.sleep(max(0.0, due_s - time.monotonic()))

    def _metrics(self) -> None:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=30)
        for number in itertools.cycle(range(PROCESSES)):
            if time.monotonic() > self._end_s:
                return
            process = str(uuid.UUID(int=number + 1)).encode()
            post(connection, "metrics", self._demo.metrics.replace(self._demo.instance, process))
            time.sleep(EXPORT_S / PROCESSES)


def post(connection: http.client.HTTPConnection, signal: str, body: bytes) -> bool:
    """Whether the collector took it."""
    connection.request("POST", f"/v1/{signal}", body, {"Content-Type": "application/x-protobuf"})
    answer = connection.getresponse()
    answer.read()
    return answer.status == 200


def own_metric(port: int, pattern: str) -> float:
    """The sum of what a program tells of itself under names (and labels) that begin like this."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return sum(float(one) for one in re.findall(rf"(?m)^{pattern}.* (\S+)$", text))


def stored(ports: Ports) -> float:
    """How many spans Jaeger has taken from the collector."""
    return own_metric(ports.otelcol_metrics_port, r"otelcol_exporter_sent_spans(?:_total)?\{.*jaeger")


def usage(folder: Path) -> dict[str, tuple[float, float]]:
    """Seconds on a processor, and memory in MB, of each program and of this one."""
    pids = {one.record.name: one.record.process.pid for one in local.status(folder)} | {"sender": os.getpid()}
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    found = {}
    for name, pid in pids.items():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        found[name] = ((int(fields[11]) + int(fields[12])) / tick, int(fields[21]) * page / 1e6)
    return found


def disk(folder: Path) -> float:
    """MB on the disk below a folder."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / 1e6


@contextmanager
def stack() -> Iterator[tuple[Ports, Path]]:
    """The three programs with the shipped configuration and intervals."""
    with tempfile.TemporaryDirectory() as temporary:
        folder, ports = Path(temporary), free_ports()
        found = binaries.provide(PROGRAMS, environ=os.environ, folder=None, say=print)
        running = RealPrograms(folder, services(found, ports, folder, {}))
        try:
            running.start()
            yield ports, folder
        finally:
            running.close()


def step(demo: Demo, ports: Ports, folder: Path, rate: int, seconds: float) -> bool:
    """One rate; prints its line. Whether everything was taken, and stored five seconds later."""
    began_s, before, at_first = time.monotonic(), usage(folder), stored(ports)
    load = Load(demo, ports, rate, seconds)
    load.run()
    took_s, after = time.monotonic() - began_s, usage(folder)
    deadline = time.monotonic() + 5
    while (behind := load.accepted - (stored(ports) - at_first)) > 0 and time.monotonic() < deadline:
        time.sleep(0.2)
    busy = "  ".join(
        f"{name} {(after[name][0] - before[name][0]) / took_s:4.0%} {after[name][1]:4.0f} MB" for name in after
    )
    line = f"{rate:6d} asked  {load.accepted / took_s:6.0f} taken/s  {load.refused:6d} refused  {behind:7.0f} behind"
    print(f"{line}  slowest answer {load.worst_s * 1000:5.0f} ms   {busy}", flush=True)
    return not load.refused and behind <= 0 and load.accepted / took_s > 0.95 * rate


def main() -> None:
    """Rate after rate, until one is too much."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="for each rate")
    parser.add_argument("--content", type=int, default=0, help="bytes of text in each span")
    options = parser.parse_args()
    demo = record(options.content)
    print(
        f"{os.cpu_count()} processors; {len(demo.traces) / demo.spans:.0f} bytes a span, {demo.spans} spans in 6 traces"
    )
    with stack() as (ports, folder):
        empty = disk(folder)
        any(not step(demo, ports, folder, rate, options.seconds) for rate in STEPS)
        spans = stored(ports)
        grown = disk(folder) - empty
        print(f"{spans:.0f} spans stored; the disk grew by {grown:.0f} MB, {grown * 1e6 / spans:.0f} bytes a span")
        series = own_metric(ports.prometheus_port, "prometheus_tsdb_head_series")
        print(f"{series:.0f} series in Prometheus, of {PROCESSES} processes and of the stack itself")


if __name__ == "__main__":
    main()
