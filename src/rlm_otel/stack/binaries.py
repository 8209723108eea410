"""Finds the stack's programs: official ones in a given folder or on PATH that are new enough, else our own builds."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rlm_otel.stack import building
from rlm_otel.stack.building import Pins
from rlm_otel.stack.problem import StackProblem

Say = Callable[[str], object]
"""Takes one line for the user."""
Version = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One of the programs: how it is called, and the oldest version that reads our configuration."""

    name: str
    names: tuple[str, ...]
    """File names, the likeliest first."""
    oldest: Version
    version_arguments: tuple[str, ...] = ("--version",)
    pins: Pins | None = None
    """What it is built from; None: it can only be found."""


@dataclass(frozen=True, slots=True)
class Found:
    """A program that can be run."""

    path: Path
    version: Version
    is_ours: bool = False
    """Built from the pins. Jaeger's and Prometheus' own web pages are placeholders in such a build."""


_PROMETHEUS_PINS: Final = Pins(
    folder="prometheus",
    packages=(
        "github.com/prometheus/prometheus/cmd/prometheus",
        "github.com/prometheus/prometheus/cmd/promtool",
    ),
    tags="remove_all_sd,netgo",  # file_sd is no plugin and stays
    version_variable="github.com/prometheus/common/version.Version=3.15.0",
    takes="2 minutes",
)
COLLECTOR: Final = Program(
    name="collector",
    names=("otelcol-contrib", "rlm-otelcol", "otelcol"),
    oldest=(0, 155),  # snake_case names of components
    pins=Pins(folder="collector", packages=(".",), takes="3 minutes"),
)
JAEGER: Final = Program(
    name="jaeger",
    names=("jaeger", "jaeger-linux", "jaeger-darwin"),
    oldest=(2, 13),
    version_arguments=("version",),
    pins=Pins(
        folder="jaeger",
        packages=("github.com/jaegertracing/jaeger/cmd/jaeger",),
        version_variable="github.com/jaegertracing/jaeger/internal/version.latestVersion=v2.13.0",
        takes="3 minutes",
    ),
)
PROMETHEUS: Final = Program(name="prometheus", names=("prometheus",), oldest=(3, 11), pins=_PROMETHEUS_PINS)
PROMTOOL: Final = Program(name="promtool", names=("promtool",), oldest=(3, 11), pins=_PROMETHEUS_PINS)
GRAFANA: Final = Program(name="grafana", names=("grafana",), oldest=(12, 0))
ALERTMANAGER: Final = Program(
    name="alertmanager",
    names=("alertmanager", "prometheus-alertmanager"),  # the latter is Debian's
    oldest=(0, 25),
)


def find(program: Program, folder: Path | None, path: str, say: Say) -> Found | None:
    """The first that is new enough in `folder` (or one below it, as archives unpack), then on `path`; else None.

    `path` is shaped like the variable PATH.
    """
    for candidate in _candidates(program, folder, path):
        version = version_of(candidate, program)
        if version is None:
            say(f"{program.name}: {candidate} is passed over, it does not tell its version")
        elif version < program.oldest:
            say(f"{program.name}: {candidate} is passed over, {dotted(version)} is older than {dotted(program.oldest)}")
        else:
            return Found(candidate, version)
    return None


def provide(
    programs: tuple[Program, ...], *, environ: Mapping[str, str], folder: Path | None, say: Say
) -> dict[str, Found]:
    """Each program by its name, found or built; what cannot be built and is not here is left out.

    Building takes about 8 minutes on two cores the first time, and is kept in the user's cache folder.
    """
    if folder and not folder.is_dir():
        raise StackProblem(f"There is no folder {folder}: give --binaries the folder that holds the programs.")
    found: dict[str, Found] = {}
    missing: list[tuple[Program, Pins]] = []
    for program in programs:
        if one := find(program, folder, environ.get("PATH", ""), say):
            found[program.name] = one
        elif program.pins:
            missing.append((program, program.pins))
    built = building.build([pins for _, pins in missing], environ=environ, say=say)
    for program, pins in missing:
        path = next(path for name in program.names if (path := built[pins.folder] / name).is_file())
        found[program.name] = Found(path, version_of(path, program) or (), is_ours=True)
    return found


def version_of(path: Path, program: Program) -> Version | None:
    """What the program says about itself, such as (3, 15, 0); None when it says nothing of the kind."""
    try:
        answer = subprocess.run(
            [path, *program.version_arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(rb"(\d+)\.(\d+)\.(\d+)", answer.stdout + answer.stderr)
    return tuple(int(part) for part in match.groups()) if match else None


def dotted(version: Version) -> str:
    """`3.15.0`."""
    return ".".join(str(part) for part in version) or "unknown"


def _candidates(program: Program, folder: Path | None, path: str) -> Iterator[Path]:
    for name in program.names:
        if folder:
            for place in (folder, *sorted(one for one in folder.iterdir() if one.is_dir())):
                yield from (one for one in (place / name, place / "bin" / name) if building.is_program(one))
    for name in program.names:
        if one := shutil.which(name, path=path):
            yield Path(one)
