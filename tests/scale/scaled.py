"""Everything of docker-compose.scale.yml as plain programs, and beside it a collector that sends straight to Kafka."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

import yaml

from rlm_otel.stack import binaries, files
from rlm_otel.stack.binaries import Found
from rlm_otel.stack.services import HOST, Service, services
from rlm_otel.stack.settings import Ports
from tests.scale import engines
from tests.stack.real import INTERVALS, RealPrograms, free_numbers, free_ports, quick
from tests.stack.tiers import Tiers, collector

PROGRAMS: Final = (binaries.PROMETHEUS, binaries.JAEGER, binaries.COLLECTOR)


class ScaledStack(RealPrograms):
    """The programs, in the order of their start.

    `kafka`, `opensearch`, `prometheus`, `ingester`, `jaeger` (which only shows), `collector` (straight to Kafka);
    `tiers` has the fronts and the gateways.
    """

    def __init__(self, folder: Path) -> None:
        found = binaries.provide(PROGRAMS, environ=os.environ, folder=None, say=print)
        java = engines.java(os.environ)
        ports = free_ports()
        broker, controller, broker_health, http, transport = free_numbers(5)
        where = {"KAFKA_BROKERS": f"[{HOST}:{broker}]", "OPENSEARCH_URLS": f"[http://{HOST}:{http}]"}
        shipped = services(found, ports, folder, INTERVALS)
        self.collector = collector("collector", found["collector"], folder, ports, ["config.yaml", "kafka.yaml"], where)
        super().__init__(
            folder,
            {
                "kafka": kafka(java, folder, broker, controller, broker_health),
                "opensearch": opensearch(java, folder, http, transport),
                "prometheus": quick(shipped["prometheus"], folder),
                "ingester": jaeger("ingester", found["jaeger"], folder, free_ports(), "ingester.yaml", where),
                "jaeger": jaeger("jaeger", found["jaeger"], folder, ports, "query.yaml", where),
                "collector": self.collector.service,
            },
        )
        # What costs anything is kept as expensive, so that the demo is seen whole.
        sampling = {**where, "SAMPLE_COSTLIER_THAN_USD": "0.0"}
        self.tiers = Tiers(folder / "tiers", found["collector"], ports, ["kafka.yaml", "gateway.yaml"], **sampling)
        self.jaeger_api = f"http://{HOST}:{ports.jaeger_port}"
        self.prometheus_api = f"http://{HOST}:{ports.prometheus_port}"

    def start(self, *names: str) -> None:
        """Start these, or all; Jaeger ends when there is no OpenSearch yet."""
        if names:
            super().start(*names)
            return
        super().start("kafka", "opensearch", "prometheus")
        super().start("ingester")
        super().start("jaeger", "collector")
        self.tiers.start()

    def close(self) -> None:
        """Stop everything, what sends before what it sends to."""
        self.tiers.close()
        super().close()


def jaeger(name: str, found: Found, folder: Path, ports: Ports, config: str, settings: dict[str, str]) -> Service:
    """Jaeger with a file of `jaeger/`."""
    single = services({"jaeger": found}, ports, folder, INTERVALS)["jaeger"]
    return replace(
        single,
        name=name,
        arguments=("--config", str(files.root() / "jaeger" / config)),
        environment={**single.environment, **settings},
    )


def kafka(java: Found, folder: Path, broker: int, controller: int, health: int) -> Service:
    """One broker with the settings of docker-compose.scale.yml; it need not wait for its former self to be given up."""
    compose = yaml.safe_load((files.root() / "docker-compose.scale.yml").read_text("utf-8"))
    shipped = compose["services"]["kafka"]["environment"]
    settings = {
        # As the image does it: KAFKA_LOG_DIRS is log.dirs.
        **{name[6:].lower().replace("_", "."): value for name, value in shipped.items() if name != "KAFKA_HEAP_OPTS"},
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listeners": f"PLAINTEXT://{HOST}:{broker},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{broker}",
        "log.dirs": folder / "kafka" / "data",
        "broker.session.timeout.ms": 2000,
        "broker.heartbeat.interval.ms": 500,
    }
    properties = folder / "kafka" / "server.properties"

    def prepare() -> None:
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()), "utf-8")

    source = files.root() / "stack" / "kafka"
    return Service(
        name="kafka",
        found=java,
        arguments=(
            *("-Xms128m", "-Xmx256m", f"-Dlog4j.configuration=file:{source / 'log4j.properties'}"),
            *("-cp", f"{engines.jars('kafka', os.environ, print)}/*", str(source / "Run.java")),
            *(str(properties), str(folder / "kafka" / "data"), str(health)),
        ),
        environment={},
        ports={"broker": broker, "controller": controller, "health": health},
        health=f"http://{HOST}:{health}/",
        prepare=prepare,
    )


def opensearch(java: Found, folder: Path, http: int, transport: int) -> Service:
    """One node, as in docker-compose.scale.yml."""
    return Service(
        name="opensearch",
        found=java,
        arguments=(
            *("-Xms256m", "-Xmx400m", "-cp", f"{engines.jars('opensearch', os.environ, print)}/*"),
            *(str(files.root() / "stack" / "opensearch" / "Run.java"), str(folder / "opensearch" / "data")),
            *(str(http), str(transport)),
        ),
        environment={},
        ports={"http": http, "transport": transport},
        health=f"http://{HOST}:{http}/_cluster/health?wait_for_status=yellow&timeout=1s",
    )
