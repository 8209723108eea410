"""Alertmanager without Docker: only where it is asked for, and then never left out in silence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rlm_otel.stack import local
from rlm_otel.stack.binaries import Found
from rlm_otel.stack.problem import StackProblem
from rlm_otel.stack.services import services
from rlm_otel.stack.settings import Ports, wants_alerts
from tests.stack.executables import write_program

ALERTS = {"COMPOSE_PROFILES": "alerts", "ALERT_WEBHOOK_URL": "http://127.0.0.1/тревога"}


@pytest.mark.parametrize(
    ("profiles", "wanted"), [("alerts", True), ("a, alerts", True), ("*", True), ("", False), ("alert", False)]
)
def test_the_profile_of_compose_asks_for_it(profiles: str, wanted: bool) -> None:
    """As Compose reads its variable: names with commas, or all."""
    assert wants_alerts({"COMPOSE_PROFILES": profiles}) is wanted


@pytest.mark.parametrize(("settings", "targets"), [(ALERTS, [{"targets": ["127.0.0.1:7"]}]), ({}, [])])
def test_prometheus_sends_alerts_to_it_only_then(
    tmp_path: Path, settings: dict[str, str], targets: list[object]
) -> None:
    """Else it would complain for ever that nobody is there."""
    found = {"prometheus": Found(Path("prometheus"), (3, 15, 0))}
    services(found, Ports(alertmanager_port=7), tmp_path, settings)["prometheus"].prepare()
    file = tmp_path / "prometheus" / "config" / "targets" / "alertmanager.json"
    assert json.loads(file.read_text()) == targets


def test_without_the_program_it_is_said_before_anything_is_built(tmp_path: Path) -> None:
    """One line, and nothing was written."""
    answer = subprocess.run(
        [sys.executable, "-m", "rlm_otel.stack", "up", "--no-docker", "--dir", str(tmp_path / "state")],
        env={"PATH": "", "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path), "COMPOSE_PROFILES": "alerts"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == (
        "COMPOSE_PROFILES asks for alerts, but there is no alertmanager on PATH or in --binaries: get it (Debian: "
        f"prometheus-alertmanager), or take the profile out of {tmp_path / 'state' / '.env'} or the environment.\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_without_a_webhook_it_says_what_to_set(tmp_path: Path) -> None:
    """In the start script's words, as in Docker."""
    program = write_program(tmp_path / "alertmanager", "raise SystemExit('was started')")
    found = {"alertmanager": Found(program, (0, 25, 0))}
    service = services(found, Ports(), tmp_path / "state", {"COMPOSE_PROFILES": "alerts"})["alertmanager"]
    with pytest.raises(StackProblem) as raised:
        local.start([service], tmp_path / "state", os.environ, print)
    assert raised.value.msg.startswith("alertmanager ended while it was starting")
    assert raised.value.details == (
        "Where shall alerts go? Set ALERT_WEBHOOK_URL in .env, or leave out the profile 'alerts'."
    )
