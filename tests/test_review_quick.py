"""Ways to break what was made quicker: odd exceptions and numbers, and who may see what was under way."""

import re
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from rlm_otel import RLM, llm_call, run
from rlm_otel.events import Event, Finished, Retrying
from rlm_otel.reader import read_failure, read_messages
from rlm_otel.testing import Answer, Failure, Tool
from rlm_otel.values import present
from tests.program import Program, run_program
from tests.rig import Rig


class NoHash(type):
    """Its classes are equal by identity, and have no hash."""

    def __eq__(cls, other: object) -> bool:
        return cls is other

    __hash__ = None  # type: ignore[assignment]


class Unhashable(Exception, metaclass=NoHash):
    """An application's own."""


class Unreadable(Exception):
    """It breaks when it is asked for its status."""

    @property
    def status_code(self) -> int:
        raise RuntimeError("no response yet")


@pytest.mark.parametrize("kind", [Unhashable, Unreadable])
def test_an_odd_exception_reaches_the_application_and_ends_its_call(kind: type[Exception], rig: Rig) -> None:
    """By its own class, and told by its name."""
    raised = kind("mine")
    with pytest.raises(kind) as caught, llm_call(provider="x", model="m", callbacks=[rig.callback]):
        raise raised
    assert caught.value is raised
    assert str(rig.span("chat m").attributes["error.type"]).rpartition(".")[2] == kind.__name__


def test_an_odd_exception_of_the_transport_reaches_the_application(rig: Rig) -> None:
    """The runner looks at it to give advice."""

    def respond(_: httpx2.Request) -> httpx2.Response:
        raise Unreadable("the line is dead")

    client = openai.OpenAI(api_key="none", http_client=httpx2.Client(transport=httpx2.MockTransport(respond)))
    with pytest.raises(Unreadable, match="the line is dead"):
        RLM.from_openai("gpt-4o", client=client, max_retries=0, callbacks=[rig.callback]).run("hi")


def test_numbers_of_an_enum_are_numbers(rig: Rig) -> None:
    """A test of the application's may well answer with `HTTPStatus`; a search through 64 bits would never end."""
    assert present([("a", HTTPStatus.OK), ("b", 2**63), ("c", -(2**63)), ("d", True)]) == {
        "a": 200,
        "c": -(2**63),
        "d": True,
    }
    answer = httpx2.MockTransport(lambda _: httpx2.Response(HTTPStatus.IM_A_TEAPOT, json={}))
    client = openai.OpenAI(api_key="none", http_client=httpx2.Client(transport=answer))
    with pytest.raises(openai.APIStatusError):
        RLM.from_openai("gpt-4o", client=client, max_retries=0, callbacks=[rig.callback]).run("hi")
    assert rig.span("chat gpt-4o").attributes["rlm.http.status_code"] == 418


def test_what_the_application_adds_to_an_exception_is_seen_further_up(rig: Rig) -> None:
    """The run tells what left it, the call what left the call."""
    told: list[str] = []

    class Sees:
        def on_event(self, event: Event) -> None:
            if isinstance(event, Finished) and event.failure is not None:
                told.append(f"{type(event.operation).__name__}: {event.failure.message}")

    def read_pages() -> None:
        with run("reader", callbacks=[rig.callback, Sees()]):
            try:
                with llm_call(provider="x", model="m"):
                    raise ValueError("bad")
            except ValueError as error:
                error.args = ("bad, while reading page 7",)
                raise

    with pytest.raises(ValueError, match="page 7"):
        read_pages()
    assert told == ["ModelCall: bad", "Run: bad, while reading page 7"]


class Again:
    """A listener that raises what it is told of, in some way."""

    def __init__(self, way: str) -> None:
        self.way = way

    def on_event(self, event: Event) -> None:
        error = event.failure.exception if isinstance(event, Retrying) else None
        if error is None:
            return
        if self.way == "group":
            raise BaseExceptionGroup("listener", [ValueError("mine"), error])
        if self.way == "from":
            raise RuntimeError("listener") from error
        raise error


@pytest.mark.parametrize("way", ["itself", "from", "group"])
def test_an_apis_text_does_not_reach_the_log_through_a_listener(
    way: str, rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    """A retry is told when its exception is not handled any more."""
    rlm = rig.rlm(Failure(429, message="тайна", retry_after=0), "ok", callbacks=[rig.callback, Again(way)])
    assert rlm.run("hi").text == "ok"
    assert len(caplog.records) == 1
    assert "Again.on_event raised" in caplog.text
    assert "тайна" not in caplog.text


def test_a_stack_through_code_without_a_module_is_recorded(rigs: Any) -> None:
    """Such as a function that was made by `exec`."""
    rig: Rig = rigs(content="span")
    made: dict[str, Any] = {"__name__": None}
    exec("def dyn() -> str:\n    'D.'\n    raise ValueError('x')", made)
    made["dyn"].__module__ = "made"
    assert rig.rlm(Answer(tool_calls=[Tool("dyn", {})]), "ok", tools=[made["dyn"]]).run("hi").text == "ok"
    stack = str(rig.span("execute_tool dyn").event("exception").attributes["exception.stacktrace"])
    assert re.findall(r'File "(<string>)"', stack) == ["<string>"]


MESSAGES: list[dict[str, Any]] = [
    {"role": "tool", "content": "снег", "tool_call_id": "call_1"},
    {"role": "tool", "content": "", "tool_call_id": None},
    {"role": "tool", "content": [{"type": "text", "text": "снег"}], "tool_call_id": "call_1"},
    {"role": "user", "content": "снег", "tool_call_id": "call_1"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]},
    {
        "role": "assistant",
        "content": "Сейчас",
        "tool_calls": [{"id": "1", "custom": {"name": "f", "input": "a"}}, None],
    },
    {"role": "assistant", "content": "", "tool_calls": None},
    {"role": "assistant", "content": [], "tool_calls": []},
    {"role": "developer", "content": "a", "tool_calls": ()},
]


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_of_the_usual_shape_is_what_it_is_with_more_fields(message: dict[str, Any]) -> None:
    """A field that says nothing makes it be read at length."""
    assert read_messages([message]) == read_messages([{**message, "refusal": None}])


def test_a_failure_that_cannot_be_read_is_told_by_its_class() -> None:
    """Whatever its class is called."""

    class Broken(Exception):
        response = property(lambda _: 1 / 0)

    Broken.__module__ = "a._private.b"
    assert read_failure(Broken("x")).type.endswith("Broken")


@pytest.mark.programs
def test_a_call_in_a_finalizer_at_exit_does_not_hang(tmp_path: Path) -> None:
    """No thread begins then: whoever waits for one waits for ever."""
    source = """
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from rlm_otel import OTelCallback, llm_call
import gc

callback = OTelCallback(
    tracer_provider=TracerProvider(shutdown_on_exit=False), meter_provider=MeterProvider(shutdown_on_exit=False)
)

def ask(text):
    with llm_call(provider="x", model="m", callbacks=[callback]) as call:
        call.finish(text)
    print(text, flush=True)

class Session:
    def __init__(self):
        self.me = self
    def __del__(self):
        ask("bye")

ask("hi")
gc.disable()
Session()
"""
    ended = run_program(Program(source=source, environ={}), tmp_path)
    assert (ended.code, ended.out) == (0, "hi\nbye\n")
