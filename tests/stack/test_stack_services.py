"""Without Docker the same configuration files are used: the variables that we set are those that the files ask for."""

import json
import re
from pathlib import Path

import pytest

from rlm_otel.stack.binaries import Found
from rlm_otel.stack.services import Service, services
from rlm_otel.stack.settings import Ports

ROOT = Path(__file__).parents[2]
FOUND = {
    name: Found(Path(name), (1, 0, 0)) for name in ("grafana", "collector", "jaeger", "prometheus", "alertmanager")
}
SETTINGS = {
    "GRAFANA_ADMIN_PASSWORD": "x",
    "TRACE_TTL": "24h",
    "OTELCOL_SPAN_METRICS_INTERVAL": "1s",
    "PROMETHEUS_SCRAPE_INTERVAL": "1s",
}
VARIABLE = re.compile(r"\$\{env:(\w+):-([^}]*)\}")


def made(folder: Path, ports: Ports | None = None) -> dict[str, Service]:
    return services(FOUND, ports or Ports(), folder, SETTINGS)


def test_they_start_in_the_order_of_their_need(tmp_path: Path) -> None:
    """What receives comes before what sends."""
    assert list(made(tmp_path)) == ["alertmanager", "prometheus", "jaeger", "collector", "grafana"]
    assert list(services({"jaeger": FOUND["jaeger"]}, Ports(), tmp_path, {})) == ["jaeger"]


@pytest.mark.parametrize("name", ["collector", "jaeger"])
def test_every_variable_of_the_configuration_is_set_and_no_other(name: str, tmp_path: Path) -> None:
    """A new one in the file would otherwise point at a container that is not there."""
    asked = {match[1] for match in VARIABLE.finditer((ROOT / name / "config.yaml").read_text("utf-8"))}
    assert set(made(tmp_path)[name].environment) - {"GOMEMLIMIT"} == asked


def test_all_listen_on_this_machine_only(tmp_path: Path) -> None:
    """None of them knows passwords."""
    found = made(tmp_path)
    values = [value for one in found.values() for value in (*one.environment.values(), *one.arguments)]
    assert [value for value in values if "0.0.0.0" in value] == []
    assert found["grafana"].environment["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"
    assert "--web.listen-address=127.0.0.1:9090" in found["prometheus"].arguments


def test_no_two_want_the_same_port(tmp_path: Path) -> None:
    """In Docker the collector and Jaeger have four in common."""
    ports = [port for one in made(tmp_path).values() for port in one.ports.values()]
    assert sorted(set(ports)) == sorted(ports)


def test_prometheus_has_the_flags_that_docker_gives_it(tmp_path: Path) -> None:
    """But for where things lie."""
    shipped = re.findall(r"- (--(?:web|enable)[\w.-]*)", (ROOT / "docker-compose.yml").read_text("utf-8"))
    given = [argument.partition("=")[0] for argument in made(tmp_path)["prometheus"].arguments]
    assert set(shipped) <= set(given)


def test_prometheus_gets_the_shipped_configuration_and_its_own_targets(tmp_path: Path) -> None:
    """Only the targets differ, and intervals if they were chosen."""
    made(tmp_path, Ports(jaeger_metrics_port=7)).pop("prometheus").prepare()
    copy = tmp_path / "prometheus" / "config"
    shipped = (ROOT / "prometheus" / "prometheus.yml").read_text("utf-8")
    assert (copy / "prometheus.yml").read_text("utf-8") == shipped.replace(
        "scrape_interval: 15s", "scrape_interval: 1s"
    )
    rules = sorted(path.name for path in (ROOT / "prometheus" / "rules").iterdir())
    assert sorted(path.name for path in (copy / "rules").iterdir()) == rules
    targets = {path.stem: json.loads(path.read_text()) for path in (copy / "targets").iterdir()}
    assert targets == {
        "alertmanager": [],
        "collector": [{"targets": ["127.0.0.1:8888"]}],
        "jaeger": [{"targets": ["127.0.0.1:7"]}],
        "prometheus": [{"targets": ["127.0.0.1:9090"]}],
    }


def test_grafana_has_the_settings_that_docker_gives_it(tmp_path: Path) -> None:
    """Names only: the values are hosts and paths."""
    shipped = (ROOT / "docker-compose.yml").read_text("utf-8").partition("  grafana:\n")[2].partition("    volumes:")[0]
    names = set(re.findall(r"^      ([A-Z_]+): ", shipped, re.MULTILINE)) - {"GF_SECURITY_ADMIN_USER"}
    assert "GF_SECURITY_ADMIN_PASSWORD" in names
    assert names <= set(made(tmp_path)["grafana"].environment)
