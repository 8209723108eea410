"""Fixtures of the whole suite: rigs that are checked at the end, and guards against what a test may leave behind."""

import gc
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from functools import cache
from itertools import count

import httpcore2
import pytest
from opentelemetry import _logs, metrics, trace
from opentelemetry import context as otel_context

from rlm_otel import fence
from rlm_otel.ambient import current_bracket, current_labels, running_hooks
from rlm_otel.rlm import RLM
from rlm_otel.testing import NumberedTraceIds

pytest.register_assert_rewrite("tests.rig")  # so that its failures say what was found

from tests.rig import Rig  # noqa: E402 - after the line above
from tests.watch import Watch  # noqa: E402

_started = count(1)


@pytest.fixture
async def runners_of_async_test() -> AsyncIterator[list[RLM]]:
    """Runners whose connections belong to the test's event loop: closed in it."""
    runners: list[RLM] = []
    yield runners
    for runner in runners:
        await runner.aclose()


@pytest.fixture
def rigs(request: pytest.FixtureRequest) -> Iterator[Callable[..., Rig]]:
    """Makes rigs: `rigs(content="span")`, with the arguments of `Capture`. Each has span ids of its own."""
    is_async = inspect.iscoroutinefunction(getattr(request, "function", None))
    runners: list[RLM] = request.getfixturevalue("runners_of_async_test") if is_async else []
    made: list[Rig] = []
    with ExitStack() as closing:

        def make(**arguments: object) -> Rig:
            ids = {"id_generator": NumberedTraceIds(1 + 1_000_000 * len(made))}
            rig = Rig(**{**ids, **arguments})  # type: ignore[arg-type]  # whatever Capture takes
            rig.closing, rig.runners = closing, runners
            made.append(rig)
            return rig

        yield make
        if not is_async:
            for runner in runners:
                runner.close()
    for rig in made:
        rig.check()


@pytest.fixture
def rig(rigs: Callable[..., Rig]) -> Rig:
    """One rig with the defaults of `OTelCallback`."""
    return rigs()


@pytest.fixture(autouse=True)
def _small_heap() -> None:
    """Tests of what is dropped have the collector look for it: at what they made, not at all that was there before."""
    if next(_started) % 300 == 0:  # what earlier tests dropped in cycles must go some day
        gc.unfreeze()
        gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _fresh_fence() -> Iterator[None]:
    """What one test's callbacks did wrong is logged and counted anew in the next."""
    fence.forget_failures()
    yield
    fence.forget_failures()


@pytest.fixture(scope="session", autouse=True)
def _one_set_of_certificates() -> Iterator[None]:
    """Each HTTP client reads the machine's certificates, which takes longer than most tests: they are read once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context))
        yield


@pytest.fixture(autouse=True)
def _everything_conforms(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever the package emits in a test keeps to the conventions, also without a rig.

    The marker `older_metrics` admits the metric names that they had before.
    """
    with pytest.MonkeyPatch.context() as patch:
        watch = Watch(patch)
        yield
    assert watch.violations(legacy=request.node.get_closest_marker("older_metrics") is not None) == []


@pytest.fixture(autouse=True)
def _nothing_global() -> Iterator[None]:
    """No test leaves a global provider, an OpenTelemetry context, or a current operation, label or hook of ours."""
    before = _globals()
    yield
    assert _globals() == before
    assert otel_context.get_current() == {}
    assert (current_bracket.get(), current_labels.get(), running_hooks.get()) == (None, (), ())


def _globals() -> tuple[object, ...]:
    return (trace._TRACER_PROVIDER, metrics._internal._METER_PROVIDER, _logs._internal._LOGGER_PROVIDER)
