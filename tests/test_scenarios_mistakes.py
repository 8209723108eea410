"""What cannot work says what to do, in one clear line, and the run is there with its failure (scenario 42)."""

from collections.abc import Callable

import openai
import pytest

from rlm_otel import RLM
from rlm_otel.events import Finished
from rlm_otel.testing import Hang, Recorder
from tests.rig import Rig
from tests.ways import ANY_WAY, EITHER, ask


def wrong_key(rig: Rig) -> str:
    return rig.serve("never", api_key="another").base_url


def unknown_model(rig: Rig) -> str:
    return rig.serve("never", models=["small"]).base_url


def wrong_path(rig: Rig) -> str:
    return rig.serve("never").base_url + "/nowhere"


def no_scheme(rig: Rig) -> str:
    return "localhost:8000/v1"


def unreachable(rig: Rig) -> str:
    server = rig.serve()
    server.close()
    return server.base_url


NO_KEY = (
    "no API key: set OPENAI_API_KEY or pass api_key=...; for a server of your own, which needs none, "
    "pass base_url='http://127.0.0.1:8000/v1' and any text as api_key; "
    "to try things out without either, run `rlm-otel serve` and type the two lines that it prints"
)
BAD_KEY = " refused the API key: check OPENAI_API_KEY or api_key=, and that it is this server's."
NOT_FOUND = " does not know the model 'gpt-4o' or has no such path: check the model's name and base_url=."
NOT_THERE = " cannot be reached: check that the server runs, and base_url= or OPENAI_BASE_URL."
NO_SCHEME = " is no address of a server: base_url= has to begin with http:// or https://."
BAD_HEADER = " was not asked: the API key or a header has a character that HTTP forbids, such as a line break."
SILENT = " did not answer in time: give it longer with timeout= (seconds per attempt)."


def runner(rig: Rig, url: str, *, api_key: str = "mine", timeout: float = 10.0) -> RLM:
    rlm = RLM.from_openai(
        "gpt-4o", base_url=url, api_key=api_key, timeout=timeout, max_retries=0, callbacks=[rig.callback]
    )
    rig.runners.append(rlm)
    return rlm


@EITHER
@pytest.mark.parametrize(
    ("mistake", "kind", "advice"),
    [
        (wrong_key, openai.AuthenticationError, BAD_KEY),
        (unknown_model, openai.NotFoundError, NOT_FOUND),
        (wrong_path, openai.NotFoundError, NOT_FOUND),
        (no_scheme, openai.APIConnectionError, NO_SCHEME),
        (unreachable, openai.APIConnectionError, NOT_THERE),
    ],
)
async def test_s42_what_cannot_work_says_what_to_do(
    rig: Rig, way: str, mistake: Callable[[Rig], str], kind: type[Exception], advice: str
) -> None:
    """The SDK's exception has one more line, a note with the address and the way out; the spans are there."""
    url = mistake(rig)
    with pytest.raises(kind) as caught:
        await ask(runner(rig, url), way)
    assert (type(caught.value), caught.value.__notes__) == (kind, [url + advice])
    assert rig.outline() == f"invoke_agent !openai.{kind.__name__}\n  chat gpt-4o !openai.{kind.__name__}"


@EITHER
@pytest.mark.parametrize("key", ["sk-1\n", "ключ"])
async def test_s42_a_key_that_http_cannot_carry_says_what_to_do(rig: Rig, way: str, key: str) -> None:
    """A line break at the end of a key, or a Cyrillic letter in it, is an unlikely thing to think of."""
    url = rig.serve("never").base_url
    with pytest.raises((openai.APIConnectionError, UnicodeEncodeError)) as caught:
        await ask(runner(rig, url, api_key=key), way)
    assert caught.value.__notes__ == [url + BAD_HEADER]


@EITHER
async def test_s42_advice_does_not_show_a_password(rig: Rig, way: str) -> None:
    """Of an address with a user and a password, neither gets into the note, which tracebacks show."""
    url = unreachable(rig)
    with pytest.raises(openai.APIConnectionError) as caught:
        await ask(runner(rig, url.replace("http://", "http://user:password@")), way)
    assert caught.value.__notes__ == [url + NOT_THERE]


@EITHER
async def test_s42_a_silent_server_says_what_to_do(rig: Rig, way: str) -> None:
    """An attempt that takes longer than `timeout` says so."""
    url = rig.serve(Hang()).base_url
    with pytest.raises(openai.APITimeoutError) as caught:
        await ask(runner(rig, url, timeout=0.05), way)
    assert caught.value.__notes__ == [url + SILENT]
    assert rig.outline() == "invoke_agent !openai.APITimeoutError\n  chat gpt-4o !openai.APITimeoutError"


@ANY_WAY
async def test_s42_a_missing_key_says_what_to_do(rig: Rig, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key nothing can be asked: one line says how to give one, and the run is there with its failure."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_ADMIN_KEY", raising=False)
    recorder = Recorder()
    with pytest.raises(openai.OpenAIError) as caught:
        await ask(RLM.from_openai("gpt-4o", callbacks=[rig.callback, recorder]), way)
    assert str(caught.value) == NO_KEY
    assert [event.failure.exception is caught.value for event in recorder.of(Finished) if event.failure] == [True]
    assert rig.outline() == "invoke_agent !openai.OpenAIError"
