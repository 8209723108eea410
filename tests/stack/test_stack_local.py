"""Programs without Docker: started detached, recognised later, stopped; shown with a small program of our own."""

import os
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rlm_otel.stack import local, processes
from rlm_otel.stack.binaries import Found
from rlm_otel.stack.problem import StackProblem
from rlm_otel.stack.services import HOST, Service
from tests.stack.executables import SERVICE, write_program
from tests.stack.real import free_ports


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The state folder; what a test leaves running is stopped."""
    state = tmp_path / "папка состояния"
    yield state
    for one in local.status(state):
        processes.kill(one.record.process)


def service(folder: Path, name: str = "jaeger", manner: str = "well") -> Service:
    port = free_ports().jaeger_port
    return Service(
        name=name,
        found=Found(write_program(folder.parent / "service", SERVICE), (3, 15, 0)),
        arguments=(str(port), manner),
        environment={},
        ports={"JAEGER_PORT": port},
        health=f"http://{HOST}:{port}/",
    )


def start(folder: Path, *services: Service, timeout_s: float = 20.0) -> list[str]:
    said: list[str] = []
    local.start(services, folder, os.environ, said.append, timeout_s)
    return said


def stop(folder: Path) -> list[str]:
    said: list[str] = []
    local.stop(folder, said.append)
    return said


def states(folder: Path) -> list[tuple[str, str]]:
    return [(one.record.name, one.state) for one in local.status(folder)]


def test_what_was_started_is_told_and_stopped(folder: Path) -> None:
    """In the order of the start, and back; a second start leaves what runs alone."""
    pair = service(folder, "prometheus"), service(folder, "jaeger")
    start(folder, *pair)
    assert states(folder) == [("prometheus", "healthy"), ("jaeger", "healthy")]
    again = start(folder, *pair)
    assert [line.split(" (")[0] for line in again] == ["prometheus runs already", "jaeger runs already"]
    assert stop(folder) == ["jaeger stopped", "prometheus stopped"]
    assert states(folder) == []
    assert stop(folder) == []


def test_a_process_that_died_is_told_with_the_end_of_its_log(folder: Path) -> None:
    """And starts again; the log of the time before is kept beside the new one."""
    one = service(folder)
    start(folder, one)
    record = local.find_record(folder, "jaeger")
    assert record is not None
    processes.kill(record.process)
    (found,) = local.status(folder)
    assert (found.state, found.tail) == ("ended", "starting: well")
    start(folder, one)
    assert states(folder) == [("jaeger", "healthy")]
    assert sorted(path.name for path in (folder / "logs").iterdir()) == ["jaeger.log", "jaeger.log.1"]


def test_a_service_that_ends_at_once_says_why_and_takes_the_others_with_it(folder: Path) -> None:
    """No half of a stack stays."""
    with pytest.raises(StackProblem) as raised:
        start(folder, service(folder, "prometheus"), service(folder, "jaeger", "dies"))
    assert raised.value.msg == f"jaeger ended while it was starting; its log: {folder / 'logs' / 'jaeger.log'}"
    assert raised.value.details == "starting: dies\ncannot read the configuration"
    assert states(folder) == []


def test_a_service_that_does_not_get_ready_is_not_waited_for_without_end(folder: Path) -> None:
    """It is stopped, and its health address is named."""
    one = service(folder, manner="sick")
    with pytest.raises(StackProblem) as raised:
        start(folder, one, timeout_s=0.5)
    assert raised.value.msg == f"jaeger does not get ready ({one.health}); its log: {folder / 'logs' / 'jaeger.log'}"
    assert states(folder) == []


def test_a_taken_port_is_named_before_anything_starts(folder: Path) -> None:
    """With the variable that chooses another."""
    one = service(folder)
    with socket.socket() as other:
        other.bind((HOST, one.ports["JAEGER_PORT"]))
        other.listen()
        with pytest.raises(StackProblem) as raised:
            start(folder, service(folder, "prometheus"), one)
    port = one.ports["JAEGER_PORT"]
    assert raised.value.msg == (
        f"Port {port} for jaeger cannot be had (Address already in use): stop the program that has it (lsof -i :{port}"
        " names it; for the Docker stack: rlm-otel down), or choose another: JAEGER_PORT=NUMBER in .env or the"
        " environment."
    )
    assert not (folder / "logs").exists()


def test_one_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    """After the grace time."""
    program = write_program(tmp_path / "service", SERVICE)
    port = str(free_ports().jaeger_port)
    log = tmp_path / "log"
    process = processes.spawn([program, port, "stubborn"], environ=os.environ, folder=tmp_path, log=log)
    while not local.is_ready(f"http://{HOST}:{port}/"):
        assert processes.is_running(process), log.read_text()
    assert not processes.stop(process, grace_s=0.2)
    assert not processes.is_running(process)


def test_another_process_with_the_same_id_is_left_alone() -> None:
    """Ids are given again after a while: this one is our own."""
    stranger = processes.Process(os.getpid(), "another time")
    assert not processes.is_running(stranger)
    assert processes.stop(stranger)


def test_a_service_with_a_strangers_id_counts_as_ended(folder: Path) -> None:
    """`down` says so and signals nobody."""
    one = service(folder)
    start(folder, one)
    record = local.find_record(folder, "jaeger")
    assert record is not None
    processes.kill(record.process)
    text = (folder / "processes.json").read_text("utf-8")
    (folder / "processes.json").write_text(text.replace(str(record.process.pid), str(os.getpid())), "utf-8")
    assert states(folder) == [("jaeger", "ended")]
    assert stop(folder) == [f"jaeger had ended by itself; its log: {record.log}"]


def test_a_state_file_that_cannot_be_read_is_named(folder: Path) -> None:
    """Instead of a traceback, or of programs that nobody stops."""
    folder.mkdir()
    (folder / "processes.json").write_text("{")
    with pytest.raises(StackProblem) as raised:
        local.status(folder)
    assert raised.value.msg == (
        f"{folder / 'processes.json'} cannot be read: end the programs by hand, then remove the file."
    )
    (folder / "processes.json").unlink()


def test_logs_are_kept_for_three_starts(tmp_path: Path) -> None:
    """The newest is `.1`; an empty one is not worth keeping."""
    log = tmp_path / "log"
    for text in ("1", "2", "3", "4", "5"):
        log.write_text(text)
        processes.rotate(log)
    processes.rotate(log)
    assert {one.name: one.read_text() for one in tmp_path.iterdir()} == {"log.1": "5", "log.2": "4", "log.3": "3"}


def test_preparation_comes_before_each_start(folder: Path) -> None:
    """Prometheus has its configuration laid out by it."""
    calls: list[str] = []
    one = replace(service(folder), prepare=lambda: calls.append("prepared"))
    start(folder, one)
    start(folder, one)
    assert calls == ["prepared"]
