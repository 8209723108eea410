"""Two fronts and two gateways from the shipped configurations, on free ports, before the stores of another stack."""

import re
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from rlm_otel.stack import files
from rlm_otel.stack.binaries import Found
from rlm_otel.stack.services import HOST, Service, services
from rlm_otel.stack.settings import Ports
from tests.stack.real import INTERVALS, RealPrograms, free_ports

QUICK_SAMPLING: Final = {"SAMPLE_AFTER_ROOT": "1s", "SAMPLE_WAIT": "20s"}
"""As shipped, but a decision comes sooner."""


@dataclass(frozen=True, slots=True)
class Collector:
    """One collector of a tier, and where it listens."""

    service: Service
    collector_http: str
    collector_grpc: str

    def own_metrics(self, name: str) -> dict[str, float]:
        """The values of one of its own metrics, by labels as they are written."""
        url = f"http://{HOST}:{self.service.ports['OTELCOL_METRICS_PORT']}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            text = answer.read().decode()
        return {labels: float(value) for labels, value in re.findall(rf"(?m)^{name}((?:\{{.*\}})?) (\S+)$", text)}


def collector(
    name: str, found: Found, folder: Path, backends: Ports, configs: Sequence[str], settings: Mapping[str, str]
) -> Collector:
    """A collector with these files of `collector/`; Jaeger and Prometheus are at the ports of `backends`."""
    ports = replace(
        free_ports(),
        prometheus_port=backends.prometheus_port,
        jaeger_otlp_grpc_port=backends.jaeger_otlp_grpc_port,
    )
    single = services({"collector": found}, ports, folder / name, INTERVALS)["collector"]
    service = replace(
        single,
        name=name,
        arguments=tuple(f"--config={files.root() / 'collector' / config}" for config in configs),
        environment={**single.environment, **settings},
    )
    grpc, http = (f"{HOST}:{port}" for port in (ports.otlp_grpc_port, ports.otlp_http_port))
    return Collector(service, f"http://{http}", f"http://{grpc}")


class Tiers(RealPrograms):
    """The programs `front-1`, `front-2`, `gateway-1` and `gateway-2`."""

    def __init__(self, folder: Path, found: Found, backends: Ports, gateway: Sequence[str], **store: str) -> None:
        """`gateway` are the configuration files of a gateway, `store` the settings that say where it sends to."""
        settings = {**QUICK_SAMPLING, **store}
        self.gateways = [
            collector(f"gateway-{number}", found, folder, backends, gateway, settings) for number in (1, 2)
        ]
        addresses = ", ".join(one.collector_grpc.removeprefix("http://") for one in self.gateways)
        known = {"OTELCOL_GATEWAYS": f"[{addresses}]"}
        self.fronts = [
            collector(f"front-{number}", found, folder, backends, ["config.yaml", "front.yaml"], known)
            for number in (1, 2)
        ]
        super().__init__(folder, {one.service.name: one.service for one in (*self.gateways, *self.fronts)})

    @property
    def entrances(self) -> list[str]:
        """The URLs of both fronts, for OTLP over HTTP."""
        return [one.collector_http for one in self.fronts]

    def decided(self) -> float:
        """Of how many traces the gateways have decided."""
        return sum(self._counted("global_count_traces_sampled"))

    def seen(self) -> list[float]:
        """How many traces each gateway has seen, by its own count."""
        return self._counted("new_trace_id_received")

    def _counted(self, metric: str) -> list[float]:
        name = f"otelcol_processor_tail_sampling_{metric}"
        return [sum(gateway.own_metrics(name).values()) for gateway in self.gateways]
