"""Spans that `OTelCallback` makes of events: where they stand, how long they last, and that each ends once."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import Span, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from rlm_otel.otel import OTelCallback
from rlm_otel.telemetry import Telemetry
from tests.conformance import violations
from tests.otel_events import CHAT, FOREIGN, RUN, T0, TOOL, finished, foreign_span, make_rig, started

# Where a span stands -----------------------------------------------------------------------------------------------


def test_calls_and_tools_of_a_run_are_its_children() -> None:
    """A run's model calls and tools are siblings under it, each of the conventions' name and kind."""
    rig = make_rig()
    run, chat, tool = rig.begin(RUN, "root"), rig.begin(CHAT, "a", "root"), rig.begin(TOOL, "b", "root")
    rig.end(finished(chat), finished(tool), finished(run))
    top = rig.spans["invoke_agent researcher"]
    assert [(s.name, s.kind, s.parent and s.parent.span_id == top.context.span_id) for s in rig.spans.values()] == [
        ("chat gpt-4o", SpanKind.CLIENT, True),
        ("execute_tool search", SpanKind.INTERNAL, True),
        ("invoke_agent researcher", SpanKind.INTERNAL, None),
    ]
    assert {s.status.status_code for s in rig.spans.values()} == {StatusCode.UNSET}


def test_everything_emitted_keeps_to_the_conventions() -> None:
    """Spans, metrics and log events of a whole run break no rule of the registry."""
    rig = make_rig(logs=True, content="both")
    run, chat, tool = rig.begin(RUN, "root"), rig.begin(CHAT, "a", "root"), rig.begin(TOOL, "b", "root")
    rig.end(finished(chat), finished(tool), finished(run))
    spans, logs = rig.exporter.get_finished_spans(), rig.log_exporter.get_finished_logs()
    assert (len(spans), len(logs)) == (3, 3)
    assert violations(spans, [rig.reader.get_metrics_data()], logs) == []


def test_a_span_lasts_as_long_as_its_event_says() -> None:
    """A span begins when the event says and lasts exactly the seconds that the histogram gets."""
    rig = make_rig()
    rig.end(finished(rig.begin(CHAT, "a"), 1.234567891))
    span = rig.spans["chat gpt-4o"]
    assert (span.start_time, span.end_time) == (T0, T0 + 1_234_567_891)


def test_a_run_joins_the_callers_trace() -> None:
    """With the application's own provider a run without parent nests under the caller's span."""
    rig = make_rig()
    with rig.telemetry.tracer_provider.get_tracer("app").start_as_current_span("GET /") as request:
        rig.end(finished(rig.begin(RUN, "root")))
    parent = rig.spans["invoke_agent researcher"].parent
    assert parent is not None
    assert parent.span_id == request.get_span_context().span_id


def test_a_private_run_only_links_to_the_callers_span() -> None:
    """A private span is a root of its own: it inherits no foreign sampling and keeps a link to the caller's span."""
    rig = make_rig(joined=False)
    with trace.use_span(foreign_span()):
        run = rig.begin(RUN, "root")
        chat = rig.begin(CHAT, "a", "root")
    rig.end(finished(chat), finished(run))
    top = rig.spans["invoke_agent researcher"]
    assert top.parent is None
    assert [link.context for link in top.links] == [FOREIGN]
    child = rig.spans["chat gpt-4o"]
    assert (child.parent and child.parent.span_id, child.links) == (top.context.span_id, ())


def test_a_parent_that_somebody_else_keeps_is_taken_from_the_event() -> None:
    """Where the parent's span is not ours, its link on the event says where to nest."""
    first, second = make_rig(), make_rig()
    run = first.begin(RUN, "root")
    second.callback.on_event(start := started(CHAT, "a", "root", link=first.link("root")))
    second.end(finished(start))
    first.end(finished(run))
    parent = second.spans["chat gpt-4o"].parent
    assert parent is not None
    assert trace.format_span_id(parent.span_id) == first.link("root").span_id


def test_a_further_callback_keeps_its_own_tree() -> None:
    """A callback that only gets events opens spans of its own, under its own parents."""
    first, second = make_rig(), make_rig()
    starts = [first.begin(RUN, "root"), first.begin(CHAT, "a", "root")]
    for start in starts:
        second.callback.on_event(start)
    second.end(finished(starts[1]), finished(starts[0]))
    parent = second.spans["chat gpt-4o"].parent
    assert parent is not None
    assert parent.span_id == second.spans["invoke_agent researcher"].context.span_id


def test_an_operation_is_opened_once() -> None:
    """`begin` and the event of the same operation make one span."""
    rig = make_rig()
    rig.end(finished(rig.begin(CHAT, "a")))
    assert len(rig.exporter.get_finished_spans()) == 1


# Ending once -------------------------------------------------------------------------------------------------------


def test_a_second_finish_and_one_without_start_are_ignored() -> None:
    """Only what is open can end, once."""
    rig = make_rig()
    end = finished(rig.begin(CHAT, "a"))
    rig.end(end, end, finished(started(CHAT, "never")))
    assert len(rig.exporter.get_finished_spans()) == 1
    assert [point.count for point in rig.points("gen_ai.client.inference.duration")] == [1]


def test_open_spans_end_as_abandoned_at_shutdown() -> None:
    """What is open at shutdown is exported as abandoned; its later end changes nothing, nor do later starts."""
    rig = make_rig()
    chat = rig.begin(CHAT, "a")
    rig.callback.shutdown()
    rig.end(finished(chat))
    rig.callback.on_event(started(TOOL, "late"))
    assert [(s.name, (s.attributes or {})["rlm.outcome"]) for s in rig.spans.values()] == [("chat gpt-4o", "abandoned")]
    assert rig.points("gen_ai.client.inference.duration") == []


def test_open_spans_end_before_their_provider_closes() -> None:
    """`Telemetry.shutdown()` ends what is open first."""
    rig = make_rig()
    rig.begin(CHAT, "a")
    rig.telemetry.shutdown()
    assert [(s.attributes or {})["rlm.outcome"] for s in rig.spans.values()] == ["abandoned"]


def test_many_threads_end_each_span_once() -> None:
    """Fifty threads with forty calls each: two thousand spans, all with the right parent, and an empty table."""
    rig = make_rig()
    run = rig.begin(RUN, "root")

    def work(thread: int) -> None:
        for number in range(40):
            rig.end(finished(rig.begin(CHAT, f"{thread}.{number}", "root")))

    with ThreadPoolExecutor(50) as pool:
        list(pool.map(work, range(50)))
    rig.end(finished(run))
    spans = rig.exporter.get_finished_spans()
    top = next(span for span in spans if span.parent is None)
    assert (len(spans), {s.parent.span_id for s in spans if s.parent}) == (2001, {top.context.span_id})


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_does_not_end_its_parents_spans() -> None:
    """What was open at the fork belongs to the parent: the child's shutdown exports nothing."""
    rig = make_rig()
    chat = rig.begin(CHAT, "a")
    child = os.fork()
    if child == 0:
        rig.callback.shutdown()
        os._exit(len(rig.exporter.get_finished_spans()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    rig.end(finished(chat))
    assert list(rig.spans) == ["chat gpt-4o"]


# Odd surroundings --------------------------------------------------------------------------------------------------


def test_a_raising_span_processor_costs_the_application_nothing() -> None:
    """The SDK lets processors' exceptions through; we do not, and the measurements are still recorded."""

    class Raises(SpanProcessor):
        def on_end(self, span: object) -> None:
            raise RuntimeError("boom")

    rig = make_rig()
    assert isinstance(rig.telemetry.tracer_provider, TracerProvider)
    rig.telemetry.tracer_provider.add_span_processor(Raises())
    rig.end(finished(rig.begin(CHAT, "a")))
    assert [point.count for point in rig.points("gen_ai.client.inference.duration")] == [1]


def test_a_begin_that_fails_is_no_error_of_the_application() -> None:
    """A processor that raises at the start: no span, no exception."""

    class Raises(SpanProcessor):
        def on_start(self, span: Span, parent_context: object = None) -> None:
            raise RuntimeError("boom")

    rig = make_rig()
    assert isinstance(rig.telemetry.tracer_provider, TracerProvider)
    rig.telemetry.tracer_provider.add_span_processor(Raises())
    assert rig.callback.begin(started(CHAT, "a")) is None


def test_without_a_tracer_there_are_still_metrics() -> None:
    """Only a meter provider: no span, no link, and the caller's span stays current."""
    rig = make_rig()
    callback = OTelCallback(Telemetry((None, rig.telemetry.meter_provider, None), joined_traces=True))
    with trace.use_span(foreign_span()):
        start = started(CHAT, "a")
        assert callback.begin(start) is None
    callback.on_event(start)
    callback.on_event(finished(start))
    assert [point.count for point in rig.points("gen_ai.client.inference.duration")] == [1]


def test_content_of_an_unsampled_span_is_not_even_read() -> None:
    """A dropped span costs no serialising: the redaction hook is never asked."""
    seen: list[str] = []

    def redact(text: str) -> str:
        seen.append(text)
        return text

    rig = make_rig(sampler=ALWAYS_OFF, logs=True, content="both", redact=redact)
    rig.end(finished(rig.begin(CHAT, "a")))
    assert (rig.spans, rig.logs, seen) == ({}, [], [])
    assert not rig.link("a").sampled


def test_a_redaction_hook_that_raises_loses_no_span() -> None:
    """Fail-closed: the text is dropped, the span ends all the same."""

    def redact(text: str) -> str:
        raise ValueError("boom")

    rig = make_rig(content="span", redact=redact)
    rig.end(finished(rig.begin(CHAT, "a")))
    assert "Как дела" not in str(rig.spans["chat gpt-4o"].attributes)


def test_a_given_provider_is_joined_at_the_first_event() -> None:
    """`tracer_provider=` alone: spans go there, and into the application's context."""
    rig = make_rig()
    callback = OTelCallback(tracer_provider=rig.telemetry.tracer_provider)
    start = started(CHAT, "a")
    link = callback.begin(start)
    assert link is not None
    with callback.current(link):
        assert trace.format_span_id(trace.get_current_span().get_span_context().span_id) == link.span_id
    callback.on_event(finished(start))
    assert list(rig.spans) == ["chat gpt-4o"]


def test_a_subclass_need_not_call_super() -> None:
    """A subclass without `super().__init__()` works with the defaults."""

    class Mine(OTelCallback):
        def __init__(self) -> None:
            self.mine = True

    rig, mine = make_rig(), Mine()
    mine._options = rig.callback._options
    mine.on_event(start := started(CHAT, "a"))
    mine.on_event(finished(start))
    assert (list(rig.spans), mine.prices, mine.chunk_times) == (["chat gpt-4o"], None, False)


@pytest.mark.parametrize("joined", [True, False])
def test_annotations_land_on_the_open_span(joined: bool) -> None:
    """The user's attributes are set by link or by id, joined or private, secrets taken out."""
    rig = make_rig(joined=joined)
    chat = rig.begin(CHAT, "a")
    rig.callback.annotate(rig.link("a"), {"app.user": "u1", "app.key": "sk-1234567890abcdef"})
    rig.callback.annotate("a", {"app.tries": 3})
    rig.end(finished(chat))
    rig.callback.annotate("a", {"app.late": True})
    attributes = rig.spans["chat gpt-4o"].attributes or {}
    assert {k: v for k, v in attributes.items() if k.startswith("app.")} == {
        "app.user": "u1",
        "app.key": "[redacted]",
        "app.tries": 3,
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"content": "all"}, "content='all' is not known; use one of: none, span, event, both."),
        ({"semconv": "old"}, "semconv='old' is not known; use one of: legacy, both, latest."),
        ({"redact": "x"}, "redact='x' cannot be called; pass a function (str) -> str | None."),
        ({"telemetry": 1}, "telemetry=1 is no Telemetry; pass what rlm_otel.configure() returns."),
        ({"tracer_provider": 1}, "tracer_provider=1 has no get_tracer(); pass a provider, not its class."),
        (
            {"labels": {"team": "search"}},
            "labels: 'team': 'search' does not list the values of a label; "
            'write a key and its values, e.g. labels={"team": ("search", "ads")}.',
        ),
    ],
)
def test_a_bad_argument_says_what_would_do(arguments: dict[str, object], message: str) -> None:
    """An argument that makes no sense is an error that says what was given and what is wanted."""
    with pytest.raises(ValueError) as raised:  # the text is compared below
        OTelCallback(**arguments)  # type: ignore[arg-type]  # wrong on purpose
    assert str(raised.value) == message
