"""Failures, retries and content as `OTelCallback` records them: once, and only what may leave."""

import json
import re

import pytest
from opentelemetry._logs import SeverityNumber
from opentelemetry.trace import StatusCode

from rlm_otel.effects import Close, Effect, perform
from rlm_otel.events import Retrying, Started
from rlm_otel.outcome import Failure
from tests.conformance import violations
from tests.otel_events import CHAT, RUN, T0, TOOL, Rig, failed, failure, finished, make_rig

OPT_IN = "OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN"


class BadRequest(Exception):
    """Stands for the SDK's error."""


def exception_events(rig: Rig) -> dict[str, list[dict[str, object]]]:
    """Attributes of the `exception` span events, by span."""
    return {
        name: [dict(event.attributes or {}) for event in span.events if event.name == "exception"]
        for name, span in rig.spans.items()
    }


# Failures ----------------------------------------------------------------------------------------------------------


def test_a_failure_without_content_tells_class_and_status_only() -> None:
    """With content off the status and the exception say nothing that could quote the prompt."""
    rig = make_rig()
    chat = rig.begin(CHAT, "a")
    why = Failure(type="openai.BadRequestError", message="bad prompt: тайна", exception=ValueError("тайна"), status=400)
    rig.end(finished(chat, 0.5, "failed", failure=why))
    span = rig.spans["chat gpt-4o"]
    assert (span.status.status_code, span.status.description) == (
        StatusCode.ERROR,
        "openai.BadRequestError, HTTP 400",
    )
    assert [(e.name, e.timestamp, dict(e.attributes or {})) for e in span.events] == [
        (
            "exception",
            T0 + 500_000_000,
            {"exception.type": "openai.BadRequestError", "exception.message": "openai.BadRequestError, HTTP 400"},
        )
    ]
    assert violations([span], [rig.reader.get_metrics_data()]) == []


def test_a_failure_that_is_only_a_class_does_not_repeat_it() -> None:
    """Nothing but the type is known: neither the status nor the exception's message says it again."""
    rig = make_rig()
    rig.end(failed(rig.begin(TOOL, "b"), BadRequest("тайна")))
    span = rig.spans["execute_tool search"]
    assert span.status.description is None
    assert exception_events(rig) == {"execute_tool search": [{"exception.type": "BadRequest"}]}


def test_a_failure_with_content_tells_text_and_stack_redacted() -> None:
    """With content on the text and the stack are there, secrets taken out of both."""
    rig = make_rig(content="span")
    try:
        raise BadRequest("нет ключа sk-1234567890abcdef")
    except BadRequest as error:
        rig.end(failed(rig.begin(CHAT, "a"), error))
    span = rig.spans["chat gpt-4o"]
    assert span.status.description == "нет ключа [redacted]"
    (event,) = exception_events(rig)["chat gpt-4o"]
    assert event["exception.message"] == "нет ключа [redacted]"
    stack = str(event["exception.stacktrace"])
    assert stack.startswith("Traceback (most recent call last):\n")
    assert stack.endswith("BadRequest: нет ключа [redacted]\n")


class Failing:
    """An effect that the application's code lets down."""

    def perform(self) -> None:
        raise BadRequest("нет")

    async def aperform(self) -> None:
        self.perform()


@pytest.mark.parametrize(
    ("effect", "files"), [(Failing(), ["test_otel_records.py"]), (Close(None), ["effects.py", "effects.py"])]
)
def test_a_stack_begins_where_this_package_calls_others(effect: Effect, files: list[str]) -> None:
    """Our own steps are of no use to who reads it; of an exception that arose in them they are all there is."""
    rig = make_rig(content="span")
    _, error = perform(effect)
    assert error is not None
    rig.end(failed(rig.begin(CHAT, "a"), error))
    (event,) = exception_events(rig)["chat gpt-4o"]
    assert re.findall(r'File ".*/(\w+\.py)"', str(event["exception.stacktrace"])) == files


def test_content_for_the_logs_only_keeps_error_text_off_the_spans() -> None:
    """`content="event"`: the span's status and exception stay without text, the log event has it."""
    rig = make_rig(content="event", logs=True)
    rig.callback._environ = {OPT_IN: "logs/dup"}
    rig.end(failed(rig.begin(CHAT, "a"), BadRequest("тайна")))
    assert rig.spans["chat gpt-4o"].status.description is None
    assert exception_events(rig) == {"chat gpt-4o": [{"exception.type": "BadRequest"}]}
    assert dict(rig.logs)["gen_ai.client.operation.exception"]["exception.message"] == "тайна"


def test_one_failure_is_recorded_once() -> None:
    """A tool's exception that leaves the sub-run and the run is one record; each level has status and error.type."""
    rig = make_rig()
    run, sub, tool = rig.begin(RUN, "root"), rig.begin(TOOL, "sub", "root"), rig.begin(CHAT, "c", "sub")
    error = BadRequest("boom")
    rig.end(failed(tool, error), failed(sub, error, passage="passing"), failed(run, error, passage="passing"))
    assert {name: len(events) for name, events in exception_events(rig).items()} == {
        "chat gpt-4o": 1,
        "execute_tool search": 0,
        "invoke_agent researcher": 0,
    }
    assert {(s.attributes or {})["error.type"] for s in rig.spans.values()} == {"BadRequest"}
    assert {s.status.status_code for s in rig.spans.values()} == {StatusCode.ERROR}


def test_another_failure_of_the_run_is_recorded_too() -> None:
    """A run that fails by an exception of its own records that, whatever failed inside before."""
    rig = make_rig()
    run, tool = rig.begin(RUN, "root"), rig.begin(TOOL, "b", "root")
    rig.end(failed(tool, BadRequest("first")), failed(run, BadRequest("second")))
    assert {name: len(events) for name, events in exception_events(rig).items()} == {
        "execute_tool search": 1,
        "invoke_agent researcher": 1,
    }


@pytest.mark.parametrize(("opt_in", "on_span"), [("logs", 0), ("logs/dup", 1)])
def test_exceptions_go_to_the_logs_where_the_environment_says_so(opt_in: str, on_span: int) -> None:
    """The standard opt-in makes a log event of the exception, in the span's context, instead of the span event."""
    rig = make_rig(logs=True)
    rig.callback._environ = {OPT_IN: opt_in}
    rig.end(failed(rig.begin(CHAT, "a"), BadRequest("x"), elapsed_s=2.0), failed(rig.begin(TOOL, "b"), BadRequest("y")))
    span = rig.spans["chat gpt-4o"]
    assert len(span.events) == on_span
    records = [log.log_record for log in rig.log_exporter.get_finished_logs()]
    assert [(r.event_name, r.severity_number, dict(r.attributes or {})) for r in records] == [
        ("gen_ai.client.operation.exception", SeverityNumber.WARN, {"exception.type": "BadRequest"}),
        ("rlm.operation.exception", SeverityNumber.WARN, {"exception.type": "BadRequest"}),
    ]
    assert (records[0].span_id, records[0].timestamp) == (span.context.span_id, T0 + 2_000_000_000)
    assert violations(rig.exporter.get_finished_spans(), logs=rig.log_exporter.get_finished_logs()) == []


def test_without_a_logs_destination_exceptions_stay_on_the_span() -> None:
    """The opt-in alone loses nothing."""
    rig = make_rig()
    rig.callback._environ = {OPT_IN: "logs"}
    rig.end(failed(rig.begin(CHAT, "a"), BadRequest("x")))
    assert len(rig.spans["chat gpt-4o"].events) == 1


def retry_of(start: Started) -> Retrying:
    """Its first attempt got a 429 and will be repeated."""
    why = Failure(type="openai.RateLimitError", message="тайна", status=429, request_id="req_1", retry_after_s=2.0)
    return Retrying(
        origin=start.origin,
        time_ns=T0 + 7,
        monotonic_ns=7,
        operation=start.operation,
        attempt=1,
        max_attempts=2,
        failure=why,
        delay_s=2.0,
    )


def attempts(rig: Rig) -> dict[str | None, int]:
    """`rlm.client.attempts` by `error.type`."""
    return {point.attributes.get("error.type"): point.value for point in rig.points("rlm.client.attempts")}


def test_a_failed_attempt_is_a_span_event_and_counted() -> None:
    """A retry shows on the span at its time; attempts are counted with and without error, the operation once."""
    rig = make_rig()
    chat = rig.begin(CHAT, "a")
    rig.callback.on_event(retry_of(chat))
    rig.end(finished(chat, attempts=2))
    (event,) = rig.spans["chat gpt-4o"].events
    assert (event.name, event.timestamp, dict(event.attributes or {})) == (
        "rlm.retry",
        T0 + 7,
        {
            "error.type": "openai.RateLimitError",
            "rlm.http.status_code": 429,
            "rlm.request.id": "req_1",
            "rlm.retry_after": 2.0,
            "rlm.retry.attempt": 1,
            "rlm.retry.max_attempts": 2,
            "rlm.retry.delay": 2.0,
        },
    )
    assert attempts(rig) == {"openai.RateLimitError": 1, None: 1}
    assert [p.value for p in rig.points("rlm.client.operations")] == [1]


def test_a_call_cancelled_while_it_waits_to_retry_had_no_further_attempt() -> None:
    """The one attempt was counted as retried, and is not counted again at the end."""
    rig = make_rig()
    chat = rig.begin(CHAT, "a")
    rig.callback.on_event(retry_of(chat))
    rig.end(finished(chat, outcome="cancelled", failure=failure(KeyboardInterrupt()), attempts=1))
    assert attempts(rig) == {"openai.RateLimitError": 1}


# Content -----------------------------------------------------------------------------------------------------------


def test_content_on_spans_is_readable_json() -> None:
    """Prompts, answers, tool arguments and results are JSON text in readable UTF-8."""
    rig = make_rig(content="span", logs=True)
    chat, tool = rig.begin(CHAT, "a"), rig.begin(TOOL, "b")
    rig.end(finished(chat), finished(tool))
    attributes = rig.spans["chat gpt-4o"].attributes or {}
    text = str(attributes["gen_ai.input.messages"])
    assert "Как дела? 🙂" in text
    assert json.loads(text)[0]["role"] == "user"
    assert "Хорошо 🐱" in str(attributes["gen_ai.output.messages"])
    assert "кот" in str((rig.spans["execute_tool search"].attributes or {})["gen_ai.tool.call.arguments"])
    assert rig.logs == []


def test_content_on_events_is_structured_and_off_the_spans() -> None:
    """`content="event"`: the details event has what the span says and the messages as structure, the span has none."""
    rig = make_rig(content="event", logs=True)
    rig.end(finished(rig.begin(CHAT, "a")), finished(rig.begin(TOOL, "b")))
    span = rig.spans["chat gpt-4o"]
    (name, attributes), of_the_tool = rig.logs
    assert name == "gen_ai.client.inference.operation.details"
    assert attributes.keys() - (span.attributes or {}).keys() == {"gen_ai.input.messages", "gen_ai.output.messages"}
    assert attributes["gen_ai.input.messages"][0]["parts"][0]["content"] == "Как дела? 🙂"
    log, _ = rig.log_exporter.get_finished_logs()
    assert (log.log_record.span_id, log.log_record.severity_number) == (span.context.span_id, SeverityNumber.DEBUG)
    assert of_the_tool[0] == "rlm.operation.details"
    assert of_the_tool[1]["gen_ai.tool.call.arguments"] == {"q": "кот"}
    assert of_the_tool[1]["gen_ai.tool.call.result"] == {"звук": "мяу"}


def test_without_content_nothing_of_it_leaves() -> None:
    """By default no text of prompt, answer, tool or error is in any signal."""
    rig = make_rig(logs=True)
    run, chat, tool = rig.begin(RUN, "root"), rig.begin(CHAT, "a", "root"), rig.begin(TOOL, "b", "root")
    rig.end(finished(chat), failed(tool, BadRequest("тайна")), finished(run))
    spans = [json.loads(span.to_json()) for span in rig.exporter.get_finished_spans()]  # its text is escaped
    everything = str(spans)
    everything += str(rig.reader.get_metrics_data()) + str(rig.logs)
    assert not any(word in everything for word in ("Как дела", "Хорошо", "кот", "мяу", "тайна"))


def test_every_signal_names_the_same_scope() -> None:
    """Tracer, meter and logger carry the scope `rlm_otel` and the conventions' schema."""
    rig = make_rig(content="both", logs=True)
    rig.end(finished(rig.begin(CHAT, "a")))
    (span,), (log,) = rig.exporter.get_finished_spans(), rig.log_exporter.get_finished_logs()
    data = rig.reader.get_metrics_data()
    assert data is not None
    metrics = [scope.scope for resource in data.resource_metrics for scope in resource.scope_metrics]
    assert {
        (s and s.name, s and s.schema_url) for s in (span.instrumentation_scope, log.instrumentation_scope, *metrics)
    } == {("rlm_otel", "https://opentelemetry.io/schemas/gen-ai-dev/1.42.0-dev")}
