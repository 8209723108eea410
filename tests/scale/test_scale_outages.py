"""What was accepted comes to OpenSearch: ingester away; Kafka and the collector, or the store, killed under load."""

import pytest

from tests.scale.scaled import ScaledStack
from tests.stack.answers import Answers, eventually
from tests.stack.made import SPANS, make, scatter, wait_for
from tests.stack.sender import Sender

pytestmark = pytest.mark.scale


def test_an_ingester_away_and_back_loses_nothing(scaled: ScaledStack, answers: Answers) -> None:
    """Kafka holds 200 traces until it is there again."""
    traces = make("failed", 200, 5)
    scaled.stop("ingester")
    scatter(scaled.tiers.entrances, "waiting", traces)
    scaled.start("ingester")
    wanted = {trace.trace_id for trace in traces}
    assert wait_for(answers, "waiting", wanted) == dict.fromkeys(wanted, SPANS)


def missing(answers: Answers, service: str, sender: Sender) -> set[str]:
    """The accepted traces that Jaeger does not have, as soon as there are none.

    A search gives 1500 traces at most, and a slow machine makes more of them during the restarts: those are asked for
    one by one.
    """

    def look() -> set[str]:
        unseen = sender.accepted - {span.trace_id for span in answers.spans(service)}
        return {trace_id for trace_id in unseen if not answers.has_trace(trace_id)}

    return eventually(look, lambda found: not found, timeout_s=90)


@pytest.mark.parametrize("through", ["collector", "front-1"])
def test_kafka_and_the_collector_killed_under_load_lose_nothing(
    scaled: ScaledStack, answers: Answers, through: str
) -> None:
    """SIGKILL to both while 50 traces a second flow, for 15 seconds: straight to Kafka, and by way of the gateways."""
    straight = through == "collector"
    entrance = scaled.collector if straight else scaled.tiers.fronts[0]
    programs = scaled if straight else scaled.tiers
    service = f"killed-{through}"
    with Sender(service, entrance.collector_http, per_second=50, failed=True) as sender:
        sender.wait_for(150)
        scaled.kill("kafka")
        sender.wait_for(150)
        programs.kill(through)
        programs.start(through)
        sender.wait_for(150)
        scaled.start("kafka")
        sender.wait_for(150)
        programs.kill(through)
        programs.start(through)
        sender.wait_for(150)

    assert missing(answers, service, sender) == set()
    assert len(sender.accepted) >= 750
    sent = f'max(sent_total{{service_name="{service}"}})'
    assert eventually(lambda: [one.value for one in answers.at(sent)], lambda last: last == [sender.counted]) == [
        sender.counted
    ]


def test_opensearch_killed_under_load_loses_nothing(scaled: ScaledStack, answers: Answers) -> None:
    """The ingester holds what it took from Kafka, and takes no more, until the store is there again."""
    service = "killed-store"
    with Sender(service, scaled.collector.collector_http, per_second=50) as sender:
        sender.wait_for(150)
        scaled.kill("opensearch")
        sender.wait_for(200)
        scaled.start("opensearch")
        sender.wait_for(100)

    assert missing(answers, service, sender) == set()
    assert sender.refused == 0
