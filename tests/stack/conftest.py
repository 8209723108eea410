"""The running stack, once for a session: `stack`, for tests marked `stack`."""

from collections.abc import Iterator

import pytest

from tests.stack.answers import Answers
from tests.stack.real import RealStack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStack]:
    """Collector, Jaeger, Prometheus and Alertmanager, ready. Who stops or kills one starts it again."""
    running = RealStack(tmp_path_factory.mktemp("stack"))
    try:
        running.start()
        yield running
    finally:
        running.close()


@pytest.fixture(scope="session")
def answers(stack: RealStack) -> Answers:
    """What the running stack says."""
    return Answers(stack)
