"""The scripted server behaves like the real service, seen through the real OpenAI SDK."""

import asyncio
import json
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from rlm_otel.testing import (
    Answer,
    Broken,
    Failure,
    Hang,
    Item,
    Raw,
    RecordedRequest,
    Repeat,
    ScriptedServer,
    Tokens,
    Tool,
    rate_limits,
)

REQUEST: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Привет, мир 🙂"}]}
STREAMED: dict[str, Any] = {**REQUEST, "stream": True, "stream_options": {"include_usage": True}}


def client(server: ScriptedServer, api_key: str = "key", max_retries: int = 0) -> OpenAI:
    return OpenAI(base_url=server.base_url, api_key=api_key, max_retries=max_retries)


def ask(server: ScriptedServer, **request: Any) -> Any:
    """A call that is not streamed, by the synchronous client."""
    with client(server) as sdk:
        return sdk.chat.completions.create(**{**REQUEST, **request})


def ask_async(server: ScriptedServer, **request: Any) -> Any:
    """The same by the asynchronous client."""

    async def call() -> Any:
        async with AsyncOpenAI(base_url=server.base_url, api_key="key", max_retries=0) as sdk:
            return await sdk.chat.completions.create(**{**REQUEST, **request})

    return asyncio.run(call())


def drain(server: ScriptedServer, into: list[Any], **request: Any) -> list[Any]:
    """All chunks of a streamed call, by the synchronous client; `into` has them even if it fails."""
    with client(server) as sdk:
        for chunk in sdk.chat.completions.create(**{**STREAMED, **request}):
            into.append(chunk)  # noqa: PERF402  what came before a failure counts
    return into


def drain_async(server: ScriptedServer, into: list[Any], **request: Any) -> list[Any]:
    """The same by the asynchronous client."""

    async def call() -> None:
        async with AsyncOpenAI(base_url=server.base_url, api_key="key", max_retries=0) as sdk:
            async for chunk in await sdk.chat.completions.create(**{**STREAMED, **request}):
                into.append(chunk)  # noqa: PERF401  what came before a failure counts

    asyncio.run(call())
    return into


Ask = Callable[..., Any]
both_asks = pytest.mark.parametrize("ask", [ask, ask_async])
both_drains = pytest.mark.parametrize("drain", [drain, drain_async])


def text_of(chunks: list[Any]) -> str:
    return "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)


def finish_reasons(chunks: list[Any]) -> list[str]:
    return [choice.finish_reason for chunk in chunks for choice in chunk.choices if choice.finish_reason]


@both_asks
def test_an_answer_is_a_chat_completion(ask: Ask) -> None:
    """Text, model, id, fingerprint, tier and every kind of token reach the SDK's objects."""
    usage = Tokens(input=300, output=20, cached=40, cache_write=5, reasoning=12, cost=0.25)
    answer = Answer("Здравствуй 🙂", reasoning="думаю", usage=usage, system_fingerprint="fp", service_tier="flex")
    with ScriptedServer([answer]) as server:
        reply = ask(server)

    assert (reply.id, reply.model, reply.system_fingerprint, reply.service_tier) == ("chatcmpl-1", "m", "fp", "flex")
    assert (reply.choices[0].message.content, reply.choices[0].finish_reason) == ("Здравствуй 🙂", "stop")
    assert reply.choices[0].message.reasoning_content == "думаю"
    assert reply.usage.model_dump(exclude_unset=True) == {
        "prompt_tokens": 300,
        "completion_tokens": 20,
        "total_tokens": 320,
        "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 12},
        "cost": 0.25,
    }


@both_drains
def test_a_stream_has_prelude_words_finish_and_usage(drain: Ask) -> None:
    """Chunks come as the real service sends them: role, text by words, finish reason, usage without choices."""
    with ScriptedServer([Answer("Раз два три", reasoning="так")]) as server:
        chunks = drain(server, [])

    assert [chunk.choices[0].delta.model_dump(exclude_unset=True) for chunk in chunks[:-1]] == [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "так"},
        {"content": "Раз "},
        {"content": "два "},
        {"content": "три"},
        {},
    ]
    assert finish_reasons(chunks) == ["stop"]
    assert {chunk.id for chunk in chunks} == {"chatcmpl-1"}
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * 6
    assert (chunks[-1].choices, chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == ([], 3, 4)


def test_usage_is_streamed_only_when_asked_for() -> None:
    """Without include_usage, or from a server that ignores it, no chunk has usage."""
    with ScriptedServer([Answer("a b")]) as server:
        assert [chunk.usage for chunk in drain(server, [], stream_options={})] == [None] * 4
    with ScriptedServer([Answer("a b")], ignores_include_usage=True) as server:
        assert [chunk.usage for chunk in drain(server, [])] == [None] * 4


def test_usage_can_be_absent_or_cumulative() -> None:
    """`usage=None` reports none; `running_usage` repeats the usage so far on each piece."""
    with ScriptedServer([Answer("a b", usage=None), Answer("a b", usage=None)]) as server:
        assert ask(server).usage is None
        assert [chunk.usage for chunk in drain(server, [])] == [None] * 4
    with ScriptedServer([Answer("a b", usage=Tokens(input=7, output=4), running_usage=True)]) as server:
        counts = [chunk.usage and chunk.usage.completion_tokens for chunk in drain(server, [])]
    assert counts == [None, 2, 4, None, 4]


def test_tool_calls_are_whole_or_in_pieces() -> None:
    """Arguments arrive whole, or cut in pieces under the index of their call."""
    tools = (Tool("find", {"город": "Москва"}, id="one"), Tool("sum", "{broken"))
    with ScriptedServer([Repeat(Answer(tool_calls=tools))]) as server:
        whole = ask(server).choices[0]
        chunks = drain(server, [])

    assert (whole.message.content, whole.finish_reason) == (None, "tool_calls")
    assert [(call.id, call.function.name, call.function.arguments) for call in whole.message.tool_calls] == [
        ("one", "find", '{"город": "Москва"}'),
        ("call_1_1", "sum", "{broken"),
    ]
    pieces = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    assert [(piece.index, piece.id, piece.function.name, piece.function.arguments) for piece in pieces] == [
        (0, "one", "find", ""),
        (0, None, None, '{"город"'),
        (0, None, None, ': "Москв'),
        (0, None, None, 'а"}'),
        (1, "call_2_1", "sum", ""),
        (1, None, None, "{broken"),
    ]
    assert finish_reasons(chunks) == ["tool_calls"]


def test_choices_come_in_turns() -> None:
    """Several choices are interleaved, each with its own text and finish reason."""
    answer = Answer(("a b", "c"), finish_reason=("stop", "length"))
    with ScriptedServer([Repeat(answer)]) as server:
        whole = ask(server, n=2)
        chunks = drain(server, [], n=2)

    assert [(c.index, c.message.content, c.finish_reason) for c in whole.choices] == [
        (0, "a b", "stop"),
        (1, "c", "length"),
    ]
    assert [(c.index, c.delta.content) for chunk in chunks for c in chunk.choices] == [
        (0, ""),
        (1, ""),
        (0, "a "),
        (1, "c"),
        (0, "b"),
        (0, None),
        (1, None),
    ]
    assert finish_reasons(chunks) == ["stop", "length"]
    with ScriptedServer([Answer(("a", "b"), finish_reason=("stop", None))]) as server:
        assert finish_reasons(drain(server, [], n=2)) == ["stop"]
    with ScriptedServer([Answer("same")]) as server:
        assert [choice.message.content for choice in ask(server, n=3).choices] == ["same", "same", "same"]


def test_refusal_and_own_pieces() -> None:
    """A refusal takes the place of the text; a text may be cut as one likes, with an empty piece in it."""
    refusal = Answer(refusal="нельзя")
    script = [refusal, refusal, Answer(chunks=("од", None, "но")), Answer("x", prelude=False)]
    with ScriptedServer(script) as server:
        message = ask(server).choices[0].message
        assert (message.content, message.refusal) == (None, "нельзя")
        assert drain(server, [])[1].choices[0].delta.refusal == "нельзя"
        pieces = [chunk.choices[0].delta.content for chunk in drain(server, []) if chunk.choices]
        assert pieces == ["", "од", None, "но", None]
        assert drain(server, [])[0].choices[0].delta.content == "x"


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
    ],
)
def test_a_failure_is_the_sdks_error(status: int, error: type[openai.APIStatusError]) -> None:
    """Status, message, code, request id and headers are on the exception."""
    failure = Failure(status, message="Лимит", code="c", retry_after=1.5, headers=rate_limits(remaining_requests=0))
    with ScriptedServer([failure]) as server, pytest.raises(error) as raised:
        ask(server)
    assert (raised.value.code, raised.value.request_id) == ("c", "req_1")
    assert raised.value.response.headers["retry-after"] == "1.5"
    assert raised.value.response.headers["x-ratelimit-remaining-requests"] == "0"
    assert "Лимит" in str(raised.value)


def test_two_failures_then_success() -> None:
    """The SDK's own retries see the script's failures one after the other."""
    with ScriptedServer([Repeat(Failure(429, retry_after=0.001), 2), Answer("ok")]) as server:
        with client(server, max_retries=2) as sdk:
            assert sdk.chat.completions.create(**REQUEST).choices[0].message.content == "ok"
        assert [r.headers["x-stainless-retry-count"] for r in server.requests] == ["0", "1", "2"]


def test_rate_limit_headers_are_those_that_were_given() -> None:
    """A successful answer can carry the headroom headers, and has a request id."""
    headers = rate_limits(remaining_requests=9, limit_requests=10, remaining_tokens=90, limit_tokens=100)
    with ScriptedServer([Answer("a", headers=headers)]) as server, client(server) as sdk:
        raw = sdk.chat.completions.with_raw_response.create(**REQUEST)
    assert {name: value for name, value in raw.headers.items() if name.startswith("x-")} == {
        "x-request-id": "req_1",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-tokens": "90",
        "x-ratelimit-limit-tokens": "100",
    }


@both_drains
@pytest.mark.parametrize(
    ("broken", "text", "finished", "error"),
    [
        (Broken("a b c", how="reset", after=3), "a b ", [], openai.APIConnectionError),
        (Broken("a b c", how="cut", after=3), "a b ", [], openai.APIConnectionError),
        (Broken("a b c", how="clean_end", after=3), "a b ", [], None),
        (Broken("a b c", how="clean_end"), "a b c", [], None),
        (Broken("a b c", how="no_finish"), "a b c", [], None),
        (Broken("a b c", how="error_event", after=3, message="сбой"), "a b ", [], openai.APIError),
        (Broken("a b c", how="reset", after=0), "", [], openai.APIConnectionError),
        (Broken("a b c", how="cut"), "a b c", ["stop"], openai.APIConnectionError),
    ],
)
def test_broken_streams(
    drain: Ask, broken: Broken, text: str, finished: list[str], error: type[Exception] | None
) -> None:
    """What was sent before the break arrives, then the failure or the silent end that the script asks for."""
    chunks: list[Any] = []
    with ScriptedServer([broken]) as server:
        if error is None:
            drain(server, chunks)
        else:
            with pytest.raises(error) as raised:
                drain(server, chunks)
            assert type(raised.value) is error
    assert (text_of(chunks), finish_reasons(chunks)) == (text, finished)


def test_usage_can_arrive_before_the_break() -> None:
    """A stream that reports usage as it goes and is then reset has delivered the usage so far."""
    chunks: list[Any] = []
    answer = Answer("a b", usage=Tokens(input=5, output=2), running_usage=True)
    with ScriptedServer([Broken(answer, how="reset", after=2)]) as server, pytest.raises(openai.APIConnectionError):
        drain(server, chunks)
    assert [chunk.usage and chunk.usage.completion_tokens for chunk in chunks] == [None, 1]


@both_asks
@pytest.mark.parametrize("item", [Broken("a", how="reset"), Broken("a", how="cut"), Hang(0)])
def test_broken_whole_responses(ask: Ask, item: Item) -> None:
    """A response that is not streamed breaks in the middle, or never comes."""
    with ScriptedServer([item]) as server, pytest.raises(openai.APIConnectionError):
        ask(server)


def test_a_hanging_server_runs_into_the_timeout() -> None:
    """The client gives up by its own timeout, and the server notes that it went."""
    with ScriptedServer([Hang()]) as server, client(server) as sdk:
        with pytest.raises(openai.APITimeoutError):
            sdk.chat.completions.create(**REQUEST, timeout=0.05)
        assert server.requests[0].disconnected.wait(5)


def test_raw_responses_are_sent_as_they_are() -> None:
    """Other endpoints, odd bodies and odd chunks are written out by the script."""
    embedding = {
        "object": "list",
        "model": "e",
        "data": [{"object": "embedding", "index": i, "embedding": [0.5]} for i in (1, 0)],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    odd = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
    item = {"type": "response.completed", "sequence_number": 1, "response": {"id": "r", "usage": None}}
    script = [
        Raw(embedding),
        Raw("not json"),
        Raw(events=[odd, ": comment\n\n", {**odd, "choices": [{"index": 0, "delta": {"content": None}}]}]),
        Raw(events=[item]),
    ]
    with ScriptedServer(script) as server, client(server) as sdk:
        vectors = sdk.embeddings.create(model="e", input=["a", "б"], encoding_format="float")
        assert [vector.index for vector in vectors.data] == [1, 0]
        assert ask(server) == "not json"
        assert [len(chunk.choices) for chunk in drain(server, [])] == [0, 1]
        assert [event.type for event in sdk.responses.create(model="m", input="a", stream=True)] == [
            "response.completed"
        ]


def test_keys_models_and_paths_are_checked_like_the_real_ones() -> None:
    """A wrong key is 401, an unknown model and a wrong path are 404; none of them uses up the script."""
    with ScriptedServer([Answer("ok")], api_key="key", models=("m", "n")) as server:
        with client(server, api_key="wrong") as sdk, pytest.raises(openai.AuthenticationError) as refused:
            sdk.chat.completions.create(**REQUEST)
        assert refused.value.code == "invalid_api_key"
        with pytest.raises(openai.NotFoundError) as unknown:
            ask(server, model="x")
        assert unknown.value.code == "model_not_found"
        with OpenAI(base_url=server.base_url + "/v1", api_key="key", max_retries=0) as sdk:
            with pytest.raises(openai.NotFoundError, match="Invalid URL"):
                sdk.chat.completions.create(**REQUEST)
        with client(server) as sdk:
            assert [model.id for model in sdk.models.list()] == ["m", "n"]
        assert ask(server).choices[0].message.content == "ok"


def test_requests_are_recorded() -> None:
    """Path, lower-case headers, decoded body and the last message's text are there to look at."""
    with ScriptedServer([Answer("ok")]) as server:
        ask(server, temperature=0.5)
        (request,) = server.requests
    assert (request.method, request.path, request.prompt) == ("POST", "/v1/chat/completions", "Привет, мир 🙂")
    assert request.headers["authorization"] == "Bearer key"
    assert request.body == {**REQUEST, "temperature": 0.5}
    assert (request.answered.is_set(), request.disconnected.is_set()) == (True, False)


def test_the_wire_is_readable_utf8() -> None:
    """The response's bytes hold the characters themselves, never escapes, and their number is the content length."""
    with ScriptedServer([Answer("Привет 🙂")]) as server:
        data = json.dumps(REQUEST).encode()
        with urllib.request.urlopen(f"{server.base_url}/chat/completions", data) as response:
            body = response.read()
    assert '"content": "Привет 🙂"' in body.decode()
    assert int(response.headers["content-length"]) == len(body)


def test_answers_can_depend_on_the_request() -> None:
    """`respond` sees the request and returns the item to answer with."""

    def respond(request: RecordedRequest) -> Item:
        return Answer(request.prompt.upper()) if request.body["model"] == "m" else Failure(404)

    with ScriptedServer(respond=respond) as server:
        assert ask(server).choices[0].message.content == "ПРИВЕТ, МИР 🙂"
        with pytest.raises(openai.NotFoundError):
            ask(server, model="other")


def test_a_respond_that_raises_is_a_500_that_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """The client gets an answer at once, the author of the test sees the traceback."""

    def respond(request: RecordedRequest) -> Item:
        return Answer(request.body["nothing"])

    with ScriptedServer(respond=respond) as server, pytest.raises(openai.InternalServerError) as raised:
        ask(server)
    assert "respond= raised KeyError." in str(raised.value)
    assert "KeyError: 'nothing'" in capsys.readouterr().err


def test_the_end_of_the_script_is_a_500_that_is_not_repeated() -> None:
    """A missing item is a mistake of the test: the SDK does not retry it."""
    with ScriptedServer([Answer("only")]) as server, client(server, max_retries=2) as sdk:
        sdk.chat.completions.create(**REQUEST)
        with pytest.raises(openai.InternalServerError) as raised:
            sdk.chat.completions.create(**REQUEST)
        assert len(server.requests) == 2
    assert "The script is exhausted: nothing is left for request 2." in str(raised.value)


def test_a_script_can_cycle() -> None:
    """With `cycle` the script starts again at its end."""
    with ScriptedServer([Answer("a"), Repeat(Answer("b"), 2)], cycle=True) as server:
        assert [ask(server).choices[0].message.content for _ in range(5)] == ["a", "b", "b", "a", "b"]


def test_a_gate_holds_a_stream_in_flight() -> None:
    """The stream stops after the given number of chunks until the test opens the gate."""
    gate = threading.Event()
    with ScriptedServer([Answer("a b", gate=gate, gate_after=2)]) as server, client(server) as sdk:
        chunks = iter(sdk.chat.completions.create(**STREAMED))
        assert text_of([next(chunks), next(chunks)]) == "a "
        assert not server.requests[0].answered.is_set()
        gate.set()
        assert text_of(list(chunks)) == "b"
        assert server.requests[0].answered.wait(5)


def test_a_gate_holds_a_whole_response() -> None:
    """Without streaming the gate holds the response itself, so that a call can be seen in flight."""
    gate = threading.Event()
    with ScriptedServer([Answer("a", gate=gate)]) as server, ThreadPoolExecutor(1) as pool:
        call = pool.submit(ask, server)
        server.wait_for_requests(1)
        assert not call.done()
        gate.set()
        assert call.result(5).choices[0].message.content == "a"


def test_delays_come_where_they_were_put() -> None:
    """The prelude comes at once, the first token later, as the client's clock sees it."""
    with ScriptedServer([Answer("a b", first_token_delay_s=0.05, chunk_delay_s=0.02)]) as server, client(server) as sdk:
        times = [time.monotonic() for _ in sdk.chat.completions.create(**STREAMED)]
    assert times[1] - times[0] >= 0.04
    assert times[2] - times[1] >= 0.01


def test_a_closed_stream_is_noted_and_harms_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """The client's early close sets `disconnected`, prints nothing, and the next request is served."""
    with ScriptedServer([Answer("a b", gate=threading.Event()), Answer("next")]) as server, client(server) as sdk:
        stream = sdk.chat.completions.create(**STREAMED)
        next(iter(stream))
        stream.close()
        assert server.requests[0].disconnected.wait(5)
        assert sdk.chat.completions.create(**REQUEST).choices[0].message.content == "next"
    assert not server.requests[0].answered.is_set()
    assert capfd.readouterr() == ("", "")


def test_a_cancelled_task_is_noted() -> None:
    """Cancelling an asynchronous call in flight sets `disconnected`."""

    async def cancel_one(server: ScriptedServer) -> None:
        async with AsyncOpenAI(base_url=server.base_url, api_key="key", max_retries=0) as sdk:
            call = asyncio.create_task(sdk.chat.completions.create(**REQUEST))
            await asyncio.to_thread(server.wait_for_requests, 1)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert await asyncio.to_thread(server.requests[0].disconnected.wait, 5)

    with ScriptedServer([Hang()]) as server:
        asyncio.run(cancel_one(server))


def test_close_cuts_what_is_in_flight() -> None:
    """A hanging response and a held stream end with the server, at once, and are nobody's disconnect."""
    gate = threading.Event()
    with ThreadPoolExecutor(2) as pool:
        server = ScriptedServer([Hang(), Answer("a b", gate=gate)]).start()
        hanging = pool.submit(ask, server)
        server.wait_for_requests(1)
        held = pool.submit(drain, server, [])
        server.wait_for_requests(2)
        started = time.monotonic()
        server.close()
        server.close()
        assert isinstance(hanging.exception(5), openai.APIConnectionError)
        assert isinstance(held.exception(5), openai.APIConnectionError)
        assert time.monotonic() - started < 2
    assert [request.disconnected.is_set() for request in server.requests] == [False, False]


def test_many_threads_are_served_at_once() -> None:
    """Fifty clients that start together are all held open together, and all get their answer."""
    gate = threading.Event()

    def call(number: int) -> str:
        data = json.dumps({"model": "m", "messages": [{"role": "user", "content": str(number)}]}).encode()
        with urllib.request.urlopen(f"{server.base_url}/chat/completions", data) as response:
            text: str = json.load(response)["choices"][0]["message"]["content"]
            return text

    with ScriptedServer(respond=lambda request: Answer(request.prompt, gate=gate)) as server:
        with ThreadPoolExecutor(50) as pool:
            calls = [pool.submit(call, number) for number in range(50)]
            server.wait_for_requests(50)
            gate.set()
            assert [call.result(5) for call in calls] == [str(number) for number in range(50)]


def test_mistakes_are_explained() -> None:
    """A script beside respond=, an empty Repeat and an early base_url say what to do."""
    with pytest.raises(ValueError, match="give one of them"):
        ScriptedServer([Answer("a")], respond=lambda _: Answer("b"))
    with pytest.raises(ValueError, match="give 1 or more, or None for ever"):
        Repeat(Answer("a"), 0)
    with pytest.raises(RuntimeError, match="use `with ScriptedServer"):
        _ = ScriptedServer([Answer("a")]).base_url
    with ScriptedServer() as server, pytest.raises(TimeoutError, match="0 of 1 requests arrived"):
        server.wait_for_requests(1, timeout_s=0.01)
