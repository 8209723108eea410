"""Feedback: a score of a reply becomes an evaluation event, or a span where no logs are recorded, and a metric."""

from collections.abc import Callable
from typing import Any

import pytest

import rlm_otel
from rlm_otel import Result
from rlm_otel.fence import failures
from rlm_otel.receiver import Receiver
from rlm_otel.telemetry import Telemetry
from rlm_otel.testing import Capture
from tests.fresh_interpreter import run as run_python
from tests.rig import Rig


def score(rig: Rig, subject: object, **more: Any) -> None:
    rlm_otel.feedback(subject, "thumbs", 1, label="up", callbacks=[rig.callback], **more)


def test_it_is_an_event_in_the_context_of_the_run(rig: Rig) -> None:
    """By the conventions, with the ids of the run's span, long after its end."""
    result = rig.rlm("ok", name="root").run("Hi")
    score(rig, result)
    [log] = rig.logs
    root = rig.span("invoke_agent root")
    assert (log.name, log.trace_id, log.span_id) == ("gen_ai.evaluation.result", root.trace_id, root.span_id)
    assert log.attributes == {
        "gen_ai.evaluation.name": "thumbs",
        "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.evaluation.score.label": "up",
    }
    assert len(rig.spans) == 2


def test_it_is_a_metric_with_the_run_as_exemplar(rig: Rig) -> None:
    """One series a name and label; ids are only in the exemplar."""
    result = rig.rlm("ok").run("Hi")
    for _ in range(2):
        score(rig, result)
    [point] = rig.points("rlm.feedback")
    assert point.attributes == {"gen_ai.evaluation.name": "thumbs", "gen_ai.evaluation.score.label": "up"}
    assert (point.value, point.count) == (2.0, 2)
    assert [(one.trace_id, one.span_id) for one in point.exemplars] == [(result.trace_id, result.span_id)]


def test_blocks_traceparents_and_trace_ids_are_judged_too(rig: Rig) -> None:
    """Of a trace id alone the event knows only the trace."""
    with rlm_otel.run("a", callbacks=[rig.callback]) as run:
        carrier = rlm_otel.inject(callbacks=[rig.callback])
    for subject in (run, carrier["traceparent"], run.trace_id):
        score(rig, subject)
    assert [(log.trace_id, log.span_id) for log in rig.logs] == [
        (run.trace_id, run.span_id),
        (run.trace_id, run.span_id),
        (run.trace_id, None),
    ]


def without_logs(rig: Capture) -> rlm_otel.OTelCallback:
    """A callback on the same traces and metrics, and no logs."""
    providers = (rig.telemetry.tracer_provider, rig.telemetry.meter_provider, None)
    return rlm_otel.OTelCallback(Telemetry(providers, joined_traces=rig.telemetry.joined_traces))


@pytest.mark.parametrize("joined", [True, False], ids=["joined", "private"])
def test_without_logs_it_is_a_span_in_the_trace(rigs: Callable[..., Rig], joined: bool) -> None:
    """Below the run's own span, wherever the caller is now; of a trace id alone still in that trace."""
    rig = rigs(joined=joined)
    callback = without_logs(rig)
    result = rig.rlm("ok", name="root", callbacks=[callback]).run("Hi")
    with rig.tracer_provider.get_tracer("web").start_as_current_span("POST /feedback"):
        rlm_otel.feedback(result, "thumbs", True, callbacks=[callback])
    rlm_otel.feedback(str(result.trace_id), "thumbs", False, callbacks=[callback])
    below, alone = [span for span in rig.spans if span.name == "rlm.feedback"]
    assert (below.trace_id, below.parent_id, below.end_ns - below.start_ns) == (result.trace_id, result.span_id, 0)
    assert below.attributes == {"gen_ai.evaluation.name": "thumbs", "gen_ai.evaluation.score.value": 1.0}
    assert (alone.trace_id, alone.attributes["gen_ai.evaluation.score.value"]) == (result.trace_id, 0.0)
    assert rig.logs == []


@pytest.mark.parametrize(("content", "said"), [("both", "не то"), ("span", None), ("none", None)])
def test_s65_the_explanation_is_content(rigs: Callable[..., Rig], content: str, said: str | None) -> None:
    """On the event only where content goes to events."""
    rig = rigs(content=content)
    score(rig, rig.rlm("ok").run("Hi"), explanation="не то")
    [log] = [log for log in rig.logs if log.name == "gen_ai.evaluation.result"]
    assert log.attributes.get("gen_ai.evaluation.explanation") == said


def test_a_word_alone_is_no_number(rig: Rig) -> None:
    """An event without a score, and nothing measured."""
    rlm_otel.feedback(rig.rlm("ok").run("Hi"), "tone", label="rude", callbacks=[rig.callback])
    assert [log.attributes for log in rig.logs] == [
        {"gen_ai.evaluation.name": "tone", "gen_ai.evaluation.score.label": "rude"}
    ]
    assert rig.points("rlm.feedback") == []


def test_a_negative_score_is_told_and_not_measured(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """OpenTelemetry's histograms refuse it: it is on the event, and nothing warns."""
    result = rig.rlm("ok").run("Hi")
    for value in (-1, 1):
        rlm_otel.feedback(result, "thumbs", value, callbacks=[rig.callback])
    assert [log.attributes["gen_ai.evaluation.score.value"] for log in rig.logs] == [-1.0, 1.0]
    assert rig.value("rlm.feedback") == 1
    assert caplog.messages == []


def test_inside_a_run_it_goes_to_that_runs_callbacks(rig: Rig) -> None:
    """A judge within the pipeline."""
    with rlm_otel.run("pipeline", callbacks=[rig.callback]):
        result = rig.rlm("ok", callbacks=()).run("Hi")
        rlm_otel.feedback(result, "judge", 0.5)
    assert [log.span_id for log in rig.logs] == [result.span_id]


def test_a_result_without_a_trace_is_measured_all_the_same(rig: Rig) -> None:
    """It belongs to nothing in particular."""
    score(rig, Result())
    assert [(log.trace_id, log.span_id) for log in rig.logs] == [(None, None)]
    assert [point.value for point in rig.points("rlm.feedback")] == [1.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("T-17", "thumbs", 1), "feedback('T-17'): no trace id of 32 hex digits, no traceparent; give a Result"),
        ((None, "thumbs", 1), "feedback(None): give a Result, a block of run(), a trace id or a traceparent"),
        (("0" * 31 + "1", "", 1), "feedback(name=''): give a text that says what is judged, such as 'thumbs'"),
        (("0" * 31 + "1", "thumbs", "5"), "feedback(value='5'): give a finite number, or True and False"),
        (("0" * 31 + "1", "thumbs", float("nan")), "feedback(value=nan): give a finite number, or True and False"),
        (("0" * 31 + "1", "thumbs", 10**400), "feedback(value=1000"),
        (("0" * 31 + "1", "thumbs"), "feedback('thumbs') has neither a value nor a label; give one of them"),
    ],
    ids=["no id", "None", "no name", "text", "nan", "beyond floats", "nothing"],
)
def test_mistakes_are_told(arguments: Any, message: str) -> None:
    """With what would do."""
    with pytest.raises(TypeError) as raised:
        rlm_otel.feedback(*arguments, callbacks=[])
    assert str(raised.value).startswith(message)
    assert failures() == {}


@pytest.mark.parametrize("text", [{"label": 5}, {"label": ""}, {"explanation": 5}], ids=str)
def test_a_text_that_is_none_is_told(text: Any) -> None:
    """A label is one of few words on a metric, and never a number."""
    [name] = text
    with pytest.raises(TypeError, match=rf"feedback\({name}=.*\): give a text with something in it, or leave it out"):
        rlm_otel.feedback("0" * 31 + "1", "thumbs", 1, callbacks=[], **text)


def test_by_default_it_goes_where_everything_goes() -> None:
    """The one shared callback, private providers from the environment, and no log exporter for its sake."""
    with Receiver() as receiver:
        done = run_python(
            """
            import rlm_otel
            with rlm_otel.run("job") as run:
                with rlm_otel.tool("step"):
                    pass
            rlm_otel.feedback(run, "thumbs", 1)
            """,
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
        )
        assert (done.returncode, done.stderr) == (0, "")
        spans = {span.name: span for span in receiver.spans()}
        assert sorted(spans) == ["execute_tool step", "invoke_agent job", "rlm.feedback"]
        assert spans["rlm.feedback"].parent_id == spans["invoke_agent job"].span_id
        assert "rlm.feedback" in {point.metric for point in receiver.latest_points()}
        assert receiver.logs() == ()
