"""Traces that go on in other processes: carriers, environment variables, and whose child is what."""

import textwrap
from collections.abc import Callable, Mapping

import pytest
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, StaticSampler

import rlm_otel
from rlm_otel.events import Link
from rlm_otel.receiver import Receiver
from rlm_otel.testing import Answer, Tool
from rlm_otel.w3c import read_link
from tests.fresh_interpreter import run as run_python
from tests.rig import Rig

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
BOTH = pytest.mark.parametrize("joined", [True, False], ids=["joined", "private"])


@BOTH
def test_s81_a_run_under_a_carrier_is_the_remote_spans_child(rigs: Callable[..., Rig], joined: bool) -> None:
    """Runs of the runner and of one's own, also with private providers; outside of the block they are roots."""
    rig = rigs(joined=joined)
    rlm = rig.rlm("ok", "ok", name="root")
    with rlm_otel.extract({"traceparent": PARENT}, callbacks=[rig.callback]):
        rlm.run("Hi")
        with rlm_otel.run("own", callbacks=[rig.callback]):
            pass
    rlm.run("Hi")
    runs = [span for span in rig.spans if span.name.startswith("invoke_agent")]
    assert [(span.name, span.trace_id == TRACE, span.parent_id) for span in runs] == [
        ("invoke_agent root", True, SPAN),
        ("invoke_agent own", True, SPAN),
        ("invoke_agent root", False, None),
    ]
    assert rig.span("invoke_agent own").links == ()


def test_s81_spans_of_the_application_belong_there_too(rig: Rig) -> None:
    """With its own providers; and what it began in between is nearer than the carrier."""
    with rlm_otel.extract({"traceparent": PARENT}, callbacks=[rig.callback]):
        with rig.tracer_provider.get_tracer("app").start_as_current_span("consume"):
            rig.rlm("ok", name="root").run("Hi")
    assert rig.outline() == "consume\n  invoke_agent root\n    chat gpt-4o"
    assert (rig.span("consume").trace_id, rig.span("consume").parent_id) == (TRACE, SPAN)


def test_a_carrier_inside_a_run_wins(rig: Rig) -> None:
    """A worker that handles many messages in one run of its own: each belongs to whoever sent it."""
    with rlm_otel.run("worker", callbacks=[rig.callback]) as worker:
        with rlm_otel.extract({"traceparent": PARENT}), rlm_otel.run("job", callbacks=[rig.callback]):
            pass
        assert rlm_otel.current_trace_id() == worker.trace_id
    assert rig.span("invoke_agent job").parent_id == SPAN
    assert rig.span("invoke_agent job").attributes["rlm.depth"] == 0


@BOTH
def test_inject_names_the_current_span(rigs: Callable[..., Rig], joined: bool) -> None:
    """A run's, a tool's, with the application's own providers that of its own span; outside nothing."""
    rig = rigs(joined=joined)
    carriers: list[Mapping[str, str]] = []

    def work() -> str:
        """Sends it on."""
        carriers.append(rlm_otel.inject({"other": "kept"}))
        return "ok"

    rig.rlm(Answer(tool_calls=[Tool("work")]), "done", tools=[work]).run("go")
    with rlm_otel.run("own", callbacks=[rig.callback]):
        with rig.tracer_provider.get_tracer("app").start_as_current_span("publish"):
            carriers.append(rlm_otel.inject())
    tool, own, app = (rig.span(name) for name in ("execute_tool work", "invoke_agent own", "publish"))
    sender = app if joined else own
    assert carriers == [
        {"other": "kept", "traceparent": f"00-{tool.trace_id}-{tool.span_id}-01"},
        {"traceparent": f"00-{sender.trace_id}-{sender.span_id}-01"},
    ]
    assert rlm_otel.inject(callbacks=[rig.callback]) == {}


def test_what_was_extracted_is_injected_again(rig: Rig) -> None:
    """With its state, also where nothing of ours began in between."""
    carrier = {"traceparent": PARENT, "tracestate": "vendor=1,other=2"}
    with rlm_otel.extract(carrier, callbacks=[rig.callback]):
        assert rlm_otel.inject(callbacks=[rig.callback]) == carrier
        with rlm_otel.run("job", callbacks=[rig.callback]):
            assert rlm_otel.inject()["tracestate"] == "vendor=1,other=2"


def test_an_unsampled_parent_is_obeyed(rigs: Callable[..., Rig]) -> None:
    """Its children are not recorded, as the W3C wants it; metrics are."""
    rig = rigs(joined=False, sampler=ParentBased(StaticSampler(Decision.RECORD_AND_SAMPLE)))
    with rlm_otel.extract({"traceparent": PARENT[:-1] + "0"}, callbacks=[rig.callback]):
        rig.rlm("ok").run("Hi")
    assert rig.outline() == ""
    assert [point.value for point in rig.points("rlm.client.operations")] == [1]


@pytest.mark.parametrize(
    ("carrier", "link"),
    [
        ({"traceparent": PARENT}, Link(TRACE, SPAN, True, remote=True)),
        ({"Traceparent": PARENT, "TraceState": "a=b"}, Link(TRACE, SPAN, True, "a=b", remote=True)),
        ({"TRACEPARENT": f" {PARENT} "}, Link(TRACE, SPAN, True, remote=True)),
        ({"traceparent": PARENT.encode()}, Link(TRACE, SPAN, True, remote=True)),
        ({"traceparent": PARENT[:-1] + "0"}, Link(TRACE, SPAN, False, remote=True)),
        ({"traceparent": f"cc-{PARENT[3:]}-more"}, Link(TRACE, SPAN, True, remote=True)),
        ({"traceparent": PARENT, "tracestate": "x" * 513}, Link(TRACE, SPAN, True, remote=True)),
        ({"traceparent": f"ff-{PARENT[3:]}"}, None),
        ({"traceparent": f"{PARENT}-more"}, None),
        ({"traceparent": PARENT.replace(TRACE, "0" * 32)}, None),
        ({"traceparent": PARENT.replace(SPAN, "0" * 16)}, None),
        ({"traceparent": "привет"}, None),
        ({"traceparent": None}, None),
        ({}, None),
    ],
    ids=str,
)
def test_carriers_are_read_as_the_w3c_says(carrier: Mapping[str, object], link: Link | None) -> None:
    """Names in any case, bytes of queues too; what is not valid tells of nothing."""
    assert read_link(carrier) == link


def test_a_carrier_that_tells_of_nothing_changes_nothing(rig: Rig) -> None:
    """A message from before."""
    with rlm_otel.run("outer", callbacks=[rig.callback]), rlm_otel.extract({}), rlm_otel.run("inner"):
        pass
    assert rig.outline() == "invoke_agent outer\n  invoke_agent inner"


def test_extract_alone_starts_nothing() -> None:
    """No providers, no exporters, no thread: somebody with callbacks of their own must not get ours for it."""
    done = run_python(
        f"""
        import threading
        import rlm_otel
        with rlm_otel.extract({{"traceparent": {PARENT!r}}}):
            print(rlm_otel.inject()["traceparent"] == {PARENT!r}, threading.active_count())
        """
    )
    assert (done.stdout, done.stderr) == ("True 1\n", "")


# The environment ------------------------------------------------------------------------------------------------------

ENVIRONMENT = {"TRACEPARENT": PARENT, "TRACESTATE": "a=b"}


@BOTH
def test_s81_a_job_obeys_traceparent(rigs: Callable[..., Rig], joined: bool) -> None:
    """Its roots belong under whoever started the process, unless something nearer is there."""
    rig = rigs(joined=joined, environ=ENVIRONMENT)
    rlm = rig.rlm("ok", "ok", name="root")
    rlm.run("Hi")
    with rlm_otel.extract({"traceparent": PARENT.replace(SPAN, "1" * 16)}, callbacks=[rig.callback]):
        rlm.run("Hi")
    runs = [span for span in rig.spans if span.name == "invoke_agent root"]
    assert [(span.trace_id, span.parent_id) for span in runs] == [(TRACE, SPAN), (TRACE, "1" * 16)]


def test_a_web_request_is_nearer_than_traceparent(rigs: Callable[..., Rig]) -> None:
    """A service that was started inside of some trace."""
    one = rigs(environ=ENVIRONMENT)
    with one.tracer_provider.get_tracer("web").start_as_current_span("GET /"):
        one.rlm("ok", name="root").run("Hi")
    assert one.outline() == "GET /\n  invoke_agent root\n    chat gpt-4o"
    assert one.span("GET /").trace_id != TRACE


CHILD = textwrap.dedent(
    """
    import rlm_otel
    with rlm_otel.run("child"):
        pass
    """
)


def test_s81_a_process_that_is_started_with_the_carrier() -> None:
    """Both export for themselves, and it is one trace; the environment alone says it."""
    with Receiver() as receiver:
        parent = f"""
            import os, subprocess, sys
            import rlm_otel
            with rlm_otel.run("parent"):
                carrier = rlm_otel.inject()
                environ = {{**os.environ, "TRACEPARENT": carrier["traceparent"]}}
                subprocess.run([sys.executable, "-c", {CHILD!r}], check=True, env=environ)
            """
        done = run_python(parent, OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint)
        assert (done.returncode, done.stderr) == (0, "")
        spans = {span.name: span for span in receiver.spans()}
    assert spans["invoke_agent child"].parent_id == spans["invoke_agent parent"].span_id
    assert spans["invoke_agent child"].trace_id == spans["invoke_agent parent"].trace_id
