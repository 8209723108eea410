"""An alert goes all the way: a measurement, Prometheus' shipped rule, the real Alertmanager, a webhook."""

import json
from urllib.request import urlopen

import pytest

from tests.stack.answers import Answers, eventually
from tests.stack.bad_day import open_too_many
from tests.stack.real import RealStack
from tests.stack.webhook import PATH_ON_THE_WIRE
from tests.stack.workloads import ENVIRONMENT

pytestmark = pytest.mark.stack

SERVICE = "forgetful"
MISSING = "there is no alertmanager on PATH: `make alertmanager` says what to do"


def test_a_firing_alert_reaches_the_webhook_with_its_runbook(stack: RealStack, answers: Answers) -> None:
    """With the text that a person reads, at the address exactly as it stood in the setting."""
    assert "alertmanager" in stack.found, MISSING
    open_too_many(stack, SERVICE)
    assert eventually(lambda: answers.at(f'ALERTS{{alertname="LLMTelemetryDropped", service_name="{SERVICE}"}}'))
    # Alertmanager waits half a minute for others of the same kind.
    posted = eventually(lambda: stack.webhook.alerts(SERVICE), timeout_s=60)
    assert [(alert["status"], alert["labels"]["alertname"], alert["labels"]["severity"]) for alert in posted] == [
        ("firing", "LLMTelemetryDropped", "warning")
    ]
    (alert,) = posted
    assert alert["labels"]["deployment_environment_name"] == ENVIRONMENT
    assert alert["annotations"]["summary"] == f"{SERVICE} drops telemetry: {alert['labels']['rlm_reason']}"
    assert alert["annotations"]["runbook"] == "docs/runbooks.md#llmtelemetrydropped"
    assert {path for path, _ in stack.webhook.posts} == {PATH_ON_THE_WIRE}


def test_prometheus_knows_alertmanager_and_nothing_but_it(stack: RealStack, answers: Answers) -> None:
    """Through the target file, which is all that differs without Docker."""
    assert "alertmanager" in stack.found, MISSING
    found = eventually(lambda: answers.get("alertmanagers")["activeAlertmanagers"])
    assert [one["url"] for one in found] == [f"{stack.alertmanager_api}/api/v2/alerts"]


def test_alertmanager_runs_with_what_the_start_script_made_of_the_template(stack: RealStack) -> None:
    """Alone (it looks for no others), and with the shipped route."""
    assert "alertmanager" in stack.found, MISSING
    with urlopen(f"{stack.alertmanager_api}/api/v2/status", timeout=10) as answer:
        told = json.load(answer)
    assert told["cluster"]["status"] == "disabled"
    assert "group_by:\n  - alertname\n  - service_name\n" in told["config"]["original"]
    assert stack.state("alertmanager") == "healthy"
