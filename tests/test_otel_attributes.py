"""Attributes arrive on a span as by the SDK's own `set_attributes`, whatever span it is."""

from collections.abc import Mapping
from typing import Any, Final

import pytest
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.trace import INVALID_SPAN, Span

from rlm_otel.otel.attributes import set_attributes
from rlm_otel.values import Attributes

START: Final[Attributes] = {"gen_ai.operation.name": "chat", "rlm.turn": 1}
END: Final[Attributes] = {"rlm.turn": 2, "gen_ai.response.finish_reasons": ("stop",), "gen_ai.response.id": "Ответ 🙂"}
LIMITS: Final[Mapping[str, SpanLimits]] = {
    "none": SpanLimits(),
    "number": SpanLimits(max_span_attributes=3),
    "length": SpanLimits(max_span_attribute_length=2),
}


def begin(limits: SpanLimits) -> Span:
    provider = TracerProvider(span_limits=limits, shutdown_on_exit=False)
    return provider.get_tracer("tests").start_span("chat", attributes=START)


def kept(span: Span) -> tuple[Attributes, int]:
    assert isinstance(span, ReadableSpan)
    return dict(span.attributes or {}), span.dropped_attributes  # type: ignore[arg-type]  # ours are of these types


@pytest.mark.parametrize("limits", LIMITS)
def test_it_is_what_the_sdk_would_have(limits: str) -> None:
    """Limits included."""
    ours, sdk = begin(LIMITS[limits]), begin(LIMITS[limits])
    set_attributes(ours, END)
    sdk.set_attributes(END)
    assert kept(ours) == kept(sdk)


def test_without_limits_all_is_there() -> None:
    """The literal, beside the comparison."""
    span = begin(SpanLimits())
    set_attributes(span, END)
    assert kept(span) == ({**START, **END}, 0)


def test_a_plain_span_does_not_look_at_each_value_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a private name has changed, and each attribute costs three times as much."""
    span = begin(SpanLimits())
    set_attributes(span, {})
    monkeypatch.setattr("opentelemetry.attributes._clean_attribute_value", None)
    set_attributes(span, END)
    assert kept(span)[0]["rlm.turn"] == 2


def test_an_ended_span_stays_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    """And the SDK says why."""
    span = begin(SpanLimits())
    span.end()
    set_attributes(span, END)
    assert kept(span) == (START, 0)
    assert [record.message for record in caplog.records] == ["Setting attribute on ended span."]


class Watched(SdkSpan):
    """A span of somebody who wants to know."""

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        super().set_attributes({"seen": len(attributes)})


def test_a_span_that_sets_attributes_in_its_own_way_is_asked_to() -> None:
    """An instrumentation may wrap or subclass the SDK's spans."""
    context = begin(SpanLimits()).get_span_context()
    span = Watched("chat", context)
    set_attributes(span, END)
    assert kept(span) == ({"seen": 3}, 0)


def test_a_span_of_no_sdk_is_asked_in_public() -> None:
    """The API's own span takes nothing, and nothing is looked for in it."""
    set_attributes(INVALID_SPAN, END)
    assert INVALID_SPAN.is_recording() is False
