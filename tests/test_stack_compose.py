"""The Compose files of the viewing stack: accepted by the real Compose, closed to the outside, pinned, no secrets."""

import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[1]
BASE: Final = ROOT / "docker-compose.yml"
OVERLAYS: Final = sorted(path for path in ROOT.glob("docker-compose.*.yml"))
FILES: Final = [BASE, *OVERLAYS]
STACKS: Final = [[BASE], *([BASE, overlay] for overlay in OVERLAYS)]
COMPOSE: Final = Path(sysconfig.get_path("scripts")) / "docker-compose"

VARIABLE: Final = re.compile(r"(?<!\$)\$\{([A-Z0-9_]+)(?::([-?+])([^}]*))?\}")
SECRET: Final = re.compile("PASSWORD|SECRET|TOKEN|WEBHOOK|_KEY")


def named(paths: Path | Sequence[Path]) -> str:
    """The test's name for one file or a list of them."""
    return "+".join(path.name for path in ([paths] if isinstance(paths, Path) else paths))


def compose(
    stack: Sequence[Path], tmp_path: Path, *arguments: str, settings: str = "GRAFANA_ADMIN_PASSWORD=x\n"
) -> subprocess.CompletedProcess[str]:
    """What the real Compose says of these files, with these settings and nothing of this machine's."""
    (tmp_path / "env").write_text(settings, "utf-8")
    files = [word for path in stack for word in ("-f", str(path))]
    command = [str(COMPOSE), *files, "--env-file", str(tmp_path / "env"), *arguments]
    return subprocess.run(command, env={"HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60)


def services(stack: Sequence[Path], tmp_path: Path) -> dict[str, dict[str, Any]]:
    """Every service as Compose would start it, those of all profiles included."""
    result = compose(stack, tmp_path, "--profile", "*", "config", "--format", "json")
    assert result.stderr == ""
    found: dict[str, dict[str, Any]] = json.loads(result.stdout)["services"]
    return found


def collectors(found: dict[str, dict[str, Any]]) -> list[str]:
    """The services that are OpenTelemetry collectors."""
    return [name for name, service in found.items() if "/opentelemetry-collector" in service["image"]]


@pytest.mark.parametrize("path", FILES, ids=named)
def test_each_file_follows_the_published_schema(path: Path) -> None:
    """As the Compose specification's own JSON schema has it."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    assert subprocess.run(command, capture_output=True, text=True, timeout=60).stdout == "ok -- validation done\n"


@pytest.mark.parametrize("stack", STACKS, ids=named)
@pytest.mark.parametrize("profile", ["", "alerts", "*"], ids=["no profile", "alerts", "every profile"])
def test_compose_accepts_each_combination(stack: list[Path], profile: str, tmp_path: Path) -> None:
    """Unknown keys, missing services and bad values would be named."""
    result = compose(stack, tmp_path, "--profile", profile, "config", "--quiet")
    assert (result.returncode, result.stderr) == (0, "")


@pytest.mark.parametrize("stack", STACKS, ids=named)
@pytest.mark.parametrize("settings", ["", "GRAFANA_ADMIN_PASSWORD=\n"], ids=["absent", "empty"])
def test_nothing_starts_without_a_password(stack: list[Path], settings: str, tmp_path: Path) -> None:
    """And the message says what to do."""
    result = compose(stack, tmp_path, "config", "--quiet", settings=settings)
    assert result.returncode != 0
    assert result.stderr.strip().endswith(
        "required variable GRAFANA_ADMIN_PASSWORD is missing a value: is not set. "
        "Copy .env.example to .env and give it one"
    )


@pytest.mark.parametrize("stack", STACKS, ids=named)
def test_every_port_is_open_to_this_machine_only(stack: list[Path], tmp_path: Path) -> None:
    """Jaeger, Prometheus and OTLP know no passwords, and a published port goes round the firewall."""
    found = [port for service in services(stack, tmp_path).values() for port in service.get("ports", [])]
    assert found
    assert {port.get("host_ip") for port in found} == {"127.0.0.1"}
    published = [port["published"] for port in found]
    assert len(published) == len(set(published))


@pytest.mark.parametrize("stack", STACKS, ids=named)
def test_every_mounted_file_exists(stack: list[Path], tmp_path: Path) -> None:
    """Docker would quietly make an empty folder in its place."""
    mounts = [mount for service in services(stack, tmp_path).values() for mount in service.get("volumes", [])]
    sources = [mount["source"] for mount in mounts if mount["type"] == "bind"]
    assert sources
    assert [source for source in sources if not Path(source).exists()] == []


@pytest.mark.parametrize("path", FILES, ids=named)
def test_every_image_is_a_setting_with_one_exact_version(path: Path) -> None:
    """So that another registry can be used, and the same thing starts tomorrow."""
    images = [
        service["image"]
        for service in yaml.safe_load(path.read_text("utf-8"))["services"].values()
        if "image" in service
    ]
    pinned = re.compile(r"\$\{[A-Z]+_IMAGE:-[a-z0-9./-]+:v?\d+\.\d+\.\d+\}")
    assert [image for image in images if not pinned.fullmatch(image)] == []


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_secret_has_a_default(path: Path) -> None:
    """A password that everybody knows is none."""
    secrets = [found.groups() for found in VARIABLE.finditer(path.read_text("utf-8")) if SECRET.search(found[1])]
    assert [name for name, kind, default in secrets if kind != "?" and default] == []


def test_the_example_lists_every_setting_with_its_default() -> None:
    """And nothing else: .env.example is where people look what can be set."""
    used = {
        found[1]: found[3] if found[2] == "-" else ""
        for path in FILES
        for found in VARIABLE.finditer(path.read_text("utf-8"))
    }
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    found = [match for line in lines if (match := re.fullmatch(r"#?([A-Z0-9_]+)=(.*)", line))]
    listed = {match[1]: match[2] for match in found}
    assert len(listed) == len(found)
    assert listed.pop("COMPOSE_PROFILES") == "alerts"  # read by Compose itself
    assert listed == used


@pytest.mark.parametrize("stack", STACKS, ids=named)
def test_every_service_is_bounded_and_has_few_rights(stack: list[Path], tmp_path: Path) -> None:
    """A viewer must not take the memory, the disk or the rights of the machine it runs on."""
    for name, service in services(stack, tmp_path).items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert int(service["mem_limit"]) <= 1024**3, name
        assert service["cpus"] <= 2, name
        assert service["logging"] == {"driver": "json-file", "options": {"max-file": "2", "max-size": "5m"}}, name


@pytest.mark.parametrize("stack", STACKS, ids=named)
def test_every_service_that_can_is_asked_whether_it_is_well(stack: list[Path], tmp_path: Path) -> None:
    """The collector's image has no shell; the first one's health port is published instead."""
    found = services(stack, tmp_path)
    unasked = {name for name, service in found.items() if "healthcheck" not in service}
    assert unasked == {"volume-permissions", *collectors(found)}
    assert 13133 in [port["target"] for port in found["otel-collector"]["ports"]]
    assert found["volume-permissions"]["restart"] == "no"


@pytest.mark.parametrize("stack", STACKS, ids=named)
def test_folders_that_an_image_lacks_get_their_owner(stack: list[Path], tmp_path: Path) -> None:
    """The collectors' and Jaeger's: their volumes start out as root's, and neither runs as root."""
    found = services(stack, tmp_path)

    def volumes(name: str) -> dict[str, str]:
        return {mount["source"]: mount["target"] for mount in found[name]["volumes"] if mount["type"] == "volume"}

    owned = volumes("volume-permissions")
    assert set(owned) == {source for name in (*collectors(found), "jaeger") for source in volumes(name)}
    assert found["volume-permissions"]["command"] == [f"chown -R 10001:10001 {' '.join(sorted(owned.values()))}"]
    for name in (*collectors(found), "jaeger"):
        assert found[name]["depends_on"]["volume-permissions"]["condition"] == "service_completed_successfully"


def test_alerts_are_a_profile(tmp_path: Path) -> None:
    """Who has no webhook starts no Alertmanager."""
    assert compose([BASE], tmp_path, "config", "--services").stdout.split().count("alertmanager") == 0
    assert services([BASE], tmp_path)["alertmanager"]["profiles"] == ["alerts"]


def test_the_scale_overlay_runs_other_configurations_in_the_same_place(tmp_path: Path) -> None:
    """Jaeger only shows, and Prometheus looks at every collector; nothing else of the two services changes."""
    found = services([BASE, ROOT / "docker-compose.scale.yml"], tmp_path)
    mounted = {
        (name, mount["target"]): Path(mount["source"]).relative_to(ROOT).as_posix()
        for name in ("jaeger", "prometheus")
        for mount in found[name]["volumes"]
        if mount["type"] == "bind"
    }
    assert mounted == {
        ("jaeger", "/etc/jaeger/config.yaml"): "jaeger/query.yaml",
        ("jaeger", "/etc/jaeger/ui.json"): "jaeger/ui.json",
        ("prometheus", "/etc/prometheus/prometheus.yml"): "prometheus/prometheus.yml",
        ("prometheus", "/etc/prometheus/rules"): "prometheus/rules",
        ("prometheus", "/etc/prometheus/targets"): "prometheus/targets-scale",
    }
    targets = json.loads((ROOT / "prometheus" / "targets-scale" / "collector.json").read_text("utf-8"))
    assert targets == [{"targets": [f"{name}:8888" for name in sorted(collectors(found))]}]
    here, single = (
        {path.name for path in (ROOT / "prometheus" / name).iterdir()} for name in ("targets", "targets-scale")
    )
    assert here == single
