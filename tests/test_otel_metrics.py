"""Measurements of `OTelCallback`: exact whatever is sampled, linked to their span, and what is in flight right now."""

import time
from dataclasses import replace

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from rlm_otel.content import Policy
from rlm_otel.fence import fence, forget_failures
from rlm_otel.otel import OTelCallback
from rlm_otel.otel.recorder import Recorder
from rlm_otel.outcome import Cost, RateLimit
from tests.otel_events import CHAT, REPLY, RUN, TOOL, Rig, finished, make_rig, started

IDENTITY = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
}


def active(rig: Rig) -> list[tuple[dict[str, object], int]]:
    """The points of `rlm.client.active`."""
    return [(dict(point.attributes), point.value) for point in rig.points("rlm.client.active")]


@pytest.mark.parametrize("joined", [True, False])
def test_every_point_of_a_call_links_to_its_span(joined: bool) -> None:
    """All measurements of a call carry an exemplar with the ids of its span, recorded after its end as they are."""
    rig = make_rig(joined=joined)
    rig.end(finished(rig.begin(CHAT, "a"), cost=Cost(0.1, "local")))
    own = rig.spans["chat gpt-4o"].context
    points = [(name, point) for name, point in rig.all_points() if name != "rlm.callback.failures"]
    assert len(points) == 10
    for name, point in points:
        assert (name, [(e.trace_id, e.span_id) for e in point.exemplars]) == (name, [(own.trace_id, own.span_id)])


def test_metrics_are_exact_when_nothing_is_sampled() -> None:
    """A sampler that drops every trace changes no measurement."""
    rig = make_rig(sampler=ALWAYS_OFF)
    for number in range(3):
        rig.end(finished(rig.begin(CHAT, f"{number}"), 2.0))
    (duration,) = rig.points("gen_ai.client.inference.duration")
    (tokens,) = rig.points("gen_ai.client.inference.usage.input_tokens")
    assert (rig.spans, duration.count, duration.sum, tokens.value) == ({}, 3, 6.0, 30)


def test_calls_in_flight_are_counted_by_model() -> None:
    """`rlm.client.active` is what is open when metrics are collected; runs and tools are no calls."""
    rig = make_rig()
    rig.begin(RUN, "root")
    first, second = rig.begin(CHAT, "a"), rig.begin(CHAT, "b")
    rig.begin(TOOL, "c")
    assert active(rig) == [(IDENTITY, 2)]
    rig.end(finished(first))
    assert active(rig) == [(IDENTITY, 1)]
    rig.end(finished(second))
    assert active(rig) == [(IDENTITY, 0)]


def test_a_short_call_leaves_its_series_behind() -> None:
    """A call that began and ended between two collections shows as 0, as a counter of both would."""
    rig = make_rig()
    rig.end(finished(rig.begin(CHAT, "a")))
    assert active(rig) == [(IDENTITY, 0)]


def test_nothing_is_in_flight_after_shutdown() -> None:
    """Abandoned calls are not active any more."""
    rig = make_rig()
    rig.begin(CHAT, "a")
    rig.callback.shutdown()
    assert active(rig) == [(IDENTITY, 0)]


def test_two_callbacks_on_one_provider_are_both_counted() -> None:
    """The SDK keeps one function for an instrument; it answers for the tables of all callbacks."""
    rig = make_rig()
    other = OTelCallback(rig.telemetry)
    rig.begin(CHAT, "a")
    other.on_event(started(replace(CHAT, model="gpt-5"), "b"))
    assert active(rig) == [(IDENTITY, 1), ({**IDENTITY, "gen_ai.request.model": "gpt-5"}, 1)]


def test_the_oldest_call_in_flight_tells_its_age() -> None:
    """`rlm.client.oldest_active` is the age of the oldest open call in seconds, 0 when there is none."""
    rig = make_rig()
    now = time.perf_counter_ns()
    starts = [replace(started(CHAT, id_), monotonic_ns=now - age * 10**9) for id_, age in (("a", 100), ("b", 5))]
    for start in starts:
        rig.tell(start)
    (point,) = rig.points("rlm.client.oldest_active")
    assert 100 <= point.value < 105
    assert [trace.format_span_id(e.span_id) for e in point.exemplars] == [rig.link("a").span_id]
    rig.end(*map(finished, starts))
    (point,) = rig.points("rlm.client.oldest_active")
    assert (dict(point.attributes), point.value) == (IDENTITY, 0.0)


def test_declared_labels_are_on_our_own_metrics_only() -> None:
    """A declared label is on `rlm.*` metrics, an unknown value as `other`; undeclared ones and `gen_ai.*` never."""
    rig = make_rig(labels={"team": ("search",)})
    for id_, team in (("a", "search"), ("b", "u-4711")):
        start = started(CHAT, id_)
        start = replace(start, origin=replace(start.origin, labels=(("team", team), ("user", "u1"))))
        rig.callback.on_event(start)
        rig.end(finished(start))
    own = {**IDENTITY, "gen_ai.response.model": "gpt-4o-2024-08-06", "rlm.outcome": "completed"}
    assert [dict(point.attributes) for point in rig.points("rlm.client.operations")] == [
        {**own, "rlm.label.team": "search"},
        {**own, "rlm.label.team": "other"},
    ]
    assert {p.attributes["rlm.label.team"] for p in rig.points("rlm.client.active")} == {"search", "other"}
    (point,) = rig.points("gen_ai.client.inference.duration")
    assert not any(name.startswith("rlm.") for name in point.attributes)


def test_rate_limits_are_gauges() -> None:
    """The headroom that the vendor's headers tell, by kind."""
    rig = make_rig()
    limits = (RateLimit("request", remaining=59, limit=60), RateLimit("token", remaining=900))
    rig.end(finished(rig.begin(CHAT, "a"), result=replace(REPLY, rate_limits=limits)))
    remaining = {p.attributes["rlm.ratelimit.kind"]: p.value for p in rig.points("rlm.client.ratelimit.remaining")}
    limit = {p.attributes["rlm.ratelimit.kind"]: p.value for p in rig.points("rlm.client.ratelimit.limit")}
    assert (remaining, limit) == ({"request": 59, "token": 900}, {"request": 60})


def test_failures_of_callbacks_are_a_metric() -> None:
    """What the fence swallows is counted by callback and hook."""
    forget_failures()
    rig = make_rig()
    rig.end(finished(rig.begin(CHAT, "a")))
    with fence("Mine", "on_llm_end"):
        raise ValueError("x")
    points = rig.points("rlm.callback.failures")
    forget_failures()
    assert [(dict(p.attributes), p.value) for p in points] == [({"rlm.callback": "Mine", "rlm.hook": "on_llm_end"}, 1)]


def test_the_table_of_open_operations_is_bounded() -> None:
    """Beyond the limit the oldest ends as abandoned and is counted; its later end is ignored."""
    rig = make_rig()
    recorder = Recorder(rig.telemetry, Policy(), limit=2)
    starts = [started(CHAT, str(number)) for number in range(4)]
    for start in starts:
        recorder.open(start)
    assert len(recorder.operations) == 2
    assert [(s.attributes or {})["rlm.outcome"] for s in rig.exporter.get_finished_spans()] == [
        "abandoned",
        "abandoned",
    ]
    assert [(dict(p.attributes), p.value) for p in rig.points("rlm.telemetry.dropped")] == [
        ({"rlm.reason": "too_many_open"}, 2)
    ]
    for start in starts:
        recorder.finish(finished(start))
    assert len(rig.exporter.get_finished_spans()) == 4


def test_an_operation_that_begins_during_shutdown_is_abandoned_too() -> None:
    """Shutdown while a span is being made: it does not stay open behind the closed table."""
    rig = make_rig()

    class ShutsDown(SpanProcessor):
        def on_start(self, span: Span, parent_context: object = None) -> None:
            rig.callback.shutdown()

    assert isinstance(rig.telemetry.tracer_provider, TracerProvider)
    rig.telemetry.tracer_provider.add_span_processor(ShutsDown())
    rig.callback.begin(started(CHAT, "a"))
    assert [(s.attributes or {})["rlm.outcome"] for s in rig.spans.values()] == ["abandoned"]
    assert active(rig) == [(IDENTITY, 0)]
