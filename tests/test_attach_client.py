"""What attaching to a client changes, and what it leaves alone: scenarios 29, 57 to 64, 90, 91."""

import copy
import gc
from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from rlm_otel import instrument_openai
from rlm_otel.testing import Answer, Raw, Repeat, Tokens
from tests.attached import (
    ANY_WAY,
    EITHER,
    FOUR,
    HI,
    HTTP,
    Told,
    ask,
    close,
    facts,
    is_async,
    is_stream,
    make,
    observed,
)
from tests.rig import Rig

OK = Repeat(Answer("ok", usage=Tokens(input=2, output=1)))
METHODS = ("request", "_sleep_for_retry", "_calculate_retry_timeout", "_process_response")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "rlm_otel"]


# One client ----------------------------------------------------------------------------------------------------------


@FOUR
async def test_s91_attaching_touches_one_object(rig: Rig, way: str) -> None:
    """The client's class is a subclass of its own; the SDK's classes and other clients are as they were."""
    server = rig.serve(OK)
    before = [dict(vars(kind)) for kind in (openai.OpenAI, openai.AsyncOpenAI)]
    other, client = make(server, way), make(server, way)
    kind, attributes = type(client), dict(vars(client))
    instrument_openai(client, callbacks=[rig.callback])
    assert isinstance(client, kind)
    assert (type(client).__name__, type(client).__module__) == (kind.__name__, kind.__module__)
    assert vars(client) == attributes
    assert [dict(vars(kind)) for kind in (openai.OpenAI, openai.AsyncOpenAI)] == before
    assert type(other) is kind
    await ask(other, way)
    assert rig.spans == []
    await ask(client, way)
    assert rig.outline() == "chat gpt-4o"
    for one in (client, other):
        await close(one)


@FOUR
async def test_s91_undo_restores_the_client(rig: Rig, way: str) -> None:
    """After `undo()`, and after the `with`, the client is what it was; a second `undo()` does nothing."""
    client = make(rig.serve(OK), way)
    kind = type(client)
    with instrument_openai(client, callbacks=[rig.callback]) as handle:
        await ask(client, way)
        copied = client.with_options(max_retries=1)
    handle.undo()
    assert type(client) is kind
    await ask(client, way)
    await ask(copied, way)
    assert rig.outline() == "chat gpt-4o"
    with instrument_openai(copied, callbacks=[rig.callback]):
        await ask(copied, way)
    assert len(rig.spans) == 2
    await close(client)


@FOUR
@pytest.mark.parametrize("copying", ["with_options", "copy"])
async def test_s29_copies_stay_observed(rig: Rig, way: str, copying: str) -> None:
    """`with_options()` and `copy()` give observed clients, copies of copies too."""
    async with observed(rig, rig.serve(OK), way) as client:
        copied = getattr(getattr(client, copying)(max_retries=0), copying)(timeout=5)
        assert (copied.max_retries, isinstance(copied, (openai.OpenAI, openai.AsyncOpenAI))) == (0, True)
        await ask(copied, way)
    assert rig.outline() == "chat gpt-4o"


@FOUR
async def test_s60_resources_made_before_are_observed(rig: Rig, way: str) -> None:
    """Whoever keeps `client.chat.completions`, a bound `create` or its raw form is observed from then on."""
    client = make(rig.serve(OK), way)
    chat, create = client.chat.completions, client.chat.completions.create
    raw = client.chat.completions.with_raw_response.create
    instrument_openai(client, callbacks=[rig.callback])
    for method in (chat.create, create, raw):
        reply = method(model="gpt-4o", messages=HI)
        if is_async(way):
            await reply
    assert len(rig.spans) == 3
    await close(client)


@FOUR
async def test_s90_attaching_twice_changes_nothing(rigs: Callable[..., Rig], way: str, caplog: Any) -> None:
    """A client that is observed already stays with its first callbacks; one line says so; its undo is not ours."""
    first, second = rigs(), rigs()
    client = make(first.serve(OK), way)
    instrument_openai(client, callbacks=[first.callback])
    for observed_already in (client, client.with_options(timeout=5)):
        instrument_openai(observed_already, callbacks=[second.callback]).undo()
    await ask(client, way)
    assert (len(first.spans), second.spans) == (1, [])
    assert (
        said(caplog)
        == [
            f"this {type(client).__name__} is observed already: instrument_openai() changes nothing, "
            "the first one's callbacks go on"
        ]
        * 2
    )
    await close(client)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (HTTP.Client, "instrument_openai wants an openai.OpenAI or openai.AsyncOpenAI, got Client"),
        (dict, "instrument_openai wants an openai.OpenAI or openai.AsyncOpenAI, got dict"),
        (
            lambda: openai.OpenAI,
            "instrument_openai got the class OpenAI; give a client made of it, or nothing for all clients",
        ),
    ],
    ids=["httpx", "dict", "class"],
)
def test_the_wrong_kind_of_client(given: Callable[[], Any], message: str) -> None:
    """It says what was wanted."""
    with pytest.raises(TypeError) as caught:
        instrument_openai(given())
    assert str(caught.value) == message


def test_something_that_is_no_callback(rig: Rig) -> None:
    """It is refused at once, and the client is left alone."""
    client = make(rig.serve(), "create")
    with pytest.raises(TypeError):
        instrument_openai(client, callbacks=[42])
    assert type(client) is openai.OpenAI
    client.close()


@FOUR
async def test_s90_without_callbacks_the_shared_one_is_told(
    rig: Rig, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`instrument_openai(client)` alone: one `OTelCallback()` for the process."""
    monkeypatch.setattr("rlm_otel.observing.shared_callback", lambda: rig.callback)
    client = make(rig.serve(OK), way)
    instrument_openai(client)
    await ask(client, way)
    assert rig.outline() == "chat gpt-4o"
    await close(client)


@pytest.mark.parametrize("way", ["create", "acreate"])
async def test_providers_by_host_and_azure(rig: Rig, way: str) -> None:
    """Vendor, address and port are those of the client's own server; Azure behind a gateway is Azure."""
    kind = openai.AsyncAzureOpenAI if is_async(way) else openai.AzureOpenAI
    seen: list[str] = []

    def answer(request: Any) -> Any:
        seen.append(str(request.url))
        body = {"id": "x", "model": "gpt-4o", "choices": [{"index": 0, "finish_reason": "stop", "message": {}}]}
        return HTTP.Response(200, json=body)

    for base in ("https://me.openai.azure.com", "https://gateway.example:8443"):
        http: Any = (HTTP.AsyncClient if is_async(way) else HTTP.Client)(transport=HTTP.MockTransport(answer))
        client = kind(azure_endpoint=base, api_key="x", api_version="2024-10-21", http_client=http)
        instrument_openai(client, callbacks=[rig.callback])
        await ask(client.with_options(max_retries=0), way)
        await close(client)
    names = ("gen_ai.provider.name", "server.address", "server.port")
    assert [[span.attributes[name] for name in names] for span in rig.spans] == [
        ["azure.ai.openai", "me.openai.azure.com", 443],
        ["azure.ai.openai", "gateway.example", 8443],
    ]
    assert "/openai/deployments/gpt-4o/chat/completions" in seen[0]


def test_providers_of_other_hosts(rig: Rig) -> None:
    """A client of another vendor's OpenAI-compatible API."""
    body = {"id": "x", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": {}}]}
    transport = HTTP.MockTransport(lambda _: HTTP.Response(200, json=body))
    client = openai.OpenAI(
        base_url="https://api.groq.com/openai/v1", api_key="x", http_client=HTTP.Client(transport=transport)
    )
    instrument_openai(client, callbacks=[rig.callback])
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "Hi"}])
    client.close()
    assert rig.span("chat m").attributes["gen_ai.provider.name"] == "groq"


@EITHER
async def test_what_is_not_observed_passes(rig: Rig, way: str) -> None:
    """Other endpoints are the SDK's alone."""
    async with observed(rig, rig.serve(), way) as client:
        models = client.models.list()
        assert (await models if is_async(way) else models).data == []
    assert rig.spans == []


def test_a_client_that_was_observed_can_be_collected(rig: Rig) -> None:
    """The handle is not needed, and nothing of ours keeps the client."""
    import weakref

    client = make(rig.serve(), "create")
    instrument_openai(client, callbacks=[rig.callback])
    client.close()
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None


# Raw responses and arguments -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["raw", "araw"])
async def test_s57_a_raw_response_works_as_before(rig: Rig, way: str) -> None:
    """Headers, request id, retries and `parse()` are the SDK's, and the same object each time; tokens are known."""
    async with observed(rig, rig.serve(OK), way) as client:
        made = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HI)
        raw = await made if is_async(way) else made
        assert rig.outline() == "chat gpt-4o"
        assert (raw.request_id, raw.headers["x-request-id"], raw.retries_taken) == ("req_1", "req_1", 0)
        assert raw.parse() is raw.parse()
        assert raw.parse(to=openai.types.chat.ChatCompletion).choices[0].message.content == "ok"
        assert "parse" not in vars(raw)
    assert rig.span("chat gpt-4o").attributes["gen_ai.usage.input_tokens"] == 2


@pytest.mark.parametrize("way", ["raw", "araw", "raw_stream", "araw_stream"])
async def test_s60_a_raw_response_that_nobody_parses(rig: Rig, way: str) -> None:
    """Without a stream the call has ended when it returns; a stream ends when it is dropped."""
    tracer = rig.tracer_provider.get_tracer("app")
    async with observed(rig, rig.serve(OK), way) as client:
        made = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HI, stream=is_stream(way))
        raw = await made if is_async(way) else made
        with tracer.start_as_current_span("after"):
            pass
        del made, raw
        gc.collect()
        assert rig.open_spans == []
    assert rig.outline() == ("chat gpt-4o (abandoned)" if is_stream(way) else "chat gpt-4o") + "\nafter"


@pytest.mark.parametrize("way", ["sr", "asr"])
@pytest.mark.parametrize("reading", ["json", "text", "read", "iter_lines", "nothing"])
async def test_s59_a_streaming_response_read_in_its_own_way(rig: Rig, way: str, reading: str) -> None:
    """A body that is read without `parse()` tells its usage as long as it is kept; one that is not read is closed."""
    async with observed(rig, rig.serve(OK), way) as client:
        manager = client.chat.completions.with_streaming_response.create(model="gpt-4o", messages=HI)
        if is_async(way):
            async with manager as response:
                if reading == "iter_lines":
                    assert [line async for line in response.iter_lines()]
                elif reading != "nothing":
                    await getattr(response, reading)()
        else:
            with manager as response:
                if reading == "iter_lines":
                    assert list(response.iter_lines())
                elif reading != "nothing":
                    getattr(response, reading)()
    usage = rig.span("chat gpt-4o").attributes.get("gen_ai.usage.input_tokens")
    outcome = rig.span("chat gpt-4o").attributes["rlm.outcome"]
    assert (usage, outcome) == {"iter_lines": (None, "completed"), "nothing": (None, "closed")}.get(
        reading, (2, "completed")
    )


@pytest.mark.parametrize("way", ["sr_stream", "asr_stream"])
async def test_s59_a_stream_read_line_by_line(rig: Rig, way: str) -> None:
    """Whoever reads the server-sent events itself gets all of them, and the call ends; nothing is known of them."""
    async with observed(rig, rig.serve(Answer("one")), way) as client:
        manager = client.chat.completions.with_streaming_response.create(model="gpt-4o", messages=HI, stream=True)
        if is_async(way):
            async with manager as response:
                lines = [line async for line in response.iter_lines()]
        else:
            with manager as response:
                lines = list(response.iter_lines())
    assert "data: [DONE]" in lines
    assert facts(rig) == ("unset", None, {"completed": 1})


@FOUR
async def test_s61_parsing_into_a_model(rig: Rig, way: str) -> None:
    """`parse(response_format=Model)` is one span like any other."""
    from pydantic import BaseModel

    class City(BaseModel):
        name: str

    async with observed(rig, rig.serve(Answer('{"name": "Минск"}')), way) as client:
        if is_stream(way):
            helper = client.chat.completions.stream(model="gpt-4o", messages=HI, response_format=City)
            if is_async(way):
                async with helper as stream:
                    parsed = await stream.get_final_completion()
            else:
                with helper as stream:
                    parsed = stream.get_final_completion()
        else:
            reply = client.chat.completions.parse(model="gpt-4o", messages=HI, response_format=City)
            parsed = await reply if is_async(way) else reply
    assert parsed.choices[0].message.parsed == City(name="Минск")
    assert rig.span("chat gpt-4o").attributes["gen_ai.output.type"] == "json"


@ANY_WAY
@pytest.mark.parametrize("content", ["none", "span"])
async def test_s62_generators_in_the_arguments_arrive_whole(rigs: Callable[..., Rig], way: str, content: str) -> None:
    """Messages and tools that can be read but once reach the server, whether content is recorded or not."""

    def messages() -> Iterator[dict[str, object]]:
        yield {"role": "user", "content": "Привет"}
        yield {"role": "user", "content": "😀"}

    rig = rigs(content=content)
    server = rig.serve(OK)
    tools = [{"type": "function", "function": {"name": "add", "strict": True, "parameters": {}}}]
    given = messages() if "helper" not in way and "parse" not in way else list(messages())
    async with observed(rig, server, way) as client:
        await ask(client, way, messages=given, tools=iter(tools) if way in ("create", "acreate") else tools)
    assert server.requests[0].body["messages"] == list(messages())
    assert server.requests[0].body["tools"] == tools
    shown = rig.span("chat gpt-4o").attributes.get("gen_ai.input.messages")
    assert ("😀" in str(shown)) is (content == "span")


@FOUR
async def test_s63_only_what_was_sent_is_recorded(rig: Rig, way: str) -> None:
    """No invented parameters: neither defaults nor the SDK's sentinels; a single stop becomes a list."""
    async with observed(rig, rig.serve(OK), way) as client:
        await ask(client, way, stop="END", n=1, temperature=openai.omit, seed=openai.NOT_GIVEN)
    sent = {name: v for name, v in rig.span("chat gpt-4o").attributes.items() if name.startswith("gen_ai.request.")}
    streamed = {"gen_ai.request.stream": True} if is_stream(way) else {}
    assert sent == {"gen_ai.request.model": "gpt-4o", "gen_ai.request.stop_sequences": ("END",), **streamed}


@FOUR
async def test_s64_arguments_are_left_alone(rig: Rig, way: str) -> None:
    """Nothing that the caller passed is changed, and what we do not know goes through."""
    request = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "extra_body": {"top_k": 5},
        "extra_headers": {"x-mine": "1"},
        "metadata": {"a": "b"},
    }
    before = copy.deepcopy(request)
    server = rig.serve(OK)
    async with observed(rig, server, way, include_usage=True) as client:
        await ask(client, way, **request)
    assert request == before
    (sent,) = server.requests
    assert (sent.body["top_k"], sent.headers["x-mine"], sent.body["metadata"]) == (5, "1", {"a": "b"})


@EITHER
async def test_s64_a_body_posted_by_hand_is_observed(rig: Rig, way: str) -> None:
    """`client.post("/chat/completions", ...)` is a model call too, whatever it is cast to."""
    async with observed(rig, rig.serve(OK), way) as client:
        for kind in (dict[str, Any], object, HTTP.Response):
            posted = client.post("/chat/completions", body={"model": "gpt-4o", "messages": HI}, cast_to=kind)
            if is_async(way):
                await posted
    assert [span.attributes["gen_ai.usage.input_tokens"] for span in rig.spans] == [2, 2, 2]


@FOUR
async def test_s51_an_extra_body_that_is_none(rig: Rig, way: str) -> None:
    """The SDK refuses it: the caller gets its exception, and the call has failed by that."""
    async with observed(rig, rig.serve(OK), way, include_usage=True) as client:
        with pytest.raises(TypeError) as raised:
            await ask(client, way, extra_body=[1])
    assert "mapping" in str(raised.value)
    assert rig.outline() == "chat gpt-4o !TypeError"


# The whole process ---------------------------------------------------------------------------------------------------


def own(kind: type) -> list[str]:
    return [name for name in METHODS if name in vars(kind)]


@FOUR
async def test_s91_the_whole_process_and_back(rig: Rig, way: str) -> None:
    """Without a client all are observed, those made before too; `undo()` leaves the SDK's classes as they were."""
    server = rig.serve(OK)
    before, kinds = make(server, way), (openai.OpenAI, openai.AsyncOpenAI)
    untouched = [dict(vars(kind)) for kind in kinds]
    with instrument_openai(callbacks=[rig.callback]):
        after = make(server, way)
        assert [own(kind) for kind in kinds] == [list(METHODS)] * 2
        for client in (before, after, after.with_options(timeout=5)):
            await ask(client, way)
    assert [dict(vars(kind)) for kind in kinds] == untouched
    await ask(before, way)
    assert len(rig.spans) == 3
    for client in (before, after):
        await close(client)


@FOUR
async def test_s90_one_client_in_an_observed_process(rigs: Callable[..., Rig], way: str) -> None:
    """A client that was given by itself is told to its own callbacks, once; others to the process's."""
    every, own_rig, told = rigs(), rigs(), Told()
    server = every.serve(OK)
    with instrument_openai(callbacks=[every.callback]):
        one, other = make(server, way), make(server, way)
        instrument_openai(one, callbacks=[own_rig.callback, told])
        await ask(one, way)
        await ask(other, way)
    assert (len(every.spans), len(own_rig.spans)) == (1, 1)
    assert told.hooks == ["on_llm_start", "on_llm_end"]
    for client in (one, other):
        await close(client)


def test_s90_the_process_twice(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """It is observed once; one line says so, and undoing the second leaves the first."""
    with instrument_openai(callbacks=[rig.callback]):
        instrument_openai(callbacks=[rig.callback]).undo()
        assert own(openai.OpenAI) == list(METHODS)
    assert own(openai.OpenAI) == []
    assert said(caplog) == [
        "all clients are observed already: instrument_openai() changes nothing, the first one's callbacks go on"
    ]


def test_s90_another_patch_over_ours_stays(rig: Rig) -> None:
    """Who wraps our method later keeps its wrapper when we go; ours inside is quiet."""
    client = make(rig.serve(OK), "create")
    handle = instrument_openai(callbacks=[rig.callback])
    ours = openai.OpenAI.request

    def theirs(self: Any, *args: Any, **kwargs: Any) -> Any:
        return ours(self, *args, **kwargs)

    openai.OpenAI.request = theirs  # type: ignore[method-assign]
    try:
        handle.undo()
        assert openai.OpenAI.request is theirs
        client.chat.completions.create(model="gpt-4o", messages=HI)
    finally:
        del openai.OpenAI.request
        client.close()
    assert rig.spans == []


@EITHER
async def test_s90_a_later_patch_of_the_sdk_is_heeded(rig: Rig, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An instrumentation of somebody else that wraps `request` after us still sees the calls of our client."""
    seen: list[str] = []
    kind = openai.AsyncOpenAI if is_async(way) else openai.OpenAI
    async with observed(rig, rig.serve(OK), way) as client:
        theirs = kind.request

        def wrapped(self: Any, cast_to: Any, options: Any, **more: Any) -> Any:
            seen.append(options.url)
            return theirs(self, cast_to, options, **more)

        monkeypatch.setattr(kind, "request", wrapped, raising=False)
        await ask(client, way)
    assert (seen, rig.outline()) == (["/chat/completions"], "chat gpt-4o")


@pytest.mark.parametrize("where", ["request", "create"])
def test_s90_the_process_stays_out_of_anothers_way(
    rig: Rig, where: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where somebody else has patched openai it observes nothing and says so in one line."""
    import wrapt
    from openai.resources.chat import Completions

    owner, name = (openai.OpenAI, "request") if where == "request" else (Completions, "create")
    wrapped = wrapt.FunctionWrapper(getattr(owner, name), lambda w, _, args, kwargs: w(*args, **kwargs))
    monkeypatch.setattr(owner, name, wrapped, raising=False)
    instrument_openai(callbacks=[rig.callback]).undo()
    assert said(caplog) == [
        f"another instrumentation of openai is active (it wraps {owner.__name__}.{name}): instrument_openai() stays "
        "out of its way and observes nothing; to observe one client all the same, give it that client"
    ]


def test_s51_a_raw_body_that_is_no_json(rig: Rig) -> None:
    """The raw response of a login page gives its text, as the SDK does."""
    client = make(rig.serve(Raw("<html>")), "raw")
    instrument_openai(client, callbacks=[rig.callback])
    raw = client.chat.completions.with_raw_response.create(model="gpt-4o", messages=HI)
    assert (raw.parse(), raw.text) == ("<html>", "<html>")
    client.close()
    assert facts(rig)[2] == {"failed": 1}
