"""Scenarios of errors, by their numbers: what fails is marked once, kept as far as it came, and raised as it is."""

from collections.abc import Callable

import openai
import pytest

from rlm_otel import NoAnswer
from rlm_otel.testing import Answer, Broken, CapturedSpan, Failure, Item, Raw, Tokens, Tool
from rlm_otel.testing.script import Breakage
from tests.rig import Rig
from tests.tapped import Tap, tapped
from tests.ways import ANY_WAY, EITHER, PLAIN, STREAMED, ask

FOUR_WORDS = Answer("one two three four", usage=Tokens(input=300, output=40), running_usage=True)
DURATION = "gen_ai.client.inference.duration"


class Told:
    """A callback that keeps the error objects that it is given."""

    def __init__(self) -> None:
        self.errors: list[BaseException] = []

    def on_error(self, error: BaseException) -> None:
        self.errors.append(error)


def notes(error: BaseException) -> list[str]:
    return getattr(error, "__notes__", [])


def records(rig: Rig) -> list[tuple[str, str]]:
    """Exceptions as span events: on which span, of which type."""
    return [(s.name, e.attributes["exception.type"]) for s in rig.spans for e in s.events if e.name == "exception"]


# One failure ---------------------------------------------------------------------------------------------------------


@STREAMED
@pytest.mark.parametrize("how", ["cut", "reset"])
async def test_s41_a_broken_connection_keeps_what_had_come(rigs: Callable[..., Rig], way: str, how: Breakage) -> None:
    """A stream that loses its connection has failed; text and usage so far are on the span, what to do in a note."""
    rig = rigs(content="span")
    server = rig.serve(Broken(FOUR_WORDS, how=how, after=3))
    with pytest.raises(openai.APIConnectionError) as caught:
        await ask(rig.rlm(server=server), way)
    chat = rig.span("chat gpt-4o")
    wanted = ["error.type", "rlm.outcome", "gen_ai.usage.output_tokens", "gen_ai.response.finish_reasons"]
    assert [chat.attributes[name] for name in wanted] == ["openai.APIConnectionError", "failed", 20, ("error",)]
    assert chat.attributes["gen_ai.output.messages"] == (
        '[{"role":"assistant","parts":[{"type":"text","content":"one two "}]}]'
    )
    assert (chat.status, chat.description) == ("error", "Connection error.")
    assert notes(caught.value) == [
        f"{server.base_url} broke off before its answer was complete: ask again, and look at the server's own log."
    ]


@ANY_WAY
async def test_s42_the_sdks_exception_reaches_the_user_as_it_is(rig: Rig, way: str) -> None:
    """What the user catches is the SDK's own exception, the very object that callbacks were given, once."""
    told = Told()
    with pytest.raises(openai.BadRequestError) as caught:
        await ask(rig.rlm(Failure(400, message="Нельзя"), callbacks=[told, rig.callback]), way)
    assert type(caught.value) is openai.BadRequestError
    assert (str(caught.value), caught.value.request_id) == ("Error code: 400 - Нельзя", "req_1")
    assert [error is caught.value for error in told.errors] == [True]
    assert rig.outline() == "invoke_agent !openai.BadRequestError\n  chat gpt-4o !openai.BadRequestError"


@ANY_WAY
async def test_s42_the_transports_exception_reaches_the_user_as_it_is(rig: Rig, way: str) -> None:
    """What the SDK lets through from below, we let through as well: the same object, and nothing is repeated."""
    broken = OSError("the cable is cut")

    def send() -> None:
        raise broken

    async with tapped(rig, rig.serve("never"), Tap(send=send)) as rlm:
        with pytest.raises(OSError, match="cable") as caught:
            await ask(rlm, way)
    assert (caught.value is broken, notes(broken)) == (True, [])
    assert rig.outline() == "invoke_agent !OSError\n  chat gpt-4o !OSError"


# Status and records --------------------------------------------------------------------------------------------------


def broken_tool() -> str:
    """Fails."""
    msg = "no such table: клиенты"
    raise LookupError(msg)


CALLS_TOOL = Answer(tool_calls=[Tool("broken_tool")])


@PLAIN
async def test_s47_success_has_no_status(rig: Rig, way: str) -> None:
    """What went well is UNSET, never OK: that word is the application's."""
    await ask(
        rig.rlm(Answer(tool_calls=[Tool("ask_below", {"question": "2*2?"})]), "4", "4", tools=[ask_below], max_depth=1),
        way,
    )
    assert [(span.status, span.description) for span in rig.spans] == [("unset", None)] * 6


def ask_below(question: str, llm_query: Callable[[str], str]) -> str:
    """Asks."""
    return llm_query(question)


SECRET = "key sk-proj-aB3dE5fG7hI9jK1lM3nO5pQ7rS9t of Иван is wrong"


@EITHER
@pytest.mark.parametrize(
    ("content", "chat_says", "tool_says"),
    [
        ("none", "openai.BadRequestError, HTTP 400, code bad, request req_2", None),
        (
            "span",
            "Error code: 400 - key [redacted] of Иван is wrong",
            "no such table: клиенты",
        ),
    ],
)
async def test_s48_error_status_goes_with_error_type(
    rigs: Callable[..., Rig], way: str, content: str, chat_says: str, tool_says: str | None
) -> None:
    """ERROR exactly where there is an `error.type`, the metrics have the same, and no description has a secret."""
    rig = rigs(content=content)
    with pytest.raises(openai.BadRequestError):
        await ask(rig.rlm(CALLS_TOOL, Failure(400, code="bad", message=SECRET), tools=[broken_tool]), way)
    assert [(span.name, span.status, span.attributes.get("error.type")) for span in rig.spans] == [
        ("invoke_agent", "error", "openai.BadRequestError"),
        ("chat gpt-4o", "unset", None),
        ("execute_tool broken_tool", "error", "LookupError"),
        ("chat gpt-4o", "error", "openai.BadRequestError"),
    ]
    run, _, tool, chat = (span.description for span in rig.spans)
    assert (run, tool, chat) == (chat_says, tool_says, chat_says)
    assert error_types(rig, DURATION) == [None, "openai.BadRequestError"]
    assert error_types(rig, "gen_ai.invoke_agent.duration") == ["openai.BadRequestError"]
    assert error_types(rig, "gen_ai.execute_tool.duration") == ["LookupError"]


def error_types(rig: Rig, metric: str) -> list[str | None]:
    return sorted((point.attributes.get("error.type") for point in rig.points(metric)), key=str)


DEEP = (Answer(tool_calls=[Tool("ask_below", {"question": "2*2?"})]), Failure(400, code="bad"))


@PLAIN
async def test_s49_one_failure_is_one_record(rig: Rig, way: str) -> None:
    """A failure that passes a call, a sub-run and a tool on its way to the model is recorded where it arose, alone."""
    await ask(rig.rlm(*DEEP, "sorry", tools=[ask_below], max_depth=1), way)
    assert rig.outline() == (
        "invoke_agent\n  chat gpt-4o\n  execute_tool ask_below !openai.BadRequestError\n"
        "    invoke_agent !openai.BadRequestError\n      chat gpt-4o !openai.BadRequestError\n  chat gpt-4o"
    )
    assert records(rig) == [("chat gpt-4o", "openai.BadRequestError")]
    assert rig.logs == []


@PLAIN
@pytest.mark.parametrize(("opt_in", "events"), [("logs", 0), ("logs/dup", 1)])
async def test_s49_the_record_is_a_log_event_where_that_is_asked(
    rigs: Callable[..., Rig], way: str, opt_in: str, events: int
) -> None:
    """Under the opt-in of the conventions the one record is a log event on the failed span, or both."""
    rig = rigs(environ={"OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": opt_in})
    await ask(rig.rlm(*DEEP, "sorry", tools=[ask_below], max_depth=1), way)
    assert len(records(rig)) == events
    failed = failed_chat(rig)
    assert [(log.name, log.severity, log.span_id, log.attributes) for log in rig.logs] == [
        (
            "gen_ai.client.operation.exception",
            "WARN",
            failed.span_id,
            {
                "exception.type": "openai.BadRequestError",
                "exception.message": "openai.BadRequestError, HTTP 400, code bad, request req_2",
            },
        )
    ]


def failed_chat(rig: Rig) -> CapturedSpan:
    (span,) = [span for span in rig.spans if span.name == "chat gpt-4o" and span.status == "error"]
    return span


# Odd answers ---------------------------------------------------------------------------------------------------------


@STREAMED
@pytest.mark.parametrize(("after", "said"), [(0, None), (3, ("error",))])
async def test_s51_an_error_event_in_a_stream_fails_it(
    rig: Rig, way: str, after: int, said: tuple[str, ...] | None
) -> None:
    """An `APIError` without a status, in the middle of a stream or at once: it is raised as it is."""
    with pytest.raises(openai.APIError, match="The server had an error") as caught:
        await ask(rig.rlm(Broken(FOUR_WORDS, how="error_event", after=after)), way)
    assert type(caught.value) is openai.APIError
    chat = rig.span("chat gpt-4o").attributes
    assert [chat.get(name) for name in ("error.type", "gen_ai.response.finish_reasons", "rlm.http.status_code")] == [
        "openai.APIError",
        said,
        None,
    ]
    assert records(rig) == [("chat gpt-4o", "openai.APIError")]


@PLAIN
async def test_s51_a_body_that_is_no_json_is_a_failure_that_shows_it(rig: Rig, way: str) -> None:
    """A 200 without choices is no answer: the error has what the SDK made of it, nothing is invented, the spans end."""
    with pytest.raises(NoAnswer, match="without choices; check base_url=") as caught:
        await ask(rig.rlm(Raw("<html>Log in, please</html>")), way)
    assert caught.value.reply == "<html>Log in, please</html>"
    assert [
        name for name in rig.span("chat gpt-4o").attributes if name.startswith(("gen_ai.usage", "gen_ai.response"))
    ] == []


@EITHER
@pytest.mark.parametrize(
    ("answer", "reason", "text"),
    [
        (Answer(refusal="Об этом не говорю"), "stop", "Об этом не говорю"),
        (Answer("one two", finish_reason="length"), "length", "one two"),
        (Answer("one", finish_reason="content_filter"), "content_filter", "one"),
    ],
    ids=["refusal", "length", "filter"],
)
async def test_s52_what_the_model_would_not_say_is_no_error(
    rig: Rig, way: str, answer: Item, reason: str, text: str
) -> None:
    """A refusal, a limit or a filter is a finish reason of a completed call."""
    result = await ask(rig.rlm(answer), way)
    assert (result.outcome, result.finish_reasons, result.text) == ("completed", (reason,), text)
    assert rig.outline(["gen_ai.response.finish_reasons"]) == (
        f'invoke_agent gen_ai.response.finish_reasons=["{reason}"]\n'
        f'  chat gpt-4o gen_ai.response.finish_reasons=["{reason}"]'
    )


@PLAIN
async def test_s52_an_error_that_was_handled_is_not_the_runs(rig: Rig, way: str) -> None:
    """A tool's error that the model was told, and answered, is on the tool alone."""
    result = await ask(rig.rlm(CALLS_TOOL, "sorry", tools=[broken_tool]), way)
    assert (result.text, result.outcome) == ("sorry", "completed")
    assert rig.outline() == "invoke_agent\n  chat gpt-4o\n  execute_tool broken_tool !LookupError\n  chat gpt-4o"
    assert records(rig) == [("execute_tool broken_tool", "LookupError")]
