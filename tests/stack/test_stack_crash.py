"""What the collector has accepted is never lost: not when it is killed, not while the back ends are away."""

import threading
from typing import Final

import pytest

from tests.stack.answers import Answers, eventually
from tests.stack.real import RealStack
from tests.stack.sender import Sender

pytestmark = pytest.mark.stack

AWAY_S: Final = 20.0


def missing(answers: Answers, service: str, sender: Sender) -> set[str]:
    """The accepted traces that Jaeger does not have, as soon as there are none."""

    def look() -> set[str]:
        return sender.accepted - {span.trace_id for span in answers.spans(service)}

    return eventually(look, lambda found: not found, timeout_s=60)


def counted(answers: Answers, service: str, sender: Sender) -> float:
    """The counter in Prometheus, as soon as it is what was accepted last."""

    def look() -> float:
        return max((one.value for one in answers.at(f'sent_total{{service_name="{service}"}}')), default=0)

    return eventually(look, lambda value: value >= sender.counted, timeout_s=60)


def test_a_collector_killed_in_the_middle_loses_nothing(stack: RealStack, answers: Answers) -> None:
    """SIGKILL while traces and metrics flow, three times; what it accepted before, between and after is all there."""
    service = "killed"
    with Sender(service, stack.collector_http) as sender:
        for _ in range(3):
            sender.wait_for(40)
            stack.kill("collector")
            stack.start("collector")
        sender.wait_for(40)
    assert missing(answers, service, sender) == set()
    assert counted(answers, service, sender) == sender.counted
    assert len(sender.accepted) >= 160


def test_what_waits_in_the_queue_survives_a_kill(stack: RealStack, answers: Answers) -> None:
    """Neither Jaeger nor Prometheus is there, the collector is killed and comes back, then they do."""
    service = "queued"
    stack.stop("jaeger")
    stack.stop("prometheus")
    try:
        with Sender(service, stack.collector_http) as sender:
            sender.wait_for(80)
        stack.kill("collector")
    finally:
        stack.start()
    assert missing(answers, service, sender) == set()
    assert counted(answers, service, sender) == sender.counted


def test_jaeger_away_for_20_seconds_loses_nothing(stack: RealStack, answers: Answers) -> None:
    """The collector goes on accepting, and delivers when it is back."""
    service = "patient"
    with Sender(service, stack.collector_http) as sender:
        sender.wait_for(20)
        stack.stop("jaeger")
        try:
            threading.Event().wait(AWAY_S)  # the outage itself
        finally:
            stack.start("jaeger")
        sender.wait_for(20)
    assert missing(answers, service, sender) == set()
    assert sender.refused == 0
    assert len(sender.accepted) >= 10 * AWAY_S
