"""Whose trace a run joins, whose providers it leaves alone, and what user code inside of it can say."""

import textwrap
import threading
from collections.abc import Callable

import pytest
from opentelemetry import trace

from rlm_otel import annotate, attributes, current_trace_id
from rlm_otel.receiver import Receiver
from rlm_otel.testing import Answer, Repeat, Tool
from tests.fresh_interpreter import run as run_python
from tests.rig import Rig
from tests.sync_async import Run, all_ways, both_ways


@all_ways
def test_s80_a_run_joins_the_callers_trace(rig: Rig, run: Run) -> None:
    """Inside a web request the run is a child of its span, and the next one is beside it; outside it is a root."""
    rlm = rig.rlm(Repeat(Answer("ok")), name="root")
    with rig.tracer_provider.get_tracer("web").start_as_current_span("GET /"):
        result = run(rlm)
        run(rlm)
    run(rlm)
    assert rig.outline() == (
        "GET /\n  invoke_agent root\n    chat gpt-4o\n  invoke_agent root\n    chat gpt-4o\n"
        "invoke_agent root\n  chat gpt-4o"
    )
    assert result.trace_id == rig.span("GET /").trace_id


@both_ways
def test_s80_a_private_run_only_links_to_the_callers_trace(rigs: Callable[..., Rig], run: Run) -> None:
    """With providers of our own the run is a root that links to the request, whose span our exporter never gets."""
    web, private = rigs(), rigs(joined=False)
    with web.tracer_provider.get_tracer("web").start_as_current_span("GET /"):
        run(private.rlm("ok", name="root"))
    request, root = web.span("GET /"), private.span("invoke_agent root")
    assert private.outline() == "invoke_agent root\n  chat gpt-4o"
    assert (root.parent_id, root.links) == (None, ((request.trace_id, request.span_id),))


APPLICATION = """
    from opentelemetry import metrics, trace
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    from rlm_otel import OTelCallback, configure
    from rlm_otel.testing import Answer, Repeat, ScriptedServer, scripted_rlm

    theirs, exporter = (TracerProvider(), MeterProvider()), InMemorySpanExporter()
    theirs[0].add_span_processor(SimpleSpanProcessor(exporter))

    def set_globals():
        trace.set_tracer_provider(theirs[0])
        metrics.set_meter_provider(theirs[1])

    def work():
        with trace.get_tracer("http").start_as_current_span("GET"), trace.get_tracer("db").start_as_current_span("SQL"):
            rlm.run("Hi")

    with ScriptedServer([Repeat(Answer("ok"))]) as server:
        rlm = scripted_rlm(server)
        {order}
        rlm.close()
    assert (trace.get_tracer_provider(), metrics.get_meter_provider()) == theirs
    print(sorted(span.name for span in exporter.get_finished_spans()))
"""


@pytest.mark.parametrize(
    ("order", "theirs", "ours"),
    [
        ("rlm.callbacks = [OTelCallback()]; work(); set_globals(); work()", ["GET", "SQL"], 4),
        (
            "set_globals()\n    for own in ([configure()], []): rlm.callbacks = [OTelCallback(*own)]; work()",
            ["GET", "GET", "SQL", "SQL", "chat gpt-4o", "invoke_agent"],
            2,
        ),
    ],
    ids=["ours first", "theirs first"],
)
def test_s89_global_providers_are_untouched(order: str, theirs: list[str], ours: int) -> None:
    """Whoever begins, the globals stay the application's, and other spans never reach an exporter of ours.

    Ours first is private; ours second is private where it was configured by hand, and else joins.
    """
    with Receiver() as receiver:
        done = run_python(
            textwrap.dedent(APPLICATION).format(order=order),
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
        )
        assert done.stdout == f"{theirs}\n", done.stderr
        assert [span.scope for span in receiver.spans()] == ["rlm_otel"] * ours


WORD = Answer(tool_calls=[Tool("work")])


@both_ways
def test_annotate_and_the_trace_id_inside_a_tool(rig: Rig, run: Run) -> None:
    """Inside a tool the current operation is the tool: annotations and the user's own spans land there."""
    seen: list[str | None] = []

    def work() -> str:
        """Says what it does."""
        seen.append(current_trace_id())
        annotate(**{"app.rows": 3})
        annotate(**{"app.город": "Тверь"})
        trace.get_current_span().set_attribute("app.by_hand", True)
        with rig.tracer_provider.get_tracer("db").start_as_current_span("SQL"):
            return "ok"

    result = run(rig.rlm(WORD, "done", tools=[work], name="root"))
    annotate(**{"app.nobody": 1})
    assert seen == [result.trace_id]
    assert current_trace_id() is None
    assert rig.outline(["app.rows", "app.город", "app.by_hand", "app.nobody"]) == (
        "invoke_agent root\n  chat gpt-4o\n"
        "  execute_tool work app.rows=3 app.город=Тверь app.by_hand=true\n    SQL\n"
        "  chat gpt-4o"
    )


@both_ways
def test_annotate_inside_hooks_is_for_the_enclosing_run(rig: Rig, run: Run) -> None:
    """A hook has the run around its call as the current operation; the end hooks know the call's own span besides."""
    seen: list[object] = []

    class Hooks:
        def on_llm_start(self, prompt: str, trace_id: str) -> None:
            annotate(**{"app.asked": prompt})
            seen.append(trace_id == current_trace_id())

        def on_llm_end(self, trace_id: str, span_id: str) -> None:
            seen.append((trace_id == current_trace_id(), span_id == rig.span("chat gpt-4o").span_id))

    run(rig.rlm("ok", callbacks=[Hooks(), rig.callback]), "Как?")
    assert rig.outline(["app.asked"]) == "invoke_agent app.asked=Как?\n  chat gpt-4o"
    assert seen == [True, (True, True)]


@both_ways
def test_a_private_span_is_annotated_and_never_current(rigs: Callable[..., Rig], run: Run) -> None:
    """With providers of our own `annotate` works, and OpenTelemetry's context stays the application's."""
    rig = rigs(joined=False)
    seen: list[bool] = []

    def work() -> str:
        """Looks around."""
        annotate(**{"app.rows": 3})
        seen.append(trace.get_current_span() is trace.INVALID_SPAN)
        return current_trace_id() or ""

    result = run(rig.rlm(WORD, "done", tools=[work], name="root"))
    assert rig.span("execute_tool work").attributes["app.rows"] == 3
    assert seen == [True]
    assert result.messages[-2]["content"] == result.trace_id


@both_ways
def test_attributes_label_everything_inside(rig: Rig, run: Run) -> None:
    """Labels are on all spans of the run; those set in a tool, also in a bare thread, on what the tool asks for too."""

    def work(llm_query: Callable[[str], str]) -> str:
        """Asks from a thread without a context."""

        def ask() -> None:
            with attributes(step="inner"):
                llm_query("sub")

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join(5)
        return "ok"

    with attributes(team="outer"), attributes(team="search"):
        run(rig.rlm(WORD, "sub", "done", tools=[work], name="root", max_depth=1))
    assert rig.outline(["rlm.label.team", "rlm.label.step"]).replace("rlm.label.", "") == (
        "invoke_agent root team=search\n"
        "  chat gpt-4o team=search\n"
        "  execute_tool work team=search\n"
        "    invoke_agent root team=search step=inner\n"
        "      chat gpt-4o team=search step=inner\n"
        "  chat gpt-4o team=search"
    )
