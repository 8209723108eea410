"""Log events over real OTLP: each tells all that its span tells, belongs to it, and holds to the registry.

The suite's own guard holds whatever is emitted here against the registry.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

import pytest

from rlm_otel import OTelCallback, StopRun, configure
from rlm_otel.content import EVENT_VARIABLE, MODE_VARIABLE, wants_events
from rlm_otel.emitter import Emitter
from rlm_otel.received import ReceivedLog, ReceivedSpan
from rlm_otel.receiver import Receiver
from rlm_otel.testing import Answer, Broken, Failure, ScriptedServer, Tokens, Tool, scripted_rlm
from tests.fresh_interpreter import run
from tests.surface_calls import observe

DETAILS = "gen_ai.client.inference.operation.details"
OWN_DETAILS = "rlm.operation.details"
EXCEPTION = "gen_ai.client.operation.exception"
OWN_EXCEPTION = "rlm.operation.exception"
CONTENT = {
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "rlm.content.omitted",
}
LOGS_ONLY = {"OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": "logs"}
USAGE = Tokens(input=8, output=3, cached=2, reasoning=1)


@pytest.fixture(params=["http/protobuf", "grpc"])
def receiver(request: pytest.FixtureRequest) -> Iterator[Receiver]:
    with Receiver(request.param) as running:
        yield running


class Sent:
    """What arrived: spans and log records by span id."""

    def __init__(self, receiver: Receiver) -> None:
        self.spans = {span.span_id: span for span in receiver.spans()}
        self.logs = receiver.logs()

    def span(self, name: str) -> ReceivedSpan:
        (found,) = (span for span in self.spans.values() if span.name == name)
        return found

    def of(self, span: ReceivedSpan) -> list[ReceivedLog]:
        return [log for log in self.logs if (log.trace_id, log.span_id) == (span.trace_id, span.span_id)]


def weather(city: str) -> str:
    """Says the weather."""
    if city == "Атлантида":
        raise LookupError(city)
    return f"В городе {city} солнечно ☀️"


def tool(city: str) -> Answer:
    return Answer(tool_calls=[Tool("weather", {"city": city})], usage=USAGE)


def work(receiver: Receiver, content: str | None, environ: dict[str, str]) -> Sent:
    """Runs with tools (one fails), a stream that breaks off, a refused call, one that was left, all other surfaces."""
    script = (
        *(tool("Москва"), tool("Атлантида"), Answer("Солнечно", usage=USAGE)),
        Broken("one two", how="no_finish"),
        Failure(400, message="плохой запрос"),
        Answer(chunks=("a ", "b ", "c")),
    )
    with configure(endpoint=receiver.endpoint, protocol=receiver.protocol, logs=True, environ={}) as telemetry:
        callback = OTelCallback(telemetry, content=content)
        callback._environ = environ
        with ScriptedServer(script) as server, scripted_rlm(server, callbacks=[callback], tools=[weather]) as rlm:
            assert str(rlm.run("Погода?")) == "Солнечно"
            with pytest.raises(Exception, match="finish reason"):
                list(rlm.stream("Считай"))
            with pytest.raises(Exception, match="плохой запрос"):
                rlm.run("Плохо")
            with rlm.stream("Недолго") as stream:
                next(stream)
        emitter = Emitter([callback])
        asked: dict[str, Any] = {"model": "gpt-5", "input": "Как дела?", "instructions": "Кратко."}
        observe(emitter, Answer("Хорошо", usage=USAGE), "responses.create", **asked)
        observe(emitter, Answer("Хорошо", usage=USAGE), "responses.create", **asked, stream=True)
        observe(emitter, Answer("Дальше", usage=USAGE), "completions.create", model="babbage-002", prompt="Жили-были")
        observe(emitter, Answer(usage=USAGE), "embeddings.create", model="text-embedding-3-small", input="кот")
        observe(emitter, Answer("Да"), "responses.retrieve", response_id="resp_1")
    return Sent(receiver)


def is_inference(span: ReceivedSpan) -> bool:
    return span.attributes["gen_ai.operation.name"] in ("chat", "text_completion")


@pytest.mark.parametrize("content", ["event", "both"])
def test_every_operation_with_content_has_one_details_event(receiver: Receiver, content: str) -> None:
    """Runs, calls of all surfaces and tools; embeddings have no content and get none."""
    sent = work(receiver, content, {})
    events = {span.span_id: [log.event_name for log in sent.of(span)] for span in sent.spans.values()}
    expected = {
        span.span_id: []
        if span.attributes["gen_ai.operation.name"] == "embeddings"
        else [DETAILS if is_inference(span) else OWN_DETAILS]
        for span in sent.spans.values()
    }
    assert events == expected
    assert len(sent.spans) == 17
    assert len(sent.logs) == 16


@pytest.mark.parametrize("content", ["event", "both"])
def test_a_details_event_tells_all_that_its_span_tells(receiver: Receiver, content: Literal["event", "both"]) -> None:
    """The same attributes, in the same trace, at the time of the end; only the content differs, in its form."""
    sent = work(receiver, content, {})
    for log in sent.logs:
        assert log.span_id is not None
        span = sent.spans[log.span_id]
        told = {name: value for name, value in log.attributes.items() if name not in CONTENT}
        assert told == {name: value for name, value in span.attributes.items() if name not in CONTENT}
        assert (log.trace_id, log.time_ns, log.severity_number) == (span.trace_id, span.end_ns, 5)
        assert log.observed_ns > 0
        assert log.scope == "rlm_otel"
        if content == "both":
            assert log.attributes.keys() == span.attributes.keys()
        else:
            assert not span.attributes.keys() & CONTENT


def test_content_on_events_is_structured(receiver: Receiver) -> None:
    """Messages, instructions, tools, arguments and results, readable as they were said."""
    sent = work(receiver, "event", {})
    first = next(log for log in sent.logs if "gen_ai.tool.call.arguments" in log.attributes)
    assert first.attributes["gen_ai.tool.call.arguments"] == {"city": "Москва"}
    assert first.attributes["gen_ai.tool.call.result"] == {"value": "В городе Москва солнечно ☀️"}
    (run, *_) = (log for log in sent.logs if log.attributes["gen_ai.operation.name"] == "invoke_agent")
    said = {"type": "text", "content": "Погода?"}
    assert run.attributes["gen_ai.input.messages"] == ({"role": "user", "parts": (said,)},)
    answered: Any = run.attributes["gen_ai.output.messages"]
    assert answered[0]["parts"] == ({"type": "text", "content": "Солнечно"},)
    (response, _) = (log for log in sent.logs if log.attributes.get("gen_ai.request.model") == "gpt-5")
    assert response.attributes["gen_ai.system_instructions"] == ({"type": "text", "content": "Кратко."},)


def test_exceptions_are_log_events_of_their_span_once(receiver: Receiver) -> None:
    """Under the standard variable: of the tool, the stream that broke off and the refused call, no span event."""
    sent = work(receiver, None, LOGS_ONLY)
    told = Counter((log.event_name, log.attributes["exception.type"]) for log in sent.logs)
    assert told == {
        (OWN_EXCEPTION, "LookupError"): 1,
        (EXCEPTION, "rlm_otel.errors.TornStream"): 1,
        (EXCEPTION, "openai.BadRequestError"): 1,
    }
    for log in sent.logs:
        assert log.span_id is not None
        span = sent.spans[log.span_id]
        assert (log.trace_id, log.time_ns, log.severity_number) == (span.trace_id, span.end_ns, 13)
        assert span.attributes["error.type"] == log.attributes["exception.type"]
    assert [event for span in sent.spans.values() for event in span.events if event.name == "exception"] == []
    assert "плохой" not in repr(sent.logs)


def test_exceptions_with_content_on_events_have_text_and_stack(receiver: Receiver) -> None:
    """Beside the details of the same span."""
    sent = work(receiver, "event", LOGS_ONLY)
    (refused,) = (log for log in sent.logs if log.attributes.get("exception.type") == "openai.BadRequestError")
    assert refused.attributes["exception.message"] == "Error code: 400 - плохой запрос"
    assert str(refused.attributes["exception.stacktrace"]).startswith("Traceback (most recent call last):\n")
    events = sorted(log.event_name for log in sent.logs if log.span_id == refused.span_id)
    assert events == [DETAILS, EXCEPTION]


def test_a_run_that_a_hook_stops_is_told_like_any_other(receiver: Receiver) -> None:
    """Its details say that it was closed; it is no exception."""

    class Stopper:
        def on_tool_start(self, tool_name: str, tool_input: object) -> None:
            raise StopRun("enough")

    with configure(endpoint=receiver.endpoint, protocol=receiver.protocol, logs=True, environ={}) as telemetry:
        callback = OTelCallback(telemetry, content="event")
        callback._environ = LOGS_ONLY
        callbacks = [callback, Stopper()]
        with ScriptedServer([tool("Москва")]) as server:
            with scripted_rlm(server, callbacks=callbacks, tools=[weather], name="root") as rlm:
                with pytest.raises(StopRun):
                    rlm.run("Погода?")
    sent = Sent(receiver)
    (details,) = sent.of(sent.span("invoke_agent root"))
    assert (details.event_name, details.attributes["rlm.outcome"]) == (OWN_DETAILS, "closed")


def test_details_without_content_where_the_variable_asks_for_events(receiver: Receiver) -> None:
    """`OTEL_INSTRUMENTATION_GENAI_EMIT_EVENT=true`: inference alone, and no text of it."""
    sent = work(receiver, None, {EVENT_VARIABLE: "true"})
    inference = [span for span in sent.spans.values() if is_inference(span)]
    assert Counter(log.span_id for log in sent.logs) == Counter(span.span_id for span in inference)
    assert {log.event_name for log in sent.logs} == {DETAILS}
    assert not {name for log in sent.logs for name in log.attributes} & CONTENT


@pytest.mark.parametrize(
    ("argument", "environ", "wanted"),
    [
        (None, {}, False),
        (None, {EVENT_VARIABLE: "True"}, True),
        (None, {MODE_VARIABLE: "EVENT_ONLY"}, True),
        (None, {MODE_VARIABLE: "EVENT_ONLY", EVENT_VARIABLE: "false"}, False),
        ("event", {EVENT_VARIABLE: "false"}, True),
        ("span", {EVENT_VARIABLE: ""}, False),
    ],
)
def test_who_decides_whether_there_are_events(argument: str | None, environ: dict[str, str], wanted: bool) -> None:
    """The argument, then the variable for events, then the one for content."""
    on_events = argument == "event" or (argument is None and MODE_VARIABLE in environ)
    assert wants_events(argument, on_events, environ) is wanted


def test_a_bad_variable_for_events_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """It is ignored."""
    assert wants_events(None, False, {EVENT_VARIABLE: "да"}) is False
    assert [record.getMessage() for record in caplog.records] == [
        f"{EVENT_VARIABLE}='да' is not known, so it is ignored; use one of: true, false."
    ]


def test_the_environment_alone_sends_log_events() -> None:
    """A service that says nothing in code: private providers, a log exporter since the variable asks for events."""
    with Receiver() as receiver:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, MODE_VARIABLE: "EVENT_ONLY"}
        done = run(
            """
            from rlm_otel import llm_call
            with llm_call(provider="acme", model="m", input="Как дела?") as call:
                call.finish("Хорошо", finish_reason="stop")
            """,
            **variables,
        )
        assert (done.returncode, done.stderr) == (0, "")
        sent = Sent(receiver)
    (details,) = sent.of(sent.span("chat m"))
    answered: Any = details.attributes["gen_ai.output.messages"]
    assert (details.event_name, answered[0]["parts"][0]["content"]) == (DETAILS, "Хорошо")
