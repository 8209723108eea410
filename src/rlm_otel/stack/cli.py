"""The commands of the viewing stack: `rlm-otel up`, `down`, `status` and `reset`, with Docker or without."""

import os
import shutil
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Final, ParamSpec

import click

from rlm_otel.stack import binaries, compose, files, local, services
from rlm_otel.stack.binaries import Found, Program
from rlm_otel.stack.local import Status
from rlm_otel.stack.problem import StackProblem
from rlm_otel.stack.settings import Ports, read_ports, read_settings, wants_alerts, write_env

P = ParamSpec("P")
_PROGRAMS: Final = (
    binaries.PROMETHEUS,
    binaries.PROMTOOL,
    binaries.JAEGER,
    binaries.COLLECTOR,
    binaries.GRAFANA,
)
_FOLDER: Final = click.Path(file_okay=False, path_type=Path)
_no_docker = click.option("--no-docker", is_flag=True, help="Only the programs themselves; do not ask Docker.")
_dir = click.option("--dir", "folder", type=_FOLDER, help="Where .env, data and logs lie; else a folder of the user's.")
_binaries = click.option(
    "--binaries",
    "programs",
    type=_FOLDER,
    help="Look here first for otelcol-contrib, jaeger, prometheus, grafana, alertmanager.",
)


def _plainly(command: Callable[P, None]) -> Callable[P, None]:
    """End with one line, and what a log says below it, where the stack has a problem."""

    @wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except StackProblem as problem:
            click.echo(problem.msg, err=True)
            if problem.details:
                click.echo("\n".join(f"  {line}" for line in problem.details.splitlines()), err=True)
            sys.exit(1)

    return run


@click.command()
@_no_docker
@_dir
@_binaries
@_plainly
def up(no_docker: bool, folder: Path | None, programs: Path | None) -> None:
    """Start the viewing stack: collector, Jaeger, Prometheus and Grafana.

    With Docker Compose. With --no-docker as plain programs: official ones from --binaries or PATH, else built from
    Go modules (about 8 minutes, once; Grafana only if it is there).
    """
    env_file = _env_file(folder)
    if no_docker or programs:
        _up_without_docker(_state(folder), env_file, programs)
        return
    engine = compose.find(os.environ, env_file)
    _make_password(env_file)
    compose.up(engine, click.echo)
    names = {"grafana", "alertmanager"} if wants_alerts(read_settings(os.environ, env_file)) else {"grafana"}
    _show_links(compose.ports(engine), names, env_file)


@click.command()
@_no_docker
@_dir
@_plainly
def down(no_docker: bool, folder: Path | None) -> None:
    """Stop the viewing stack, whichever way it was started. What it has stored stays."""
    stopped = local.stop(_state(folder), click.echo)
    engine, why_not = _engine(no_docker, folder)
    if engine:
        compose.down(engine, click.echo)
    elif not stopped:
        click.echo(f"Nothing runs without Docker. {why_not}")


@click.command()
@_no_docker
@_dir
@_plainly
def status(no_docker: bool, folder: Path | None) -> None:
    """Say what runs, where, and what is wrong; exit code 0 only if something runs and all of it is well."""
    found = local.status(_state(folder))
    for one in found:
        _show_status(one)
    engine, why_not = _engine(no_docker, folder)
    containers = compose.status(engine) if engine else []
    for container in containers:
        click.echo(f"{container.service:<14} {container.health or container.state:<10} (Docker)")
    if engine:
        for container in [one for one in containers if not one.is_well]:
            click.echo(f"{container.service}: its last lines:\n{compose.logs(engine, container.service)}")
    if not (found or containers):
        click.echo(why_not or "Nothing runs. Start it: rlm-otel up")
    well = [one.state == "healthy" for one in found] + [one.is_well for one in containers]
    sys.exit(0 if well and all(well) else 1)


@click.command()
@_no_docker
@_dir
@click.option("--yes", is_flag=True, help="Do not ask.")
@_plainly
def reset(no_docker: bool, folder: Path | None, yes: bool) -> None:
    """Stop the viewing stack and throw away all traces and metrics it has stored."""
    if not yes:
        click.confirm("Throw away all stored traces, metrics and Grafana's own changes?", abort=True)
    state = _state(folder)
    local.stop(state, click.echo)
    for name in ("collector", "jaeger", "prometheus", "grafana", "alertmanager", "logs"):
        shutil.rmtree(state / name, ignore_errors=True)
    engine, _ = _engine(no_docker, folder)
    if engine:
        compose.down(engine, click.echo, volumes=True)
    click.echo("all that was stored is gone")


@click.command(name="binaries")
@_binaries
@_plainly
def show_binaries(programs: Path | None) -> None:
    """Find or build the programs for `up --no-docker`, and say where they are."""
    for name, one in _provide(programs).items():
        click.echo(f"{name:<11} {binaries.dotted(one.version):<8} {one.path}")


@click.group()
def main() -> None:
    """The viewing stack of rlm-otel."""


for _command in (up, down, status, reset, show_binaries):
    main.add_command(_command)


def _up_without_docker(state: Path, env_file: Path, programs: Path | None) -> None:
    settings = read_settings(os.environ, env_file)
    ports = read_ports(settings)
    # First: it is the only one that cannot be built, and building takes long.
    found = _provide(programs, (binaries.ALERTMANAGER,)) if wants_alerts(settings) else {}
    if wants_alerts(settings) and not found:
        raise StackProblem(
            "COMPOSE_PROFILES asks for alerts, but there is no alertmanager on PATH or in --binaries: get it "
            f"(Debian: prometheus-alertmanager), or take the profile out of {env_file} or the environment."
        )
    found |= _provide(programs)
    if "grafana" in found:
        _make_password(env_file)
        settings = read_settings(os.environ, env_file)
    else:
        click.echo("grafana: there is none on PATH or in --binaries, so no dashboards (rlm-otel cost, rlm-otel traces)")
    records = local.start(services.services(found, ports, state, settings).values(), state, os.environ, click.echo)
    _show_links(ports, {one.name for one in records}, env_file)
    ours = sorted(one.name for one in records if one.is_ours and one.name != "collector")
    if ours:
        click.echo(f"Built here from Go modules and so without web pages, APIs only: {', '.join(ours)}")
    click.echo(f"Logs        {state / 'logs'}")


def _make_password(env_file: Path) -> None:
    if write_env(env_file):
        click.echo(f"wrote {env_file} with a random password for Grafana")


def _provide(folder: Path | None, programs: tuple[Program, ...] = _PROGRAMS) -> dict[str, Found]:
    return binaries.provide(programs, environ=os.environ, folder=folder, say=click.echo)


def _show_links(ports: Ports, names: set[str], env_file: Path) -> None:
    click.echo(f"Send to     http://localhost:{ports.otlp_http_port}  (OTLP/HTTP; gRPC: port {ports.otlp_grpc_port})")
    if "grafana" in names:
        click.echo(f"Grafana     http://localhost:{ports.grafana_port}  (admin, password in {env_file})")
    click.echo(f"Jaeger      http://localhost:{ports.jaeger_port}")
    click.echo(f"Prometheus  http://localhost:{ports.prometheus_port}")
    if "alertmanager" in names:
        click.echo(f"Alerts      http://localhost:{ports.alertmanager_port}  (Alertmanager)")


def _show_status(one: Status) -> None:
    record = one.record
    ports = ", ".join(f"{name.removesuffix('_PORT').lower()} {port}" for name, port in record.ports.items())
    click.echo(f"{record.name:<14} {one.state:<10} {record.version:<8} pid {record.process.pid}  {ports}")
    if one.tail:
        click.echo(f"  the end of {record.log}:")
        click.echo("\n".join(f"  {line}" for line in one.tail.splitlines()))


def _engine(no_docker: bool, folder: Path | None) -> tuple[compose.Compose | None, str]:
    """Docker, if it is to be asked and is there; else why not."""
    if no_docker:
        return None, ""
    try:
        return compose.find(os.environ, _env_file(folder)), ""
    except StackProblem as problem:
        return None, problem.msg


def _state(folder: Path | None) -> Path:
    return (folder or files.state_folder(os.environ)).absolute()


def _env_file(folder: Path | None) -> Path:
    """Beside docker-compose.yml in a checkout, as Compose itself looks for it; else with what the stack stores."""
    return (folder or files.checkout() or files.state_folder(os.environ)).absolute() / ".env"
