"""Spans begin as by the SDK's own `start_span`, whatever the provider is set to."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, SpanProcessor, Tracer, TracerProvider
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags, TraceState

from rlm_otel.otel.spans import FastTracer
from rlm_otel.values import Attributes

ATTRIBUTES: Final[Attributes] = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "модель 🙂",
    "rlm.turn": 1,
    "gen_ai.request.stop_sequences": ("a", "b"),
}
START_NS: Final = 1_700_000_000_000_000_000


class Counting(IdGenerator):
    """Ids that can be compared."""

    def __init__(self, *, random: bool) -> None:
        self._last = 0
        self._random = random

    def generate_span_id(self) -> int:
        self._last += 1
        return self._last

    def generate_trace_id(self) -> int:
        self._last += 1
        return self._last

    def is_trace_id_random(self) -> bool:
        return self._random


class Adding(Sampler):
    """One of the application's own, which says something on each span."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    def should_sample(
        self,
        parent_context: Any,
        trace_id: Any,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        *_: Any,
        **__: Any,
    ) -> SamplingResult:
        said = {**attributes, "sampler.saw": f"{name} {kind.name}", "a.list": [1, 2]}
        return SamplingResult(self._decision, said, TraceState([("vendor", "1")]))

    def get_description(self) -> str:
        return "adding"


class Changing(Sampler):
    """One that writes into what it was given."""

    def should_sample(
        self,
        parent_context: Any,
        trace_id: Any,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        *_: Any,
        **__: Any,
    ) -> SamplingResult:
        attributes["rlm.turn"] = 2.0
        attributes["a.list"] = [1, 2]
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)

    def get_description(self) -> str:
        return "changing"


class Watching(SpanProcessor):
    """Sees spans when they begin, and writes on them."""

    def __init__(self) -> None:
        self.begun: list[dict[str, Any]] = []

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        above = trace.get_current_span(parent_context).get_span_context().span_id
        self.begun.append({"attributes": dict(span.attributes or {}), "above": above, "start": span.start_time})
        span.set_attribute("rlm.label.team", "поиск")


PROVIDERS: Final[Mapping[str, Callable[[], dict[str, Any]]]] = {
    "default": lambda: {"id_generator": Counting(random=False)},
    "random ids": lambda: {"id_generator": Counting(random=True)},
    "nothing sampled": lambda: {"sampler": ALWAYS_OFF},
    "only recorded": lambda: {"sampler": Adding(Decision.RECORD_ONLY)},
    "sampler adds": lambda: {"sampler": ParentBased(Adding(Decision.RECORD_AND_SAMPLE))},
    "sampler changes": lambda: {"sampler": Changing()},
    "few attributes": lambda: {"span_limits": SpanLimits(max_span_attributes=2)},
    "no attributes": lambda: {"span_limits": SpanLimits(max_span_attributes=0)},
    "short attributes": lambda: {"span_limits": SpanLimits(max_span_attribute_length=3)},
    "no links": lambda: {"span_limits": SpanLimits(max_links=0)},
}


def _above(flags: int, *, remote: bool = False, state: TraceState | None = None) -> Context:
    context = SpanContext(0xABC, 0xDEF, remote, TraceFlags(flags), state)
    return trace.set_span_in_context(NonRecordingSpan(context), Context())


PLACES: Final[Mapping[str, Context]] = {
    "nowhere": Context(),
    "sampled": _above(TraceFlags.SAMPLED),
    "sampled, random": _above(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID),
    "not sampled": _above(TraceFlags.DEFAULT),
    "remote": _above(TraceFlags.SAMPLED, remote=True, state=TraceState([("a", "b")])),
    "remote, not sampled": _above(TraceFlags.DEFAULT, remote=True),
    "invalid": trace.set_span_in_context(trace.INVALID_SPAN, Context()),
}
LINKS: Final = (Link(SpanContext(1, 2, False), {"a": "b" * 9}),)

Begin = Callable[..., Span]


def ours(tracer: Tracer) -> Begin:
    return FastTracer(tracer).start_span


def the_sdks(tracer: Tracer) -> Begin:
    return partial(tracer.start_span, record_exception=False, set_status_on_exception=False)


def told(provider: str, where: Context, way: Callable[[Tracer], Begin], links: Sequence[Link] = ()) -> Any:
    """All that is known of a span that began that way: by itself, when it began, and when it is exported."""
    settings = {"id_generator": Counting(random=False)} | PROVIDERS[provider]()
    tracers, watching, exporter = TracerProvider(**settings, shutdown_on_exit=False), Watching(), InMemorySpanExporter()
    tracers.add_span_processor(watching)
    tracers.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = tracers.get_tracer("tests", "1", "https://opentelemetry.io/schemas/1.40.0")
    assert isinstance(tracer, Tracer)
    span = way(tracer)("chat модель", where, SpanKind.CLIENT, dict(ATTRIBUTES), links, START_NS)
    own = span.get_span_context()
    state = vars(span) if isinstance(span, ReadableSpan) else {}
    settings_of_span = {name: state[name] for name in state if name.startswith(("_record", "_set_status", "_limits"))}
    with trace.use_span(span, record_exception=False, set_status_on_exception=False):
        span.set_attribute("later", 1)
    span.end(START_NS + 1)
    return {
        "type": type(span).__name__,
        "context": (own.trace_id, own.span_id, own.is_remote, int(own.trace_flags), dict(own.trace_state)),
        "state": sorted(state),
        "settings": {name: str(value) for name, value in settings_of_span.items()},
        "begun": watching.begun,
        "exported": [json.loads(one.to_json()) for one in exporter.get_finished_spans()],
        "dropped": [(one.dropped_attributes, one.dropped_links) for one in exporter.get_finished_spans()],
    }


@pytest.mark.parametrize("links", [(), LINKS], ids=["no links", "links"])
@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_it_is_the_span_that_the_sdk_would_have_begun(provider: str, where: str, links: Sequence[Link]) -> None:
    """Ids, flags, state, attributes, limits, links, and what processors see."""
    assert told(provider, PLACES[where], ours, links) == told(provider, PLACES[where], the_sdks, links)


def test_what_it_is_in_words() -> None:
    """The literal, beside the comparison."""
    found = told("default", PLACES["remote"], ours)
    assert found["context"] == (0xABC, 1, False, TraceFlags.SAMPLED, {"a": "b"})
    assert found["begun"] == [{"attributes": ATTRIBUTES, "above": 0xDEF, "start": START_NS}]
    (exported,) = found["exported"]
    assert exported["attributes"] == {
        **ATTRIBUTES,
        "gen_ai.request.stop_sequences": ["a", "b"],
        "rlm.label.team": "поиск",
        "later": 1,
    }
    assert exported["parent_id"] == "0x0000000000000def"


def test_the_sdks_metrics_of_itself_count_the_span(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are off unless a variable asks for them."""
    counted: list[tuple[object, Decision]] = []
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("tests")
    assert isinstance(tracer, Tracer)

    def start_span(parent: object, decision: Decision) -> Callable[[], None]:
        counted.append((parent, decision))
        return lambda: counted.append((None, Decision.DROP))

    monkeypatch.setattr(tracer._tracer_metrics, "start_span", start_span)
    ours(tracer)("chat", Context(), SpanKind.CLIENT, ATTRIBUTES, (), START_NS).end()
    assert counted == [(None, Decision.RECORD_AND_SAMPLE), (None, Decision.DROP)]


def test_a_tracer_that_is_switched_off_begins_nothing() -> None:
    """The span of the caller goes on as the parent of what is inside."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("tests")
    assert isinstance(tracer, Tracer)
    tracer._tracer_config.is_enabled = False
    span = ours(tracer)("chat", PLACES["sampled"], SpanKind.CLIENT, ATTRIBUTES, (), START_NS)
    assert (type(span).__name__, span.get_span_context().span_id) == ("NonRecordingSpan", 0xDEF)


def test_the_sdk_does_not_look_at_our_attributes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the SDK's method has changed, and each span costs twice as much: look at what it does now."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("tests")
    assert isinstance(tracer, Tracer)
    begin = ours(tracer)
    monkeypatch.setattr("opentelemetry.attributes._clean_attribute_value", None)
    span = begin("chat", Context(), SpanKind.CLIENT, ATTRIBUTES, (), START_NS)
    assert isinstance(span, ReadableSpan)
    assert dict(span.attributes or {}) == ATTRIBUTES


class Wrapped(Tracer):
    """An instrumentation's subclass of the SDK's tracer."""

    def start_span(self, name: str, *about: Any, **more: Any) -> Span:
        return super().start_span(f"seen {name}", *about, **more)


def _subclass(_: pytest.MonkeyPatch, tracer: Tracer) -> None:
    tracer.__class__ = Wrapped


def _wrapped_object(monkeypatch: pytest.MonkeyPatch, tracer: Tracer) -> None:
    plain = tracer.start_span
    monkeypatch.setattr(tracer, "start_span", lambda name, *a, **k: plain(f"seen {name}", *a, **k))


@pytest.mark.parametrize("early", [True, False], ids=["before", "later"])
@pytest.mark.parametrize("wrap", [_subclass, _wrapped_object])
def test_a_tracer_that_begins_spans_in_its_own_way_is_asked_to(
    wrap: Callable[[pytest.MonkeyPatch, Tracer], None], monkeypatch: pytest.MonkeyPatch, *, early: bool
) -> None:
    """Whether it was wrapped before we came, or later."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("tests")
    assert isinstance(tracer, Tracer)
    if early:
        wrap(monkeypatch, tracer)
    fast = FastTracer(tracer)
    if not early:
        wrap(monkeypatch, tracer)
    span = fast.start_span("chat", Context(), SpanKind.CLIENT, ATTRIBUTES, (), START_NS)
    assert isinstance(span, ReadableSpan)
    assert span.name == "seen chat"


def test_another_tracer_is_only_asked_in_public() -> None:
    """A tracer of no SDK at all gives the caller's own span back."""
    begin = FastTracer(trace.NoOpTracer()).start_span
    span = begin("chat", PLACES["sampled"], SpanKind.CLIENT, ATTRIBUTES, (), START_NS)
    assert span.get_span_context().span_id == 0xDEF
