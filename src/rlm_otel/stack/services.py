"""What each program is run with outside Docker: Docker's own configuration files, and what differs on one machine."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from rlm_otel.stack import files
from rlm_otel.stack.binaries import Found
from rlm_otel.stack.settings import Ports, wants_alerts

HOST: Final = "127.0.0.1"
"""Nothing but this machine reaches the stack: Jaeger, Prometheus and OTLP know no passwords."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One program, ready to be started."""

    name: str
    found: Found
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    """Added to the user's."""
    ports: Mapping[str, int]
    """By the variable that sets each."""
    health: str
    """URL that answers 200 when it is ready."""
    start_script: Path | None = None
    """A shell script that becomes the program; else the program is run by itself."""
    prepare: Callable[[], None] = lambda: None
    """Called before it is started."""

    @property
    def command(self) -> tuple[str, ...]:
        """What is executed."""
        program = ("/bin/sh", str(self.start_script)) if self.start_script else (str(self.found.path.absolute()),)
        return (*program, *self.arguments)


def services(found: Mapping[str, Found], ports: Ports, folder: Path, settings: Mapping[str, str]) -> dict[str, Service]:
    """The services that can be run, by name, in the order of their start. `folder` takes their data."""
    makers = {
        "alertmanager": _alertmanager,
        "prometheus": _prometheus,
        "jaeger": _jaeger,
        "collector": _collector,
        "grafana": _grafana,
    }
    return {name: make(found[name], ports, folder, settings) for name, make in makers.items() if name in found}


def _collector(found: Found, ports: Ports, folder: Path, settings: Mapping[str, str]) -> Service:
    data = folder / "collector"
    return Service(
        name="collector",
        found=found,
        arguments=("--config", str(files.root() / "collector" / "config.yaml")),
        environment={
            "OTELCOL_OTLP_GRPC": f"{HOST}:{ports.otlp_grpc_port}",
            "OTELCOL_OTLP_HTTP": f"{HOST}:{ports.otlp_http_port}",
            "OTELCOL_HEALTH": f"{HOST}:{ports.otelcol_health_port}",
            "OTELCOL_METRICS_HOST": HOST,
            "OTELCOL_METRICS_PORT": str(ports.otelcol_metrics_port),
            "OTELCOL_QUEUE_DIR": str(data / "queue"),
            "OTELCOL_LOGS_DIR": str(data / "logs"),
            "JAEGER_OTLP": f"{HOST}:{ports.jaeger_otlp_grpc_port}",
            "PROMETHEUS_URL": f"http://{HOST}:{ports.prometheus_port}",
            "GOMEMLIMIT": "400MiB",
            **_chosen(settings, "OTELCOL_SPAN_METRICS_INTERVAL"),
        },
        ports=_ports(ports, "otlp_grpc_port", "otlp_http_port", "otelcol_health_port", "otelcol_metrics_port"),
        health=f"http://{HOST}:{ports.otelcol_health_port}/",
    )


def _jaeger(found: Found, ports: Ports, folder: Path, settings: Mapping[str, str]) -> Service:
    shipped = files.root() / "jaeger"
    return Service(
        name="jaeger",
        found=found,
        arguments=("--config", str(shipped / "config.yaml")),
        environment={
            "JAEGER_HTTP": f"{HOST}:{ports.jaeger_port}",
            "JAEGER_GRPC": f"{HOST}:{ports.jaeger_grpc_port}",
            "JAEGER_OTLP_GRPC": f"{HOST}:{ports.jaeger_otlp_grpc_port}",
            "JAEGER_OTLP_HTTP": f"{HOST}:{ports.jaeger_otlp_http_port}",
            "JAEGER_HEALTH": f"{HOST}:{ports.jaeger_health_port}",
            "JAEGER_METRICS_HOST": HOST,
            "JAEGER_METRICS_PORT": str(ports.jaeger_metrics_port),
            "JAEGER_DATA_DIR": str(folder / "jaeger" / "badger"),
            "JAEGER_UI_CONFIG": str(shipped / "ui.json"),
            "PROMETHEUS_URL": f"http://{HOST}:{ports.prometheus_port}",
            "GOMEMLIMIT": "900MiB",
            **_chosen(settings, "TRACE_TTL"),
        },
        ports=_ports(
            ports,
            "jaeger_port",
            "jaeger_grpc_port",
            "jaeger_otlp_grpc_port",
            "jaeger_otlp_http_port",
            "jaeger_health_port",
            "jaeger_metrics_port",
        ),
        health=f"http://{HOST}:{ports.jaeger_health_port}/status",
    )


def _prometheus(found: Found, ports: Ports, folder: Path, settings: Mapping[str, str]) -> Service:
    config = folder / "prometheus" / "config"
    return Service(
        name="prometheus",
        found=found,
        arguments=(
            f"--config.file={config / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'prometheus' / 'data'}",
            f"--web.listen-address={HOST}:{ports.prometheus_port}",
            f"--web.external-url=http://localhost:{ports.prometheus_port}/",
            "--web.enable-otlp-receiver",
            "--enable-feature=exemplar-storage",
        ),
        environment={},
        ports=_ports(ports, "prometheus_port"),
        health=f"http://{HOST}:{ports.prometheus_port}/-/ready",
        prepare=partial(_lay_out_prometheus, config, ports, settings),
    )


def _lay_out_prometheus(folder: Path, ports: Ports, settings: Mapping[str, str]) -> None:
    """Copy its configuration into `folder`: it expands no variables, and looks for its targets beside the file."""
    source = files.root() / "prometheus"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source / "rules", folder / "rules")
    lines = (source / "prometheus.yml").read_text("utf-8").splitlines()
    for name in ("scrape_interval", "evaluation_interval"):
        if chosen := settings.get(f"PROMETHEUS_{name.upper()}"):
            lines = [f"  {name}: {chosen}" if line.startswith(f"  {name}: ") else line for line in lines]
    (folder / "prometheus.yml").write_text("\n".join(lines) + "\n", "utf-8")
    (folder / "targets").mkdir()
    here = {
        "collector": ports.otelcol_metrics_port,
        "jaeger": ports.jaeger_metrics_port,
        "prometheus": ports.prometheus_port,
        **({"alertmanager": ports.alertmanager_port} if wants_alerts(settings) else {}),
    }
    for path in (source / "targets").iterdir():
        port = here.get(path.stem)  # an Alertmanager that nobody asked for does not run
        (folder / "targets" / path.name).write_text(json.dumps([{"targets": [f"{HOST}:{port}"]}] if port else []))


def _alertmanager(found: Found, ports: Ports, folder: Path, settings: Mapping[str, str]) -> Service:
    data = folder / "alertmanager"
    return Service(
        name="alertmanager",
        found=found,
        start_script=files.root() / "alertmanager" / "start.sh",
        arguments=(f"--web.listen-address={HOST}:{ports.alertmanager_port}",),
        environment={
            "ALERTMANAGER": str(found.path.absolute()),
            "ALERTMANAGER_CONFIG": str(data / "alertmanager.yml"),
            "ALERTMANAGER_DATA_DIR": str(data / "data"),
            "ALERTMANAGER_PUBLIC_URL": f"http://localhost:{ports.alertmanager_port}/",
            "ALERT_WEBHOOK_URL": settings.get("ALERT_WEBHOOK_URL", ""),
        },
        ports=_ports(ports, "alertmanager_port"),
        health=f"http://{HOST}:{ports.alertmanager_port}/-/ready",
    )


def _grafana(found: Found, ports: Ports, folder: Path, settings: Mapping[str, str]) -> Service:
    shipped, data = files.root() / "grafana", folder / "grafana"
    home = found.path.resolve().parents[1]  # as archives unpack: HOME/bin/grafana
    packaged = Path("/usr/share/grafana")
    return Service(
        name="grafana",
        found=found,
        arguments=("server", "--homepath", str(packaged if not (home / "conf").is_dir() else home)),
        environment={
            "GF_SERVER_HTTP_ADDR": HOST,
            "GF_SERVER_HTTP_PORT": str(ports.grafana_port),
            "GF_PATHS_DATA": str(data / "data"),
            "GF_PATHS_LOGS": str(data / "logs"),
            "GF_PATHS_PLUGINS": str(data / "plugins"),
            "GF_PATHS_PROVISIONING": str(shipped / "provisioning"),
            "GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH": str(shipped / "dashboards" / "llm-overview.json"),
            "GF_SECURITY_ADMIN_PASSWORD": settings["GRAFANA_ADMIN_PASSWORD"],
            "GF_USERS_ALLOW_SIGN_UP": "false",
            "GF_AUTH_ANONYMOUS_ENABLED": settings.get("GRAFANA_ANONYMOUS", "true"),
            "GF_AUTH_ANONYMOUS_ORG_ROLE": "Viewer",
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
            "GF_NEWS_NEWS_FEED_ENABLED": "false",
            "GF_PLUGINS_PREINSTALL_AUTO_UPDATE": "false",
            "GF_PLUGINS_PREINSTALL_DISABLED": "true",
            "GF_PLUGINS_PLUGIN_ADMIN_ENABLED": "false",
            "PROMETHEUS_URL": f"http://{HOST}:{ports.prometheus_port}",
            "JAEGER_URL": f"http://{HOST}:{ports.jaeger_port}",
            "JAEGER_PUBLIC_URL": f"http://localhost:{ports.jaeger_port}",
            "DASHBOARDS_PATH": str(shipped / "dashboards"),
        },
        ports=_ports(ports, "grafana_port"),
        health=f"http://{HOST}:{ports.grafana_port}/api/health",
    )


def _chosen(settings: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: settings[name] for name in names if settings.get(name)}


def _ports(ports: Ports, *names: str) -> dict[str, int]:
    return {name.upper(): getattr(ports, name) for name in names}
