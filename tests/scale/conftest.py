"""The whole chain, once for a session: `scaled`, for tests marked `scale`."""

from collections.abc import Iterator

import pytest

from rlm_otel.views.backend import Refused
from tests.scale.scaled import ScaledStack
from tests.stack.answers import Answers, eventually
from tests.stack.made import make, send


@pytest.fixture(scope="session")
def scaled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScaledStack]:
    """Fronts, gateways, a collector, Kafka, ingester, OpenSearch, Jaeger and Prometheus, ready."""
    running = ScaledStack(tmp_path_factory.mktemp("scaled"))
    try:
        running.start()
        yield running
    finally:
        running.close()


@pytest.fixture(scope="session")
def answers(scaled: ScaledStack) -> Answers:
    """What the chain's Jaeger and Prometheus say; while the very first index is being made, Jaeger refuses."""
    asked = Answers(scaled)
    (first,) = make("plain", 1, 0)
    send(scaled.collector.collector_http, "first", first.spans)

    def is_there() -> bool:
        try:
            return bool(asked.spans("first"))
        except Refused:
            return False

    assert eventually(is_there)
    return asked
