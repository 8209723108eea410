"""Whatever a server answers, an observed client gives what the bare SDK gives: scenarios 24, 51, 64."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlm_otel import fence, instrument_openai
from rlm_otel.testing import Capture
from tests.attached import HTTP

ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10**20) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
WORDS = (
    "id model choices usage delta message content role tool_calls function name arguments index finish_reason "
    "prompt_tokens completion_tokens total_tokens prompt_tokens_details cached_tokens error type text output item "
    "response status incomplete_details reason output_text item_id output_index content_index refusal"
)
NAMES = st.sampled_from(WORDS.split())


def bodies(depth: int = 3) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with the API's own names in wrong places, and values of any type."""
    values = ODD if depth == 0 else ODD | bodies(depth - 1) | st.lists(bodies(depth - 1), max_size=2)
    return st.dictionaries(NAMES, values, max_size=6)


USUAL = st.builds(
    lambda text, reason, extra: {
        "id": "x",
        "model": "m",
        "choices": [
            {
                "index": 0,
                "finish_reason": reason,
                "message": {"role": "assistant", "content": text},
                "delta": {"content": text},
            }
        ],
        **extra,
    },
    st.text(max_size=9),
    st.sampled_from(["stop", None, "tool_calls"]),
    bodies(1),
)
EVENTS = st.lists(bodies() | USUAL | st.sampled_from(["[DONE]", "{", "null", "[]"]), max_size=5)
SURFACES: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "chat": (lambda client: client.chat.completions, {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}),
    "completions": (lambda client: client.completions, {"model": "m", "prompt": "Hi"}),
    "responses": (lambda client: client.responses, {"model": "m", "input": "Hi"}),
    "embeddings": (lambda client: client.embeddings, {"model": "m", "input": "Hi"}),
}
FUZZ = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def client_of(answer: Callable[[Any], Any]) -> openai.OpenAI:
    http = HTTP.Client(transport=HTTP.MockTransport(answer))
    return openai.OpenAI(base_url="http://127.0.0.1:1/v1", api_key="x", http_client=http, max_retries=0)


def seen(call: Callable[[], Any]) -> object:
    """What the caller gets, in a form that can be compared: chunks one by one, or the exception."""
    try:
        return shown(call())
    except Exception as error:
        return type(error), str(error)


def pieces(stream: openai.Stream[Any]) -> Iterator[object]:
    """Its chunks, and the exception that it may end with."""
    try:
        yield from map(shown, stream)
    except Exception as error:
        yield type(error), str(error)


def shown(value: Any) -> object:
    if isinstance(value, openai.Stream):
        return type(value), list(pieces(value))
    if isinstance(value, openai.BaseModel):
        return type(value), repr(value), sorted(value.model_fields_set), value.model_extra
    return type(value), repr(value)


def compare(surface: str, answer: Callable[[Any], Any], **more: Any) -> None:
    """The bare client and an observed one see the same; nothing of ours failed, and nothing is left open."""
    resource, request = SURFACES[surface]
    fence.forget_failures()
    with client_of(answer) as bare, client_of(answer) as client, Capture(content="span") as capture:
        instrument_openai(client, callbacks=[capture.callback, Listens()])
        for ask in (_plain, _raw):
            expected = seen(lambda: ask(resource(bare), request | more))  # noqa: B023 - called at once
            assert seen(lambda: ask(resource(client), request | more)) == expected  # noqa: B023
        assert len(capture.spans) == 2
        assert capture.open_spans == []
    assert fence.failures() == {}


def _plain(resource: Any, request: dict[str, Any]) -> Any:
    return resource.create(**request)


def _raw(resource: Any, request: dict[str, Any]) -> Any:
    return resource.with_raw_response.create(**request).parse()


class Listens:
    """Hooks that read what they are given."""

    def on_llm_start(self, prompt: str) -> None:
        assert isinstance(prompt, str)

    def on_token(self, token: str) -> None:
        assert isinstance(token, str)

    def on_llm_end(self, response: Any) -> None:
        assert isinstance(response.content, str)
        assert response.usage.total_tokens >= 0


@pytest.mark.parametrize("surface", list(SURFACES))
@FUZZ
@given(body=bodies() | USUAL | ODD)
def test_s51_any_json_as_an_answer(surface: str, body: Any) -> None:
    """Missing, odd and unknown fields: the caller's object is the SDK's, field by field."""
    compare(surface, lambda _: HTTP.Response(200, json=body))


@pytest.mark.parametrize("surface", ["chat", "completions", "responses"])
@FUZZ
@given(events=EVENTS, named=st.booleans())
def test_s51_any_events_as_a_stream(surface: str, events: list[Any], named: bool) -> None:
    """Odd chunks and events, errors among them, torn ends: the caller sees the same chunks and the same exception."""
    lines = "".join(
        f"event: {event.get('type') or 'x'}\ndata: {json.dumps(event)}\n\n"
        if named and isinstance(event, dict)
        else f"data: {event if isinstance(event, str) else json.dumps(event)}\n\n"
        for event in events
    )
    headers = {"content-type": "text/event-stream"}
    compare(surface, lambda _: HTTP.Response(200, content=lines.encode(), headers=headers), stream=True)


@pytest.mark.parametrize("surface", list(SURFACES))
@FUZZ
@given(status=st.sampled_from([200, 204, 400, 401, 404, 418, 429, 500]), text=st.text(max_size=20) | st.just("{}"))
def test_s51_any_status_and_text(surface: str, status: int, text: str) -> None:
    """Errors and bodies that are no JSON: the same exception, or the same text."""
    compare(surface, lambda _: HTTP.Response(status, text=text))
