"""The real programs start with the shipped configurations, survive a crash of one, and end cleanly."""

import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.stack.real import RealStack, free_ports

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("name", ["collector", "jaeger", "prometheus"])
def test_a_killed_program_is_seen_as_ended_and_starts_again(stack: RealStack, name: str) -> None:
    """With the data that it left behind in the middle of its work; the others do not notice."""
    stack.kill(name)
    states = {other: stack.state(other) for other in ("collector", "jaeger", "prometheus")}
    assert states == {"collector": "healthy", "jaeger": "healthy", "prometheus": "healthy", name: "ended"}
    stack.start(name)
    assert stack.state(name) == "healthy"


def test_the_programs_accept_the_shipped_configurations(stack: RealStack) -> None:
    """Their own checks say so, of the files as Docker gets them."""
    root = Path(__file__).parents[2]
    collector, jaeger = (stack.found[name].path for name in ("collector", "jaeger"))
    merged = ["config.yaml", "config.yaml front.yaml", "config.yaml kafka.yaml", "kafka.yaml gateway.yaml"]
    commands: list[list[str | Path]] = [
        [collector, "validate", *(f"--config={root / 'collector' / name}" for name in names.split())]
        for names in merged
    ]
    commands += [
        [jaeger, "validate", f"--config={root / 'jaeger' / name}"]
        for name in ("config.yaml", "ingester.yaml", "query.yaml")
    ]
    commands.append([stack.promtool, "check", "config", root / "prometheus" / "prometheus.yml"])
    environ = {**os.environ, "JAEGER_UI_CONFIG": str(root / "jaeger" / "ui.json")}
    for command in commands:
        answer = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert answer.returncode == 0, answer.stdout + answer.stderr


def test_the_command_starts_tells_and_stops(tmp_path: Path) -> None:
    """`up --no-docker`, `status`, `down`, `reset`, each in a process of its own; a second `up` finds all running.

    With the profile for alerts: Alertmanager is started by its script, which becomes the program.
    """
    settings = {name.upper(): str(port) for name, port in asdict(free_ports()).items()}
    settings |= {"COMPOSE_PROFILES": "alerts", "ALERT_WEBHOOK_URL": "http://127.0.0.1/nobody"}

    def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "rlm_otel.stack", *arguments, "--no-docker", "--dir", str(tmp_path)],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )

    try:
        assert "collector 0." in command("up").stdout
        assert "collector runs already" in command("up").stdout
        told = command("status")
        assert [line.split()[:2] for line in told.stdout.splitlines()] == [
            ["alertmanager", "healthy"],
            ["prometheus", "healthy"],
            ["jaeger", "healthy"],
            ["collector", "healthy"],
        ]
        assert told.returncode == 0
    finally:
        stopped = command("down")
    assert stopped.stdout == "collector stopped\njaeger stopped\nprometheus stopped\nalertmanager stopped\n"
    assert command("status").returncode == 1
    stored = {"alertmanager", "collector", "jaeger", "logs", "prometheus"}
    assert stored <= {path.name for path in tmp_path.iterdir()}
    assert command("reset", "--yes").stdout == "all that was stored is gone\n"
    assert stored.isdisjoint(path.name for path in tmp_path.iterdir())
