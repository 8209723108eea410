"""An attached client and a real model: every surface that its server offers, held against the server's own counters."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from rlm_otel import instrument_openai
from rlm_otel.local_llm import LocalModel
from tests.attached import is_async
from tests.rig import Rig
from tests.test_local_llm_spans import counted, reported

pytestmark = pytest.mark.local_llm

SIDES = pytest.mark.parametrize("way", ["create", "acreate"])
SAID: Any = [{"role": "user", "content": "Name a colour, in one word."}]
ADD: Any = {
    "type": "function",
    "function": {
        "name": "add",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}


@pytest.fixture
def running() -> Iterator[LocalModel]:
    """A model for each test, so that its counters are those of the test."""
    with LocalModel(api_key="sk-local") as model:
        yield model


def attached(running: LocalModel, rig: Rig, way: str, api_key: str = "sk-local") -> Any:
    kind = openai.AsyncOpenAI if is_async(way) else openai.OpenAI
    client = kind(base_url=running.base_url, api_key=api_key, max_retries=0)
    instrument_openai(client, callbacks=[rig.callback], include_usage=True)
    return client


async def done(made: Any) -> Any:
    """What was asked for, awaited where it has to be; a stream read to its end."""
    reply = await made if hasattr(made, "__await__") else made
    if isinstance(reply, openai.AsyncStream):
        return [item async for item in reply]
    return list(reply) if isinstance(reply, openai.Stream) else reply


@SIDES
async def test_the_tokens_of_every_surface_are_the_servers(running: LocalModel, rig: Rig, way: str) -> None:
    """Chat, text completions and responses, plain and streamed: what the spans say is what the server counted."""
    client, short = attached(running, rig, way), {"model": running.model, "temperature": 0}
    for stream in (False, True):
        chunks = await done(client.chat.completions.create(messages=SAID, max_tokens=8, stream=stream, **short))
        assert not stream or [] not in [chunk.choices for chunk in chunks]
        await done(client.completions.create(prompt="Red, green,", max_tokens=8, stream=stream, **short))
        await done(client.responses.create(input="Name a colour.", max_output_tokens=8, stream=stream, **short))
    await done(client.close())
    assert [span.attributes["rlm.outcome"] for span in rig.spans] == ["completed"] * 6
    assert [span.name.split()[0] for span in rig.spans] == ["chat", "text_completion", "chat"] * 2
    assert reported(rig.spans) == counted(running)


@SIDES
@pytest.mark.parametrize("stream", [False, True])
async def test_tool_calls_of_a_real_model(running: LocalModel, rig: Rig, way: str, stream: bool) -> None:
    """Asked for in pieces or whole, they are a finish reason and first tokens, and no tool span."""
    client = attached(running, rig, way)
    request = {"model": running.model, "tools": [ADD], "tool_choice": "required", "temperature": 0, "max_tokens": 48}
    await done(client.chat.completions.create(messages=SAID, stream=stream, **request))
    await done(client.close())
    (chat,) = rig.spans
    assert chat.attributes["gen_ai.response.finish_reasons"] == ("tool_calls",)
    assert ("rlm.time_to_first_token" in chat.attributes) is stream


@SIDES
async def test_real_refusals(running: LocalModel, rig: Rig, way: str) -> None:
    """A wrong key and a bad request, as llama.cpp answers them."""
    good, bad = attached(running, rig, way), attached(running, rig, way, api_key="sk-wrong")
    with pytest.raises(openai.AuthenticationError):
        await done(bad.chat.completions.create(model=running.model, messages=SAID))
    with pytest.raises(openai.BadRequestError):
        await done(good.chat.completions.create(model=running.model, messages=[{"role": 1}]))
    for client in (good, bad):
        await done(client.close())
    assert [span.attributes["rlm.http.status_code"] for span in rig.spans] == [401, 400]
