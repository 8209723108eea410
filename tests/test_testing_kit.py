"""The test kit for users: what it captures, how it shows it, and what it leaves alone."""

import os
import subprocess
import sys
import textwrap
from contextlib import aclosing, closing
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from rlm_otel.testing import (
    Answer,
    Capture,
    NumberedTraceIds,
    Point,
    ScriptedServer,
    StepClock,
    Tokens,
    numbered_ids,
    scripted_rlm,
)


def run(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    """A fresh interpreter with the same modules at hand."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path if path)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environ, capture_output=True, text=True, timeout=60, check=False
    )


# Clock and ids -----------------------------------------------------------------------------------------------------


def test_a_step_clock_goes_on_at_each_reading() -> None:
    """Both of its clocks read the same time, which steps at each reading and moves by `advance`."""
    clock = StepClock(step_s=0.5)
    assert [clock.monotonic_ns(), clock.wall_ns()] == [0, 1_700_000_000_500_000_000]
    clock.advance(10)
    assert clock.monotonic_ns() == 11_000_000_000


def test_a_step_clock_without_a_step_stands_still() -> None:
    """With `step_s=0` time passes by `advance` alone."""
    clock = StepClock(step_s=0)
    assert [clock.monotonic_ns(), clock.monotonic_ns()] == [0, 0]
    clock.advance(0.25)
    assert clock.monotonic_ns() == 250_000_000


def test_ids_are_numbered() -> None:
    """Each maker of ids counts from 1."""
    make_id = numbered_ids("run-")
    assert [make_id(), make_id(), numbered_ids()()] == ["run-1", "run-2", "op-1"]


def test_trace_ids_are_numbered() -> None:
    """Traces and spans are counted apart, from the number that one gives."""
    ids = NumberedTraceIds(first=10)
    assert [ids.generate_trace_id(), ids.generate_span_id(), ids.generate_span_id()] == [10, 10, 11]
    assert NumberedTraceIds().generate_trace_id() == 1


def test_a_run_is_the_same_every_time() -> None:
    """With a step clock and numbered ids all times and ids of a trace are known beforehand."""
    with Capture() as capture, ScriptedServer([Answer("4")]) as server:
        options = {"clock": StepClock(), "make_id": numbered_ids()}
        with closing(scripted_rlm(server, callbacks=[capture.callback], **options)) as rlm:  # type: ignore[arg-type]
            result = rlm.run("2+2?")
    assert (result.run_id, result.trace_id) == ("op-1", f"{1:032x}")
    call = capture.span("chat gpt-4o")
    assert (call.trace_id, call.span_id, call.parent_id) == (f"{1:032x}", f"{2:016x}", f"{1:016x}")
    assert (call.start_ns, call.duration_s) == (1_700_000_002_000_000_000, 1.0)
    assert capture.value("gen_ai.client.inference.duration") == 1.0


# Capture -----------------------------------------------------------------------------------------------------------


def test_a_capture_has_spans_metrics_and_logs() -> None:
    """One run shows in all three signals; attributes are plain dicts, ids lower-case hex."""
    with (
        Capture(content="event") as capture,
        ScriptedServer([Answer("Да 🙂", usage=Tokens(input=3, output=2))]) as server,
    ):
        with closing(scripted_rlm(server, callbacks=[capture.callback], name="root")) as rlm:
            rlm.run("Как дела?")
    call = capture.span("chat gpt-4o")
    assert (call.kind, call.status, call.scope, call.parent_id) == (
        "client",
        "unset",
        "rlm_otel",
        capture.span("invoke_agent root").span_id,
    )
    assert call.attributes["gen_ai.usage.input_tokens"] == 3
    log, of_the_run = capture.logs
    assert (of_the_run.name, of_the_run.span_id) == ("rlm.operation.details", call.parent_id)
    assert (log.name, log.span_id) == ("gen_ai.client.inference.operation.details", call.span_id)
    assert "Да 🙂" in str(log.attributes["gen_ai.output.messages"])
    assert capture.open_spans == []


def test_metrics_are_found_by_name_and_attributes() -> None:
    """`_` stands for a dot in keywords; `value` and `count` sum over what matches."""
    with Capture() as capture, ScriptedServer([Answer(usage=Tokens(input=3, output=2)), Answer("b")]) as server:
        with closing(scripted_rlm(server, callbacks=[capture.callback])) as rlm:
            rlm.run("a")
            rlm.run("b")
    assert capture.value("rlm.client.operations", rlm_outcome="completed", gen_ai_request_model="gpt-4o") == 2
    assert capture.value("gen_ai.client.inference.operation.input_tokens") == 4
    assert capture.count("gen_ai.client.inference.operation.input_tokens") == 2
    assert capture.points("rlm.client.operations", rlm_outcome="failed") == []
    assert capture.points("no.such.metric") == []


def test_exemplars_lead_to_the_span_however_often_one_looks() -> None:
    """A point keeps its exemplars and a gauge its value when they are read a second time."""
    with Capture() as capture, ScriptedServer([Answer("b", headers={"x-ratelimit-remaining-requests": "7"})]) as server:
        with closing(scripted_rlm(server, callbacks=[capture.callback])) as rlm:
            rlm.run("a")
    for _ in range(2):
        (point,) = capture.points("gen_ai.client.inference.duration")
        assert [exemplar.span_id for exemplar in point.exemplars] == [capture.span("chat gpt-4o").span_id]
        assert (point.count, capture.value("rlm.client.ratelimit.remaining")) == (1, 7)


def test_a_missing_span_is_an_error_that_shows_the_trace() -> None:
    """One sees what there is instead."""
    with Capture() as capture, ScriptedServer([Answer("b")]) as server:
        with closing(scripted_rlm(server, callbacks=[capture.callback])) as rlm:
            rlm.run("a")
    capture.tracer_provider.get_tracer("app").start_span("GET /")
    with pytest.raises(AssertionError) as caught:
        capture.span("chat gpt-5")
    assert str(caught.value) == (
        "0 ended spans are named 'chat gpt-5'; captured:\ninvoke_agent\n  chat gpt-4o\nnot ended: GET /"
    )


def test_a_missing_point_is_an_error_that_shows_the_others() -> None:
    """One sees which points the metric has, or which metrics there are."""
    with Capture() as capture:
        counter = capture.telemetry.meter_provider.get_meter("app").create_counter("app.cups")
        counter.add(1, {"size": "big"})
    with pytest.raises(AssertionError) as caught:
        capture.value("app.cups", size="small")
    assert str(caught.value) == "app.cups has no point with {'size': 'small'}; it has:\n  {'size': 'big'}"
    with pytest.raises(AssertionError) as caught:
        capture.value("app.plates")
    assert str(caught.value) == (
        "app.plates has no point with {}; it has:\n  (no points)\nmetrics with points: app.cups"
    )
    assert capture.points("app.cups") == [Point(attributes={"size": "big"}, value=1)]


def test_a_capture_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what is given as `environ` counts, so that a test is the same on every machine."""
    variable = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
    shown = {}
    for environ in ({}, {variable: "SPAN_ONLY"}):
        with Capture(environ=environ) as capture, ScriptedServer([Answer("b")]) as server:
            with closing(scripted_rlm(server, callbacks=[capture.callback])) as rlm:
                rlm.run("a")
        shown[len(environ)] = "gen_ai.output.messages" in capture.span("chat gpt-4o").attributes
    assert shown == {0: False, 1: True}


def test_without_sampling_there_are_metrics_alone() -> None:
    """`sampler` is the SDK's."""
    with Capture(sampler=ALWAYS_OFF) as capture, ScriptedServer([Answer("b")]) as server:
        with closing(scripted_rlm(server, callbacks=[capture.callback])) as rlm:
            rlm.run("a")
    assert capture.outline() == ""
    assert capture.value("rlm.client.operations") == 1


def test_a_joined_capture_is_under_the_callers_span_and_a_private_one_is_not() -> None:
    """`joined` says whether OpenTelemetry's context counts."""
    outlines = []
    for joined in (True, False):
        with Capture(joined=joined) as capture, ScriptedServer([Answer("b")]) as server:
            with closing(scripted_rlm(server, callbacks=[capture.callback])) as rlm:
                with capture.tracer_provider.get_tracer("app").start_as_current_span("GET /"):
                    rlm.run("a")
        outlines.append(capture.outline())
    assert outlines == ["GET /\n  invoke_agent\n    chat gpt-4o", "GET /\ninvoke_agent\n  chat gpt-4o"]


async def test_the_runner_closes_in_an_event_loop() -> None:
    """`aclosing` closes the connections of the loop."""
    with Capture() as capture, ScriptedServer([Answer("b")]) as server:
        async with aclosing(scripted_rlm(server, callbacks=[capture.callback])) as rlm:
            assert (await rlm.arun("a")).text == "b"
    assert capture.outline() == "invoke_agent\n  chat gpt-4o"


# Loading -----------------------------------------------------------------------------------------------------------


def test_importing_the_kit_loads_neither_the_sdk_nor_openai_nor_pytest() -> None:
    """Each name is loaded when it is first used; the scripted server needs the standard library alone."""
    done = run(
        "-c",
        "import sys, rlm_otel.testing as testing; testing.ScriptedServer; testing.StepClock;"
        "print([name for name in ('opentelemetry', 'openai', 'pytest', 'rich', 'pydantic') if name in sys.modules]);"
        "print(all(getattr(testing, name) for name in testing.__all__), 'pytest' in sys.modules)",
    )
    assert (done.stdout, done.stderr) == ("[]\nTrue False\n", "")


def test_the_plugin_works_in_a_users_test_suite(tmp_path: Path) -> None:
    """Both fixtures, asked for by `pytest_plugins`, with warnings as errors."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["rlm_otel.testing.pytest_plugin"]\n')
    (tmp_path / "test_mine.py").write_text(
        textwrap.dedent("""\
            from contextlib import closing

            from rlm_otel.testing import Answer, scripted_rlm


            def test_mine(rlm_capture, scripted_server):
                server = scripted_server([Answer("Hi")])
                with closing(scripted_rlm(server, callbacks=[rlm_capture.callback])) as rlm:
                    assert rlm.run("Hello").text == "Hi"
                assert rlm_capture.outline() == "invoke_agent\\n  chat gpt-4o"


            def test_fresh(rlm_capture):
                assert rlm_capture.spans == []
            """)
    )
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-W", "error", "--rootdir", str(tmp_path))
    done = run("-m", "pytest", *options, cwd=tmp_path)
    assert done.stdout.splitlines()[-1].startswith("2 passed in "), done.stdout + done.stderr


def test_a_capture_leaves_the_global_providers_alone() -> None:
    """Those of the application stay what they are."""
    before = trace.get_tracer_provider()
    with Capture():
        assert trace.get_tracer_provider() is before
