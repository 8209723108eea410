"""Whatever a server sends: reading it raises nothing, and what is emitted of it keeps to the conventions."""

from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai._models import construct_type
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent

from rlm_otel import fence, mapping
from rlm_otel.content import Policy
from rlm_otel.events import Finished, ModelCall, Origin, Started
from rlm_otel.outcome import Reply, Usage
from rlm_otel.reader import Surface, surface_of
from tests.conformance_attributes import attribute_violations, declared

SURFACES: Final[dict[str, tuple[str, str, Any, Any]]] = {
    "chat": ("/chat/completions", "post", ChatCompletion, ChatCompletionChunk),
    "text": ("/completions", "post", Completion, Completion),
    "responses": ("/responses", "post", Response, ResponseStreamEvent),
    "stored": ("/responses/r", "get", Response, ResponseStreamEvent),
    "embeddings": ("/embeddings", "post", CreateEmbeddingResponse, CreateEmbeddingResponse),
}
SPAN_TYPES: Final = {"embeddings": "gen_ai.embeddings.client", "fetch_response": "gen_ai.fetch_response.client"}
TEXTS: Final = ("", "a", "привет 🙂", "half \ud83d", "data:image/png;base64,AA", "completed", '{"a": 1}')
LEAVES: Final[st.SearchStrategy[Any]] = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(TEXTS) | st.text(max_size=3)
)
ODD: Final[st.SearchStrategy[Any]] = (
    LEAVES | st.lists(LEAVES, max_size=2) | st.dictionaries(st.sampled_from(("id", "type", "text", "?")), LEAVES)
)
"""Anything where something else was expected."""


MISSING: Final = object()


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """An object with these fields and an unknown one; now and then one of them is odd, or is not there."""
    gone = (ODD | st.just(MISSING)).map(_same)  # as one, so that it is not chosen too often
    shaped = {name: _mostly(value, gone) for name, value in fields.items()}
    return st.fixed_dictionaries({**shaped, "unknown": gone}).map(_there)


def several(one: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(_mostly(one, ODD), max_size=3)


def _mostly(value: st.SearchStrategy[Any], odd: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.sampled_from([False] * 5 + [True]).flatmap(lambda is_odd: odd if is_odd else value)


def _same(value: object) -> object:
    return value


def _there(fields: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not MISSING}


def word(*words: str) -> st.SearchStrategy[str]:
    return st.sampled_from(words)


COUNT: Final = st.integers(0, 100)
INDEX: Final = st.integers(0, 2)
DETAILS: Final = some(cached_tokens=COUNT, cache_write_tokens=COUNT, reasoning_tokens=COUNT, audio_tokens=COUNT)
USAGE: Final = some(
    **dict.fromkeys(("input_tokens", "output_tokens", "prompt_tokens", "completion_tokens", "total_tokens"), COUNT),
    **dict.fromkeys(("input_tokens_details", "output_tokens_details", "prompt_tokens_details"), DETAILS),
    cost=st.floats(),
)
PART: Final = some(
    type=word("output_text", "refusal", "input_image", "input_file", "input_audio", "reasoning_text", "text", "new"),
    **dict.fromkeys(("text", "refusal", "image_url", "file_id", "file_data", "file_url"), LEAVES),
    input_audio=some(data=LEAVES, format=LEAVES),
)
ITEM: Final = some(
    type=word(
        *("message", "reasoning", "function_call", "custom_tool_call", "mcp_call", "image_generation_call", "_call"),
        *("function_call_output", "computer_call_output", "compaction", "item_reference", "new"),
    ),
    role=word("user", "assistant", "developer", "new"),
    content=several(PART),
    summary=several(PART),
    output=several(PART),
    **dict.fromkeys(("id", "call_id", "name", "arguments", "input", "code", "result", "output_format"), LEAVES),
)
ENVELOPE: Final = {
    "id": LEAVES,
    "model": LEAVES,
    "status": word("completed", "failed", "incomplete", "queued", "in_progress", "cancelled", "new"),
    "error": some(message=LEAVES, code=LEAVES),
    "incomplete_details": some(reason=word("max_output_tokens", "content_filter", "new")),
    "service_tier": LEAVES,
    "system_fingerprint": LEAVES,
    "usage": USAGE,
}
RESPONSE: Final = some(**ENVELOPE, output=several(ITEM))
EVENT: Final = some(
    type=word(
        *("response.output_text.delta", "response.refusal.delta", "response.reasoning_text.delta", "error", "new"),
        *("response.function_call_arguments.delta", "response.output_item.added", "response.output_item.done"),
        *("response.output_text.done", "response.completed", "response.failed", "response.created"),
    ),
    item=ITEM,
    response=RESPONSE,
    **dict.fromkeys(("output_index", "content_index", "summary_index"), INDEX),
    **dict.fromkeys(("delta", "text", "refusal", "item_id", "message", "code"), LEAVES),
)
SAID: Final = some(content=LEAVES | several(PART), role=LEAVES, refusal=LEAVES, tool_calls=several(ITEM))
CHOICE: Final = some(index=INDEX, text=LEAVES, finish_reason=LEAVES, message=SAID, delta=SAID)
COMPLETION: Final = some(**ENVELOPE, choices=several(CHOICE))
VECTORS: Final = some(**ENVELOPE, data=several(some(index=INDEX, embedding=LEAVES | st.lists(st.floats(), max_size=3))))
REPLIES: Final = {
    "chat": (COMPLETION, COMPLETION),
    "text": (COMPLETION, COMPLETION),
    "responses": (RESPONSE, EVENT),
    "stored": (RESPONSE, EVENT),
    "embeddings": (VECTORS, VECTORS),
}
"""What each surface answers, whole and in pieces."""
REQUEST: Final = some(
    model=LEAVES,
    messages=several(SAID),
    prompt=several(LEAVES),
    input=several(ITEM),
    tools=several(some(type=word("function", "web_search", "new"), name=LEAVES, function=some(name=LEAVES))),
    conversation=some(id=LEAVES),
    reasoning=some(effort=LEAVES),
    response_format=some(type=word("text", "json_object", "new")),
    text=some(format=some(type=word("text", "json_schema", "new"))),
    **dict.fromkeys(("temperature", "top_p", "frequency_penalty"), st.floats()),
    **dict.fromkeys(("n", "seed", "max_tokens", "max_output_tokens", "dimensions", "starting_after"), st.integers()),
    **dict.fromkeys(("instructions", "previous_response_id", "service_tier", "encoding_format", "stop"), LEAVES),
    stream=LEAVES,
)
ORIGIN: Final = Origin(id="1", parent_id=None, root_id="1", run_id=None)
EACH: Final = pytest.mark.parametrize("name", SURFACES)
MANY: Final = settings(
    max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)


def surface(name: str) -> Surface:
    url, method, _, _ = SURFACES[name]
    found = surface_of(url, method)
    assert found is not None
    return found


def as_the_sdk_has_it(kind: Any, value: object) -> Any:
    """What the SDK makes of it; itself where the SDK raises (then no caller ever sees it)."""
    try:
        return construct_type(type_=kind, value=value)
    except Exception:
        return value


def check(call: ModelCall, reply: Reply, usage: Usage | None) -> None:
    """All that is made of the call is what its span may carry, content included."""
    start = Started(origin=ORIGIN, time_ns=0, monotonic_ns=0, operation=call)
    end = Finished(
        origin=ORIGIN,
        time_ns=0,
        monotonic_ns=0,
        operation=call,
        elapsed_s=1.0,
        outcome="completed",
        result=reply,
        usage=usage,
        attempts=1,
    )
    policy = Policy("span")
    attributes = {
        **mapping.start_attributes(start),
        **mapping.start_content(start, policy),
        **mapping.end_attributes(end),
        **mapping.end_content(end, policy),
    }
    allowed = declared(SPAN_TYPES.get(call.name, "gen_ai.client.inference"), attributes)
    assert list(attribute_violations(attributes, allowed, user=False)) == []
    assert all(one.value >= 0 for one in mapping.measurements(end, {}))


@EACH
@MANY
@given(body=REQUEST)
def test_odd_requests(name: str, body: dict[str, Any]) -> None:
    """A caller may send what it likes with `extra_body`."""
    call = surface(name).model_call(body, provider="openai", server_address="h", server_port=443)
    check(call, Reply(), None)


@EACH
@MANY
@given(data=st.data(), built=st.booleans())
def test_odd_replies(name: str, data: st.DataObject, built: bool) -> None:
    """Fields that are missing, None, of another type, or unknown; as objects of the SDK and as plain ones."""
    known, body = surface(name), data.draw(REPLIES[name][0])
    response = as_the_sdk_has_it(SURFACES[name][2], body) if built else body
    reply, usage = known.reply(response, None)
    failure = known.failure(response)
    assert failure is None or failure.exception is not None
    check(known.model_call({"model": "m"}, provider="openai"), reply, usage)


@EACH
@MANY
@given(data=st.data(), built=st.booleans())
def test_odd_streams(name: str, data: st.DataObject, built: bool) -> None:
    """The same for each chunk; what it adds is always text."""
    fence.forget_failures()
    known = surface(name)
    reader = known.chunk_reader(None)
    for chunk in data.draw(st.lists(REPLIES[name][1], max_size=5)):
        assert isinstance(reader.feed(as_the_sdk_has_it(SURFACES[name][3], chunk) if built else chunk), str)
    reply, usage = reader.result()
    assert reader.complete() in (True, False)
    assert reader.reported_cost is None or reader.reported_cost >= 0
    assert reader.failure() is None or name in ("responses", "stored")
    assert fence.failures() == {}
    check(known.model_call({"model": "m", "stream": True}, provider="openai"), reply, usage)
