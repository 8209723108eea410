"""Runs the stack's programs without Docker: starts them detached, says how they are, and stops what it started."""

import errno
import json
import os
import socket
import time
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from rlm_otel.stack import files, processes
from rlm_otel.stack.binaries import dotted
from rlm_otel.stack.problem import StackProblem
from rlm_otel.stack.processes import Process
from rlm_otel.stack.services import HOST, Service

Say = Callable[[str], object]
State = Literal["healthy", "unhealthy", "ended"]
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy before this machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is remembered of a started service, so that any later command finds it."""

    name: str
    process: Process
    program: str
    """Path of the file that runs."""
    version: str
    is_ours: bool
    ports: Mapping[str, int]
    health: str
    log: str


@dataclass(frozen=True, slots=True)
class Status:
    """How a service is. `tail` is the end of its log where something is wrong."""

    record: Record
    state: State
    tail: str = ""


def start(
    services: Collection[Service], folder: Path, environ: Mapping[str, str], say: Say, timeout_s: float = 60.0
) -> list[Record]:
    """Start what does not run yet and wait until all is ready; if something does not get ready, stop those again."""
    with files.locked(folder):
        records = {name: one for name, one in _read(folder).items() if processes.is_running(one.process)}
        for name in [one.name for one in services if one.name in records]:
            say(f"{name} runs already (pid {records[name].process.pid})")
        new = [one for one in services if one.name not in records]
        _check_ports(new)
        started: list[Record] = []
        try:
            for service in new:
                started.append(_spawn(service, folder, environ))
                records[service.name] = started[-1]
                _write(folder, records)
            deadline = time.monotonic() + timeout_s
            for record in started:
                _wait_until_ready(record, deadline)
                say(f"{record.name} {record.version} is ready (pid {record.process.pid})")
        except BaseException:
            for record in reversed(started):
                processes.stop(record.process)
                del records[record.name]
            _write(folder, records)
            raise
        return [records[one.name] for one in services]


def stop(folder: Path, say: Say, names: Collection[str] | None = None) -> bool:
    """Stop all that was started (or those of `names`), the last started first; whether there was anything to stop."""
    if not folder.is_dir():
        return False
    with files.locked(folder):
        records = _read(folder)
        chosen = [one for one in reversed(records.values()) if names is None or one.name in names]
        for record in chosen:
            if not processes.is_running(record.process):
                say(f"{record.name} had ended by itself; its log: {record.log}")
            elif processes.stop(record.process):
                say(f"{record.name} stopped")
            else:
                say(f"{record.name} did not end when asked to, and was killed; its log: {record.log}")
            del records[record.name]
            _write(folder, records)
        return bool(chosen)


def status(folder: Path) -> list[Status]:
    """How each started service is, in the order of their start."""
    return [_status(record) for record in _read(folder).values()]


def find_record(folder: Path, name: str) -> Record | None:
    """What is remembered of a service."""
    return _read(folder).get(name)


def is_ready(url: str) -> bool:
    """Whether a health URL answers that all is well, within two seconds."""
    try:
        with _DIRECT.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):  # refused, late, or HTTP 503: urllib's errors are OSErrors
        return False


def _status(record: Record) -> Status:
    log = Path(record.log)
    if not processes.is_running(record.process):
        return Status(record, "ended", processes.tail(log))
    return Status(record, "healthy") if is_ready(record.health) else Status(record, "unhealthy", processes.tail(log))


def _check_ports(services: Collection[Service]) -> None:
    for service in services:
        for variable, port in service.ports.items():
            if why := _why_not(port):
                raise StackProblem(
                    f"Port {port} for {service.name} cannot be had ({why}): stop the program that has it (lsof -i"
                    f" :{port} names it; for the Docker stack: rlm-otel down), or choose another: {variable}=NUMBER in"
                    " .env or the environment."
                )


def _why_not(port: int) -> str:
    """What keeps us from listening on a port; empty if nothing does."""
    with socket.socket() as probe:
        probe.settimeout(2)
        # On macOS one may listen where another does on all addresses, and would take its place.
        if not probe.connect_ex((HOST, port)):
            return os.strerror(errno.EADDRINUSE)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the programs do
        try:
            probe.bind((HOST, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def _spawn(service: Service, folder: Path, environ: Mapping[str, str]) -> Record:
    log = files.make_folder(folder / "logs") / f"{service.name}.log"
    data = files.make_folder(folder / service.name)
    processes.rotate(log)
    service.prepare()
    process = processes.spawn(service.command, environ={**environ, **service.environment}, folder=data, log=log)
    return Record(
        name=service.name,
        process=process,
        program=str(service.found.path.absolute()),
        version=dotted(service.found.version),
        is_ours=service.found.is_ours,
        ports=service.ports,
        health=service.health,
        log=str(log),
    )


def _wait_until_ready(record: Record, deadline: float) -> None:
    while not is_ready(record.health):
        log = Path(record.log)
        if not processes.is_running(record.process):
            raise StackProblem(f"{record.name} ended while it was starting; its log: {log}", processes.tail(log))
        if time.monotonic() > deadline:
            raise StackProblem(
                f"{record.name} does not get ready ({record.health}); its log: {log}", processes.tail(log)
            )
        time.sleep(0.1)


def _read(folder: Path) -> dict[str, Record]:
    path = _file(folder)
    if not path.is_file():
        return {}
    try:
        found: dict[str, dict[str, Any]] = json.loads(path.read_text("utf-8"))
        return {name: Record(**{**one, "process": Process(**one["process"])}) for name, one in found.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise StackProblem(f"{path} cannot be read: end the programs by hand, then remove the file.") from None


def _write(folder: Path, records: Mapping[str, Record]) -> None:
    new = _file(folder).with_suffix(".new")
    new.write_text(json.dumps({name: asdict(one) for name, one in records.items()}, indent=1), "utf-8")
    new.replace(_file(folder))


def _file(folder: Path) -> Path:
    return folder / "processes.json"
