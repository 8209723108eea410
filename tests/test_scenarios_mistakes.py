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


def unreachable(rig: Rig) -> str:
    server = rig.serve()
    server.close()
    return server.base_url


NO_KEY = (
    "no API key: set OPENAI_API_KEY or pass api_key=...; for a server of your own, which needs none, "
    "pass base_url='http://127.0.0.1:8000/v1' and any text as api_key"
)
BAD_KEY = " refused the API key: check OPENAI_API_KEY or api_key=, and that it is this server's."
NOT_FOUND = " does not know the model 'gpt-4o' or has no such path: check the model's name and base_url=."
NOT_THERE = " cannot be reached: check that the server runs, and base_url= or OPENAI_BASE_URL."
SILENT = " did not answer in time: give it longer with timeout= (seconds per attempt)."


@EITHER
@pytest.mark.parametrize(
    ("mistake", "kind", "advice"),
    [
        (wrong_key, openai.AuthenticationError, BAD_KEY),
        (unknown_model, openai.NotFoundError, NOT_FOUND),
        (wrong_path, openai.NotFoundError, NOT_FOUND),
        (unreachable, openai.APIConnectionError, NOT_THERE),
    ],
)
async def test_s42_what_cannot_work_says_what_to_do(
    rig: Rig, way: str, mistake: Callable[[Rig], str], kind: type[Exception], advice: str
) -> None:
    """The SDK's exception has one more line, a note with the address and the way out; the spans are there."""
    url = mistake(rig)
    rlm = RLM.from_openai("gpt-4o", base_url=url, api_key="mine", max_retries=0, callbacks=[rig.callback])
    rig.runners.append(rlm)
    with pytest.raises(kind) as caught:
        await ask(rlm, way)
    assert (type(caught.value), caught.value.__notes__) == (kind, [url + advice])
    assert rig.outline() == f"invoke_agent !openai.{kind.__name__}\n  chat gpt-4o !openai.{kind.__name__}"


@EITHER
async def test_s42_a_silent_server_says_what_to_do(rig: Rig, way: str) -> None:
    """An attempt that takes longer than `timeout` says so."""
    url = rig.serve(Hang()).base_url
    rlm = RLM.from_openai("gpt-4o", base_url=url, api_key="any", max_retries=0, timeout=0.05, callbacks=[rig.callback])
    rig.runners.append(rlm)
    with pytest.raises(openai.APITimeoutError) as caught:
        await ask(rlm, way)
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
