"""The way with Docker: what is called, and one clear line for each thing that can be wrong. Docker is a script here."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlm_otel.stack.local import is_ready
from tests.stack.answers import eventually
from tests.stack.executables import SERVICE, write_program
from tests.stack.real import free_ports

ROOT = Path(__file__).parents[2]
WITHOUT = "Or run the programs themselves: rlm-otel up --no-docker"
# Behaves as its folder's files say, and writes down how it was called.
FAKE_DOCKER = """
import os, sys
from pathlib import Path
here = Path(__file__).parent
arguments = sys.argv[1:]
with open(here / "calls", "a") as calls:
    print(*arguments, file=calls)
words = [one for one in arguments if one in ("version", "up", "down", "ps", "logs")]
key = ("compose-" if "compose" in arguments else "") + words[0]
answer = here / key
if answer.exists():
    print(answer.read_text(), file=sys.stderr)
    sys.exit(1)
if words[0] in ("ps", "logs"):
    print((here / "says" ).read_text() if words[0] == "ps" else "panic: disk full")
"""


class Machine:
    """A machine with a `docker` on PATH; `breaks` makes one of its commands fail with a text."""

    def __init__(self, folder: Path, health_port: int) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.state = folder / "состояние"
        self.state.mkdir()
        self.health_port = health_port
        write_program(self.bin / "docker", FAKE_DOCKER)

    def breaks(self, key: str, said: str) -> None:
        (self.bin / key).write_text(said)

    def runs(self, *rows: dict[str, str]) -> None:
        (self.bin / "says").write_text("\n".join(json.dumps(row) for row in rows))

    def calls(self) -> list[str]:
        """What Compose was asked to do, without the files it was given."""
        lines = (self.bin / "calls").read_text("utf-8").splitlines()
        return [line.partition("docker-compose.yml ")[2] for line in lines if "docker-compose.yml" in line]

    def wait_for_collector(self) -> None:
        """Until something answers at the collector's health port."""
        url = f"http://127.0.0.1:{self.health_port}/"
        assert eventually(lambda: is_ready(url))

    def command(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        environ = {
            "PATH": str(self.bin),
            "HOME": str(self.folder),
            "PYTHONPATH": os.pathsep.join(sys.path),
            "PYTHONUTF8": "1",
            "OTELCOL_HEALTH_PORT": str(self.health_port),
        }
        return subprocess.run(
            [sys.executable, "-m", "rlm_otel.stack", *arguments, "--dir", str(self.state)],
            env=environ,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path, free_ports().otelcol_health_port)


def problem(machine: Machine, *arguments: str) -> list[str]:
    answer = machine.command(*(arguments or ("up",)))
    assert answer.returncode == 1, answer.stdout + answer.stderr
    return answer.stderr.splitlines()


def test_up_makes_a_password_waits_and_shows_where_to_look(machine: Machine, tmp_path: Path) -> None:
    """Also for the collector, whose image has no shell to check itself with."""
    service = write_program(tmp_path / "service", SERVICE)
    with subprocess.Popen([service, str(machine.health_port), "well"], stdout=subprocess.DEVNULL) as collector:
        answer = machine.command("up")
        collector.terminate()
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == [
        f"wrote {machine.state / '.env'} with a random password for Grafana",
        "starting the containers (the first time the images are pulled, about 1 GB)",
        "Send to     http://localhost:4318  (OTLP/HTTP; gRPC: port 4317)",
        f"Grafana     http://localhost:3000  (admin, password in {machine.state / '.env'})",
        "Jaeger      http://localhost:16686",
        "Prometheus  http://localhost:9090",
    ]
    assert machine.calls() == ["up --detach --wait --wait-timeout 300"]


def test_up_with_alerts_shows_alertmanager_too(machine: Machine, tmp_path: Path) -> None:
    """The profile stands in `.env`, where Compose reads it."""
    (machine.state / ".env").write_text("COMPOSE_PROFILES=alerts\nALERTMANAGER_PORT=19093\n")
    service = write_program(tmp_path / "service", SERVICE)
    with subprocess.Popen([service, str(machine.health_port), "well"], stdout=subprocess.DEVNULL) as collector:
        answer = machine.command("up")
        collector.terminate()
    assert answer.stdout.splitlines()[-1] == "Alerts      http://localhost:19093  (Alertmanager)"


def test_without_docker_it_is_said(machine: Machine) -> None:
    """With the way that needs none; nothing was written."""
    (machine.bin / "docker").unlink()
    assert problem(machine) == [f"Docker is not installed: there is no `docker` on PATH. {WITHOUT}"]
    assert list(machine.state.iterdir()) == []


def test_a_daemon_that_does_not_run_is_said(machine: Machine) -> None:
    """Docker's own words come below."""
    machine.breaks("version", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    assert problem(machine) == [
        f"Docker's daemon does not answer: start it (Docker Desktop, or: sudo systemctl start docker). {WITHOUT}",
        "  Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
    ]


def test_a_user_who_may_not_use_docker_is_told_about_the_group(machine: Machine) -> None:
    """Starting the daemon would not help."""
    machine.breaks("version", "permission denied while trying to connect to the docker API")
    assert problem(machine) == [
        "Docker may not be used by this user (is it in the group `docker`?): "
        "permission denied while trying to connect to the docker API"
    ]


def test_docker_without_compose_is_said(machine: Machine) -> None:
    """Compose 1 does not read our file either."""
    machine.breaks("compose-version", "docker: unknown command: docker compose")
    write_program(machine.bin / "docker-compose", "print('1.29.2')")
    assert problem(machine) == [
        f"Docker is here, but not Compose 2: install its plugin (docker-compose-plugin). {WITHOUT}"
    ]


def test_compose_as_a_program_of_its_own_is_used(machine: Machine) -> None:
    """As some distributions have it."""
    machine.breaks("compose-version", "docker: unknown command: docker compose")
    write_program(machine.bin / "docker-compose", "import sys\nprint('v2.40.3' if 'version' in sys.argv else '')")
    answer = machine.command("down")
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize(
    "said",
    [
        "Error response from daemon: driver failed programming external connectivity on endpoint rlm-otel-grafana-1: "
        "Bind for 127.0.0.1:3000 failed: port is already allocated",
        "Error response from daemon: failed to set up container networking: driver failed programming external "
        "connectivity: failed to bind host port for 127.0.0.1:3000:172.18.0.4:3000/tcp: listen tcp4 127.0.0.1:3000: "
        "bind: address already in use",
        "Error response from daemon: Ports are not available: exposing port TCP 127.0.0.1:3000 -> 127.0.0.1:0: listen "
        "tcp 127.0.0.1:3000: bind: Only one usage of each socket address is normally permitted.",
    ],
)
def test_a_taken_port_is_named_with_its_variable(machine: Machine, said: str) -> None:
    """In the words of Docker before 28, since 28, and of Docker Desktop."""
    machine.breaks("compose-up", said)
    assert problem(machine) == [
        "Port 3000 is taken: stop the program that has it (lsof -i :3000 names it; what runs without Docker: rlm-otel"
        f" down), or choose another: GRAFANA_PORT=NUMBER in {machine.state / '.env'}."
    ]


def test_an_unhealthy_service_is_named_with_the_end_of_its_log(machine: Machine) -> None:
    """Which is where the reason is."""
    machine.breaks("compose-up", "dependency failed to start: container rlm-otel-jaeger-1 is unhealthy")
    assert problem(machine) == ["The service jaeger is unhealthy. Its last lines:", "  panic: disk full"]


def test_a_service_that_ended_is_named(machine: Machine) -> None:
    """`up --wait` says so with the exit code."""
    machine.breaks("compose-up", "container rlm-otel-otel-collector-1 exited (1)")
    assert problem(machine)[0] == "The service otel-collector exited (1). Its last lines:"


def test_a_service_that_is_still_starting_when_the_time_is_up_is_named(machine: Machine) -> None:
    """Compose itself does not say which one it was."""
    machine.breaks("compose-up", "application not healthy after 5m0s")
    machine.runs(
        {"Service": "prometheus", "State": "running", "Health": "healthy"},
        {"Service": "jaeger", "State": "running", "Health": "starting"},
    )
    assert problem(machine) == ["The service jaeger is starting. Its last lines:", "  panic: disk full"]


def test_any_other_failure_is_passed_on(machine: Machine) -> None:
    """Docker's last lines say more than we could guess."""
    machine.breaks("compose-up", "failed to resolve reference: dial tcp: no such host")
    assert problem(machine) == [
        "Docker Compose could not start the stack:",
        "  failed to resolve reference: dial tcp: no such host",
    ]


def test_status_tells_each_container(machine: Machine, tmp_path: Path) -> None:
    """Exit code 1 as long as one is not well, with the end of its log; the one-shot service is left out."""
    service = write_program(tmp_path / "service", SERVICE)
    machine.runs(
        {"Service": "jaeger", "State": "running", "Health": "healthy"},
        {"Service": "otel-collector", "State": "running", "Health": ""},
        {"Service": "volume-permissions", "State": "exited", "Health": ""},
    )
    with subprocess.Popen([service, str(machine.health_port), "well"], stdout=subprocess.DEVNULL) as collector:
        machine.wait_for_collector()
        answer = machine.command("status")
        collector.terminate()
    assert (answer.returncode, answer.stdout.splitlines()) == (
        0,
        ["jaeger         healthy    (Docker)", "otel-collector healthy    (Docker)"],
    )
    machine.runs({"Service": "grafana", "State": "exited", "Health": ""})
    answer = machine.command("status")
    assert (answer.returncode, answer.stdout.splitlines()) == (
        1,
        ["grafana        exited     (Docker)", "grafana: its last lines:", "panic: disk full"],
    )


def test_status_asks_the_collector_itself(machine: Machine) -> None:
    """Its container runs, but nobody answers at its health port: Compose cannot know that."""
    machine.runs({"Service": "otel-collector", "State": "running", "Health": ""})
    answer = machine.command("status")
    assert (answer.returncode, answer.stdout.splitlines()) == (
        1,
        ["otel-collector unhealthy  (Docker)", "otel-collector: its last lines:", "panic: disk full"],
    )


def test_status_of_nothing_says_how_to_start(machine: Machine) -> None:
    """Or why Docker could not even be asked."""
    machine.runs()
    assert machine.command("status").stdout == "Nothing runs. Start it: rlm-otel up\n"
    (machine.bin / "docker").unlink()
    assert machine.command("status").stdout.startswith("Docker is not installed")


def test_down_keeps_what_is_stored_and_reset_does_not(machine: Machine) -> None:
    """Both without a password at hand; reset asks first."""
    assert machine.command("down").returncode == 0
    assert machine.command("reset").returncode == 1
    assert machine.command("reset", "--yes").returncode == 0
    assert machine.calls() == [
        "--profile * down --timeout 30",
        "--profile * down --timeout 30 --volumes",
    ]
