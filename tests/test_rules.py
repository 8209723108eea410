"""The rules of Prometheus: each alert explains itself, has its line in the runbook, and is tested both ways."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from rlm_otel.stack import binaries

ROOT = Path(__file__).parents[1]
RULES = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))
TESTS = sorted((ROOT / "prometheus" / "tests").glob("*.yml"))


def rules(kind: str) -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def test_the_alerts_are_these() -> None:
    """What a person on call is woken or told for."""
    assert {rule["alert"]: rule["labels"]["severity"] for rule in rules("alert")} == {
        "LLMErrorRatioHigh": "critical",
        "LLMLatencyBurn": "warning",
        "LLMRateLimitStorm": "warning",
        "LLMRateLimitHeadroomLow": "warning",
        "LLMCallStuck": "warning",
        "LLMCostSpike": "warning",
        "LLMTelemetryDropped": "warning",
        "CollectorDroppingData": "warning",
        "TelemetryTargetDown": "warning",
    }


def test_every_alert_says_what_happened_and_where_to_read_on() -> None:
    """Summary, description, and a heading in the runbook."""
    page = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
    headings = {f"docs/runbooks.md#{title.lower()}" for title in re.findall(r"^## (\w+)$", page, re.MULTILINE)}
    for rule in rules("alert"):
        assert sorted(rule["annotations"]) == ["description", "runbook", "summary"]
        assert rule["annotations"]["runbook"] == f"docs/runbooks.md#{rule['alert'].lower()}"
    assert headings == {rule["annotations"]["runbook"] for rule in rules("alert")}


def test_every_recording_is_used() -> None:
    """By an alert: what nobody reads is not recorded."""
    alerts = " ".join(rule["expr"] for rule in rules("alert"))
    assert [rule["record"] for rule in rules("record") if rule["record"] not in alerts] == []


def test_every_alert_is_seen_firing_and_silent() -> None:
    """In promtool's own tests."""
    cases = [
        (case["alertname"], bool(case["exp_alerts"]))
        for path in TESTS
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
        for case in test.get("alert_rule_test", ())
    ]
    assert set(cases) == {(rule["alert"], fires) for rule in rules("alert") for fires in (True, False)}


@pytest.mark.stack
def test_promtool_agrees() -> None:
    """The alerts fire, and do not, as promtool's tests say."""
    found = binaries.provide((binaries.PROMTOOL,), environ=os.environ, folder=None, say=print)
    command = [str(found["promtool"].path), "test", "rules", *map(str, TESTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
