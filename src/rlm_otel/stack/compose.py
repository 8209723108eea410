"""Runs the stack with Docker Compose, and says in one line what is wrong when it does not come up."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

from rlm_otel.stack import files
from rlm_otel.stack.local import is_ready
from rlm_otel.stack.problem import StackProblem
from rlm_otel.stack.settings import Ports, read_ports, read_settings

Say = Callable[[str], object]
_WITHOUT: Final = "Or run the programs themselves: rlm-otel up --no-docker"
_UP_S: Final = 300
"""For `up --wait`, once the images are there. Compose itself gives up after it."""
_QUICK_S: Final = 30.0
_COLLECTOR: Final = "otel-collector"
_PORT_TAKEN: Final = re.compile(r"(?:Bind for|listen \w+|exposing port TCP) \S*?:(\d+)(?: failed|: bind| ->)")
_SICK: Final = re.compile(r"container (?:rlm-otel[-_])?([\w-]+?)(?:[-_]\d+)? (is unhealthy|exited \(\d+\))")


@dataclass(frozen=True, slots=True)
class Compose:
    """How Compose is called here, and on which files."""

    command: tuple[str, ...]
    environ: Mapping[str, str]
    env_file: Path


@dataclass(frozen=True, slots=True)
class Container:
    """A service as Compose reports it."""

    service: str
    state: str
    """`running`, `exited`..."""
    health: str
    """`healthy`, `unhealthy`, `starting`; empty where there is no check."""

    @property
    def is_well(self) -> bool:
        """Whether there is nothing to do about it."""
        return self.state == "running" and self.health in ("healthy", "")


def find(environ: Mapping[str, str], env_file: Path) -> Compose:
    """Docker with Compose and a daemon that answers; else a `StackProblem` that says which of them is missing."""
    path = environ.get("PATH", "")
    docker = shutil.which("docker", path=path)
    if not docker:
        raise StackProblem(f"Docker is not installed: there is no `docker` on PATH. {_WITHOUT}")
    answer = _run([docker, "version", "--format", "{{.Server.Version}}"], environ)
    if answer.returncode:
        said = _last_line(answer.stderr)
        if "permission denied" in said.lower():
            raise StackProblem(f"Docker may not be used by this user (is it in the group `docker`?): {said}")
        raise StackProblem(
            f"Docker's daemon does not answer: start it (Docker Desktop, or: sudo systemctl start docker). {_WITHOUT}",
            said,
        )
    if not _run([docker, "compose", "version"], environ).returncode:
        return Compose((docker, "compose"), environ, env_file)
    old = shutil.which("docker-compose", path=path)
    if old and not re.match(r"v?1\.", _run([old, "version", "--short"], environ).stdout):
        return Compose((old,), environ, env_file)
    raise StackProblem(f"Docker is here, but not Compose 2: install its plugin (docker-compose-plugin). {_WITHOUT}")


def up(compose: Compose, say: Say, timeout_s: float = 30.0) -> None:
    """Start everything and return when it is healthy. Pulling the images the first time takes minutes."""
    say("starting the containers (the first time the images are pulled, about 1 GB)")
    command = [*_arguments(compose), "up", "--detach", "--wait", "--wait-timeout", str(_UP_S)]
    code, said = _stream(command, compose, say)
    if code:
        raise _problem(compose, said)
    url = _collector_health(compose)
    deadline = time.monotonic() + timeout_s
    while not is_ready(url):
        if time.monotonic() > deadline:
            last = logs(compose, _COLLECTOR)
            raise StackProblem(f"The collector does not get ready ({url}). Its last lines:", last)
        time.sleep(0.2)


def down(compose: Compose, say: Say, *, volumes: bool = False) -> None:
    """Stop and remove the containers; with `volumes` all they have stored as well."""
    # With the profile, else its containers stay.
    command = [*_arguments(compose), "--profile", "*", "down", "--timeout", "30", *(["--volumes"] if volumes else [])]
    code, said = _stream(command, _with_any_password(compose), say)
    if code:
        raise StackProblem(f"Docker Compose could not stop the stack: {_last_line(said)}")


def status(compose: Compose) -> list[Container]:
    """The containers there are, ended ones too; the one-shot service that prepares the volumes is left out."""
    command = [*_arguments(compose), "--profile", "*", "ps", "--all", "--format", "json"]
    answer = _run(command, _with_any_password(compose).environ)
    if answer.returncode:
        raise StackProblem(f"Docker Compose does not tell what runs: {_last_line(answer.stderr)}")
    text = answer.stdout.strip()
    # One array before Compose 2.21, one object a line since.
    rows = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines() if line]
    found = [Container(row["Service"], row["State"], _health(compose, row)) for row in rows]
    return [one for one in found if not (one.service == "volume-permissions" and one.state == "exited")]


def _health(compose: Compose, row: Mapping[str, str]) -> str:
    if row["Service"] == _COLLECTOR and row["State"] == "running":
        return "healthy" if is_ready(_collector_health(compose)) else "unhealthy"
    return row.get("Health", "")


def _collector_health(compose: Compose) -> str:
    """Where the collector itself is asked: its image has no shell, so that Compose cannot do it."""
    return f"http://127.0.0.1:{ports(compose).otelcol_health_port}/"


def logs(compose: Compose, service: str, lines: int = 12) -> str:
    """The end of what a service has said."""
    asked = ["logs", "--no-color", "--no-log-prefix", "--tail", str(lines), service]
    answer = _run([*_arguments(compose), *asked], _with_any_password(compose).environ)
    return (answer.stdout + answer.stderr).strip()


def ports(compose: Compose) -> Ports:
    """The ports on this machine."""
    return read_ports(read_settings(compose.environ, compose.env_file))


def _arguments(compose: Compose) -> list[str]:
    file = files.root() / files.COMPOSE_FILE
    env_file = ["--env-file", str(compose.env_file)] if compose.env_file.is_file() else []
    return [*compose.command, *env_file, "--file", str(file)]


def _problem(compose: Compose, said: str) -> StackProblem:
    if match := _PORT_TAKEN.search(said):
        port = match[1]
        variables = [name.upper() for name, value in asdict(ports(compose)).items() if str(value) == port]
        return StackProblem(
            f"Port {port} is taken: stop the program that has it (lsof -i :{port} names it; what runs without Docker: "
            f"rlm-otel down), or choose another: {variables[0] if variables else 'its variable'}=NUMBER "
            f"in {compose.env_file}."
        )
    for service, state in _sick(compose, said):
        return StackProblem(f"The service {service} {state}. Its last lines:", logs(compose, service))
    return StackProblem("Docker Compose could not start the stack:", "\n".join(said.strip().splitlines()[-6:]))


def _sick(compose: Compose, said: str) -> list[tuple[str, str]]:
    """The services that kept the stack from coming up, and what is wrong with each."""
    if match := _SICK.search(said):
        return [(match[1], match[2])]
    if "not healthy after" in said:  # the time was up, and no service is named
        return [(one.service, f"is {one.health or one.state}") for one in status(compose) if not one.is_well]
    return []


def _with_any_password(compose: Compose) -> Compose:
    """To stop and to ask, the password is not needed; but without one Compose does not read its file."""
    return replace(compose, environ={"GRAFANA_ADMIN_PASSWORD": "none", **compose.environ})


def _stream(command: Sequence[str], compose: Compose, say: Say) -> tuple[int, str]:
    """Run, passing on what it says line by line; its exit code and all that it said."""
    said: list[str] = []
    with subprocess.Popen(
        command,
        env=dict(compose.environ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    ) as process:
        for line in process.stderr or ():
            said.append(line.rstrip())
            say(f"  {line.strip()}")
    return process.returncode, "\n".join(said)


def _run(
    command: Sequence[str], environ: Mapping[str, str], timeout_s: float = _QUICK_S
) -> "subprocess.CompletedProcess[str]":
    try:
        return subprocess.run(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise StackProblem(f"`{' '.join(command[:3])}` does not answer; restart Docker. {_WITHOUT}") from None


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]
