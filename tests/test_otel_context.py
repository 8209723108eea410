"""What `OTelCallback` does to OpenTelemetry's context, and what it reads there."""

import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from opentelemetry import context, trace
from opentelemetry.trace import StatusCode

from rlm_otel.otel.context import INFERENCE_KEY
from tests.otel_events import CHAT, TOOL, finished, foreign_span, make_rig


def test_a_joined_span_is_current_inside_the_block_only() -> None:
    """Inside `current` the user's `get_current_span()` is our recording span; outside it is what it was."""
    rig = make_rig()
    chat = rig.begin(CHAT, "a")
    before = context.get_current()
    with rig.callback.current(rig.link("a")):
        trace.get_current_span().set_attribute("app.user", "u1")
    assert context.get_current() is before
    rig.end(finished(chat))
    assert (rig.spans["chat gpt-4o"].attributes or {})["app.user"] == "u1"


def test_an_exception_in_the_block_leaves_the_span_alone() -> None:
    """`current` neither ends the span nor marks it: only the event says how it ended."""
    rig = make_rig()
    chat = rig.begin(CHAT, "a")
    with pytest.raises(KeyError), rig.callback.current(rig.link("a")):
        raise KeyError("x")
    rig.end(finished(chat))
    span = rig.spans["chat gpt-4o"]
    assert (span.status.status_code, span.events) == (StatusCode.UNSET, ())


def test_a_private_span_is_never_put_into_the_context() -> None:
    """The application's own current span stays what it is inside `current`."""
    rig = make_rig(joined=False)
    rig.begin(CHAT, "a")
    with trace.use_span(span := foreign_span()), rig.callback.current(rig.link("a")):
        assert trace.get_current_span() is span


def test_a_block_left_in_another_thread_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    """Entered here, left elsewhere (an async generator's fate): nothing is logged, nothing is detached there."""
    rig = make_rig()
    rig.begin(CHAT, "a")
    block = rig.callback.current(rig.link("a"))
    with ThreadPoolExecutor(1) as pool:
        pool.submit(block.__enter__).result()
    block.__exit__(None, None, None)
    assert caplog.records == []
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize("key", ["suppress_instrumentation", context._SUPPRESS_INSTRUMENTATION_KEY], ids=["name", "id"])
def test_suppressed_instrumentation_records_nothing(key: str) -> None:
    """Where the caller's context asks for silence there is neither a span nor a measurement."""
    rig = make_rig()
    token = context.attach(context.set_value(key, True))
    start = rig.begin(CHAT, "a")
    context.detach(token)
    rig.end(finished(start))
    assert (rig.spans, rig.points("gen_ai.client.inference.duration")) == ({}, [])


def test_a_call_that_somebody_outside_observes_is_left_to_them() -> None:
    """Inside another instrumentation's inference the model call itself is silent: one span a call."""
    rig = make_rig()
    token = context.attach(context.set_value(INFERENCE_KEY, object()))
    chat, tool = rig.begin(CHAT, "a"), rig.begin(TOOL, "b")
    context.detach(token)
    rig.end(finished(chat), finished(tool))
    assert list(rig.spans) == ["execute_tool search"]


def test_other_instrumentations_of_the_call_are_kept_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside `suppressed` the context holds the object by which util-genai's family knows that the call is observed."""
    module = SimpleNamespace(InferenceData=dict)
    monkeypatch.setitem(sys.modules, "opentelemetry.util.genai.invocation", module)
    with make_rig().callback.suppressed():
        assert context.get_value(INFERENCE_KEY) == {}
    assert context.get_value(INFERENCE_KEY) is None


def test_without_other_instrumentations_the_context_is_left_alone() -> None:
    """Nobody to keep quiet: `suppressed` changes nothing."""
    before = context.get_current()
    with make_rig().callback.suppressed():
        assert context.get_current() is before
