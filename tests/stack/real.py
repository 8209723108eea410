"""The real programs of the viewing stack for a test session: free ports, a folder of their own, short intervals."""

import os
import random
import re
import socket
from collections.abc import Mapping
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Final

from rlm_otel.stack import binaries, local, processes
from rlm_otel.stack.services import HOST, Service, services
from rlm_otel.stack.settings import Ports
from tests.stack.webhook import Webhook

INTERVALS: Final = {
    "PROMETHEUS_SCRAPE_INTERVAL": "1s",
    "PROMETHEUS_EVALUATION_INTERVAL": "1s",
    "OTELCOL_SPAN_METRICS_INTERVAL": "1s",
}
# Below those that the system gives to outgoing connections, which might take one before its program starts.
_NUMBERS: Final = iter(random.sample(range(15_000, 32_000), 17_000))
PROGRAMS: Final = (
    binaries.ALERTMANAGER,
    binaries.PROMETHEUS,
    binaries.PROMTOOL,
    binaries.JAEGER,
    binaries.COLLECTOR,
)


class RealPrograms:
    """Real services by name, with data and logs in `folder`; `start()` them, `close()` at the end."""

    def __init__(self, folder: Path, chosen: Mapping[str, Service]) -> None:
        self.folder = folder
        self._services = dict(chosen)

    def start(self, *names: str) -> None:
        """Start these, or all, and return when they are ready; what runs already stays."""
        chosen = [self._services[name] for name in names] or list(self._services.values())
        local.start(chosen, self.folder, os.environ, print)

    def stop(self, name: str) -> None:
        """End it with SIGTERM, as an operator would."""
        local.stop(self.folder, print, [name])

    def kill(self, name: str) -> None:
        """End it with SIGKILL, as a crash would."""
        record = local.find_record(self.folder, name)
        assert record is not None, f"{name} was never started"
        processes.kill(record.process)

    def state(self, name: str) -> str:
        """`healthy`, `unhealthy` or `ended`."""
        return next(one.state for one in local.status(self.folder) if one.record.name == name)

    def log(self, name: str) -> str:
        """All it has said since its last start."""
        return (self.folder / "logs" / f"{name}.log").read_text("utf-8", "replace")

    def close(self) -> None:
        """Stop everything."""
        local.stop(self.folder, print)


class RealStack(RealPrograms):
    """Collector, Jaeger and Prometheus with the shipped configurations.

    Alertmanager too where it is on PATH, and then alerts arrive at `webhook`.
    `name` is always one of `collector`, `jaeger`, `prometheus`, `alertmanager`.
    """

    def __init__(self, folder: Path) -> None:
        self.ports = free_ports()
        self.found = binaries.provide(PROGRAMS, environ=os.environ, folder=None, say=print)
        self.promtool = self.found["promtool"].path
        self.webhook = Webhook()
        settings = {**INTERVALS, "COMPOSE_PROFILES": "alerts", "ALERT_WEBHOOK_URL": self.webhook.url}
        shipped = services(self.found, self.ports, folder, settings)
        super().__init__(folder, {**shipped, "prometheus": quick(shipped["prometheus"], folder)})
        self.collector_http = f"http://{HOST}:{self.ports.otlp_http_port}"
        self.collector_grpc = f"http://{HOST}:{self.ports.otlp_grpc_port}"
        self.jaeger_api = f"http://{HOST}:{self.ports.jaeger_port}"
        self.prometheus_api = f"http://{HOST}:{self.ports.prometheus_port}"
        self.alertmanager_api = f"http://{HOST}:{self.ports.alertmanager_port}"
        self.collector_logs = folder / "collector" / "logs" / "logs.jsonl"
        """Log records that applications sent."""

    def close(self) -> None:
        super().close()
        self.webhook.close()


def quick(prometheus: Service, folder: Path) -> Service:
    """Prometheus as shipped, but the groups of rules are evaluated as often as everything else."""

    def prepare() -> None:
        prometheus.prepare()
        for path in (folder / "prometheus" / "config" / "rules").iterdir():
            text = path.read_text("utf-8")
            path.write_text(re.sub(r"(?m)^    interval: .*$", "    interval: 1s", text), "utf-8")

    return replace(prometheus, prepare=prepare)


def free_ports() -> Ports:
    """Ports that nobody has at the moment."""
    names = list(asdict(Ports()))
    return Ports(**dict(zip(names, free_numbers(len(names)), strict=True)))


def free_numbers(count: int) -> list[int]:
    """Numbers of so many ports that nobody has at the moment, and that were not given out before."""
    numbers = (number for number in _NUMBERS if _is_free(number))
    return list(islice(numbers, count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
