"""Short ways for what nearly every call looks like: each gives what the long way gives."""

import os
import random
import re
from typing import Any

import httpx2
import openai
import pytest
from openai._models import construct_type
from openai.types.chat import ChatCompletionMessage
from opentelemetry import context, trace

from rlm_otel.clients import Clients
from rlm_otel.clock import new_id
from rlm_otel.content import Policy, Redactor
from rlm_otel.messages import Message, Text
from rlm_otel.reader import read_messages, read_rate_limits, read_reply, read_request
from rlm_otel.reader.reply import header, known_headers
from rlm_otel.written import Written
from tests.otel_events import CHAT, make_rig

# Headers -----------------------------------------------------------------------------------------------------------

TOLD: list[list[tuple[str, str] | tuple[bytes, bytes]]] = [
    [],
    [("X-Request-ID", "req_1"), ("X-RateLimit-Remaining-Requests", "99"), ("x-ratelimit-limit-tokens", "1000")],
    [("anthropic-ratelimit-tokens-remaining", "7"), ("x-ratelimit-limit-requests", "many"), ("content-type", "json")],
    [("x-request-id", "a"), ("x-request-id", "b"), ("x-ratelimit-remaining-tokens", "5")],
    [(b"x-request-id", "запрос".encode()), (b"x-ratelimit-remaining-tokens", b"5")],
    [(b"x-request-id", b"\xff"), (b"x-ratelimit-limit-tokens", b"")],
]


@pytest.mark.parametrize("pairs", TOLD)
def test_headers_found_in_one_pass_are_those_that_are_looked_up(pairs: Any) -> None:
    """Whatever their case, their number and their encoding."""
    headers = httpx2.Headers(pairs)
    known = known_headers(headers)
    assert header(known, "x-request-id") == header(headers, "x-request-id")
    assert read_rate_limits(known) == read_rate_limits(headers)


@pytest.mark.parametrize("headers", [None, {"x-request-id": "req_1"}, httpx2.Headers({"x-request-id": "req_1"})])
def test_the_headers_id_comes_before_the_replys_own(headers: Any) -> None:
    """The SDK copies it from there; without headers its copy is read."""
    response = construct_type(type_=ChatCompletionMessage, value={})
    response._request_id = "own"  # type: ignore[attr-defined]
    assert read_reply(response, headers)[0].request_id == ("req_1" if headers else "own")


# Messages and requests ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields",
    [
        {"content": "Ответ 🙂"},
        {"content": "Ответ", "reasoning": "Так"},
        {"content": "Ответ", "refusal": "Нет"},
        {"content": "Ответ", "name": "Анна"},
        {"content": "Ответ", "audio": {"id": "audio_1"}},
        {"content": "Ответ", "tool_calls": [{"id": "1", "function": {"name": "search", "arguments": "{}"}}]},
        {"content": "Ответ", "function_call": {"name": "search", "arguments": "{}"}},
        {"content": "Ответ", "role": "tool", "tool_call_id": "1"},
        {"content": ""},
        {"content": None},
        {"content": ["Ответ"]},
        {},
    ],
)
def test_a_plain_answer_is_read_like_any_other(fields: dict[str, object]) -> None:
    """An SDK's message and the same as a dict, which is read field by field."""
    body = {"role": "assistant", "annotations": None, **fields}
    message = construct_type(type_=ChatCompletionMessage, value=body)
    assert read_messages([message]) == read_messages([body])


def test_the_newer_name_of_the_limit_wins_wherever_it_stands() -> None:
    """The parameters are read in the order in which they were sent."""
    assert read_request({"max_tokens": 1, "max_completion_tokens": 2}).max_tokens == 2
    assert read_request({"max_completion_tokens": 2, "max_tokens": 1}).max_tokens == 2
    assert read_request({"max_completion_tokens": openai.NOT_GIVEN, "max_tokens": 1}).max_tokens == 1


# Servers -----------------------------------------------------------------------------------------------------------


def test_the_server_follows_the_client() -> None:
    """Its URL is taken apart once, and again where the client got another one."""
    client = openai.OpenAI(api_key="none", base_url="https://api.groq.com/openai/v1")
    clients = Clients(client=client)
    assert clients.server(client) == clients.server(client) == ("api.groq.com", 443, "groq")
    client.base_url = "http://127.0.0.1:8000/v1"
    assert clients.server(client) == ("127.0.0.1", 8000, "openai")
    client.base_url = "http://localhost/v1"
    assert clients.server(client) == ("localhost", 80, "openai")


# Ids ---------------------------------------------------------------------------------------------------------------


def test_ids_do_not_follow_the_applications_random_numbers() -> None:
    """A program that seeds them gets other ids each time."""
    random.seed(1)
    first = new_id()
    random.seed(1)
    assert new_id() != first
    assert re.fullmatch("[0-9a-f]{16}", first)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_has_ids_of_its_own() -> None:
    """It does not go on with its parent's numbers."""
    new_id()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    own, theirs = new_id(), os.read(reading, 16).decode()
    os.close(reading)
    os.close(writing)
    assert len(theirs) == 16
    assert own != theirs


# Contexts ----------------------------------------------------------------------------------------------------------


def test_what_the_caller_adds_to_its_context_later_is_kept() -> None:
    """The context of an operation is used again only where the caller's is still the one it began in."""
    rig = make_rig()
    rig.begin(CHAT, "a")
    with rig.callback.current(rig.link("a")):
        assert context.get_value("app.key") is None
    token = context.attach(context.set_value("app.key", "later"))
    try:
        with rig.callback.current(rig.link("a")):
            assert context.get_value("app.key") == "later"
            assert trace.format_span_id(trace.get_current_span().get_span_context().span_id) == rig.link("a").span_id
    finally:
        context.detach(token)


# Content -----------------------------------------------------------------------------------------------------------


def test_content_is_written_once_and_never_for_another() -> None:
    """A prompt that is the very same, an answer that says the same: the user's hook sees them once."""
    seen: list[str] = []

    def hook(text: str) -> str:
        seen.append(text)
        return text

    written, policy = Written(), Policy("span", Redactor(hook))
    first, second = (Message("user", (Text("раз"),)),), (Message("user", (Text("два"),)),)
    assert written.prompt(first, policy) == written.prompt(first, policy)
    assert "два" in written.prompt(second, policy)[0]
    assert written.answer(first, policy) == written.answer((Message("user", (Text("раз"),)),), policy)
    assert "два" in written.answer(second, policy)
    assert seen == ["раз", "два", "раз", "два"]
