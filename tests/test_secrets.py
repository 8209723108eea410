"""Secrets planted wherever a run has text: they leave in no export (bytes on a socket), no file and no line of ours."""

import contextlib
import io
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import openai
import pytest

from rlm_otel import OTelCallback, configure
from rlm_otel.callbacks import ConsoleCallback, JSONLLogger, MetricsCollector, RetryHandler, SimpleLogger
from rlm_otel.receiver import Receiver, Signal
from rlm_otel.testing import Answer, Failure, Item, ScriptedServer, Tool, scripted_rlm
from tests.ways import ANY_WAY, EITHER, ask

PLACES: Final = "prompt system answer thought argument result tool_error tool_cause attempt message code param"
SECRETS: Final = {place: f"тайна-{number}" for number, place in enumerate(PLACES.split(), start=11)}
SAID_BY_NOBODY: Final = {"code", "param"}
"""Of an error's body the SDK's text has the message alone; a code that is no identifier is left out."""
ENVIRON: Final = {"OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN": "logs/dup"}


def lookup(key: str) -> dict[str, str]:
    """Finds."""
    return {"found": SECRETS["result"], "for": key}


def broken() -> str:
    """Fails."""
    raise LookupError(SECRETS["tool_error"]) from KeyError(SECRETS["tool_cause"])


SCRIPT: Final[tuple[Item, ...]] = (
    Answer(SECRETS["answer"], reasoning=SECRETS["thought"], tool_calls=[Tool("broken")]),
    Answer(tool_calls=[Tool("lookup", {"key": SECRETS["argument"]})]),
    Failure(429, message=SECRETS["attempt"], retry_after=0),
    Failure(400, body={"error": {key: SECRETS[key] for key in ("message", "code", "param")}}),
)


def places(data: bytes | str) -> set[str]:
    """Where the secrets in there were planted, however they are written."""
    data = data.encode() if isinstance(data, str) else data
    return {place for place, secret in SECRETS.items() if any(form.encode() in data for form in _forms(secret))}


def _forms(secret: str) -> tuple[str, ...]:
    escaped = json.dumps(secret)[1:-1]
    return (secret, escaped, escaped.replace("\\", "\\\\"), quote(secret))


class Raw(Receiver):
    """Keeps what it got as bytes too, so that nothing is overlooked that its records leave out."""

    got = b""

    def take(self, signal: Signal, request: Any, headers: Mapping[str, str], closing: threading.Event) -> int:
        self.got += request.SerializeToString() + repr(headers).encode()
        return super().take(signal, request, headers, closing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Which secrets left, by the way that they took."""

    exports: set[str]
    file: set[str]
    log: set[str]
    console: set[str]


Rule = Callable[[str], str | None]


async def planted(
    caplog: pytest.LogCaptureFixture, path: Path, way: str, *, content: str, redact: Rule | None = None, more: Any = ()
) -> Left:
    """A run with a secret in every place, and all that can be attached."""
    receiver, printed = Raw(), io.StringIO()
    with (
        receiver,
        configure(endpoint=receiver.endpoint, logs=True, environ=ENVIRON) as telemetry,
        ScriptedServer(SCRIPT) as server,
        JSONLLogger(path, content=content != "none", redact=redact, limit=5000) as file,
        contextlib.redirect_stdout(printed),
        caplog.at_level(logging.DEBUG, "rlm_otel"),
    ):
        callback = OTelCallback(telemetry, content=content, redact=redact)
        callback._environ = ENVIRON
        callbacks = [callback, file, ConsoleCallback(), MetricsCollector(), *more]
        rlm = scripted_rlm(server, callbacks=callbacks, tools=[lookup, broken], system_prompt=SECRETS["system"])
        with pytest.raises(openai.BadRequestError):
            await ask(rlm, way, SECRETS["prompt"])
        await rlm.aclose()
        assert telemetry.flush()
        signals = {export.signal for export in receiver.exports()}
        assert (signals, len(receiver.spans())) == ({"traces", "metrics", "logs"}, 6)
    assert {place for request in server.requests for place in places(json.dumps(request.body))} >= {"prompt", "result"}
    return Left(
        exports=places(receiver.got),
        file=places(path.read_bytes()),
        log=places(caplog.text),
        console=places(printed.getvalue()),
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.jsonl"


OF_ERRORS: Final = {"tool_error", "attempt", "message"}
"""What a terminal is shown, see docs/content.md."""


@ANY_WAY
async def test_without_content_no_secret_leaves(caplog: pytest.LogCaptureFixture, path: Path, way: str) -> None:
    """Not one byte of prompt, answer, tool texts or error texts, in traces, metrics, logs, the file or our log."""
    left = await planted(caplog, path, way, content="none")
    assert left == Left(exports=set(), file=set(), log=set(), console=OF_ERRORS)


@EITHER
async def test_with_content_they_do(caplog: pytest.LogCaptureFixture, path: Path, way: str) -> None:
    """So that the other tests look at the right places: everything is there, but for what nobody writes."""
    left = await planted(caplog, path, way, content="both")
    everything = SECRETS.keys() - SAID_BY_NOBODY
    assert left.exports == everything
    assert left.file == everything - {"system", "thought", "tool_cause"}  # a line has the prompt and the answer alone
    assert (left.log, left.console) == (set(), OF_ERRORS)


@ANY_WAY
async def test_a_rule_takes_them_out(caplog: pytest.LogCaptureFixture, path: Path, way: str) -> None:
    """With content on, what a rule replaces is in no signal and no file."""
    left = await planted(caplog, path, way, content="both", redact=lambda text: text.replace("тайна", "***"))
    assert left == Left(exports=set(), file=set(), log=set(), console=OF_ERRORS)


@ANY_WAY
async def test_a_rule_that_fails_gives_nothing_away(caplog: pytest.LogCaptureFixture, path: Path, way: str) -> None:
    """The text is dropped, and our warning does not repeat the rule's own words, which quote it."""

    def rule(text: str) -> str:
        raise ValueError(f"cannot judge {text}") from RuntimeError(text)

    left = await planted(caplog, path, way, content="both", redact=rule)
    assert left == Left(exports=set(), file=set(), log=set(), console=OF_ERRORS)
    (warning,) = [record for record in caplog.records if "redact" in record.getMessage()]
    assert warning.getMessage() == (
        f"{rule.__qualname__}.redact raised ValueError ({__file__}:{rule.__code__.co_firstlineno + 1}); "
        "it is ignored, and further failures there are only counted"
    )


class Careless:
    """A callback with a mistake, which is called while the API's error is under way."""

    def on_error(self, error: BaseException) -> None:
        raise error

    def on_run_end(self, result: object) -> None:
        try:
            raise KeyError("missing")
        except KeyError as error:
            raise RuntimeError("its own words") from error


@EITHER
async def test_a_callback_that_fails_does_not_tell_the_apis_error(
    caplog: pytest.LogCaptureFixture, path: Path, way: str
) -> None:
    """The traceback of its mistake goes to the log, with its causes, but not the API's error, which may quote text."""
    left = await planted(caplog, path, way, content="none", more=[Careless()])
    assert left.log == set()
    assert "Careless.on_error raised BadRequestError (" in caplog.text
    assert [words in caplog.text for words in ("KeyError: 'missing'", "RuntimeError: its own words")] == [True, True]
    assert "BadRequestError: " not in caplog.text


KEY: Final = "sk-proj-aB3dE5fG7hI9jK1lM3nO"


@ANY_WAY
async def test_no_line_on_the_terminal_has_a_key(capsys: pytest.CaptureFixture[str], path: Path, way: str) -> None:
    """What looks like a key is taken out of errors on the terminal, whatever prints them, and out of the file."""
    failures = [Failure(429, message=f"slow down, {KEY}", retry_after=0), Failure(400, message=f"bad key {KEY}")]
    with ScriptedServer(failures) as server, JSONLLogger(path) as file:
        callbacks = [ConsoleCallback(), SimpleLogger(), RetryHandler(backoff=0), file]
        rlm = scripted_rlm(server, callbacks=callbacks)
        with pytest.raises(openai.BadRequestError, match=KEY):
            await ask(rlm, way, f"my key is {KEY}")
        await rlm.aclose()
    printed, written = capsys.readouterr().out, path.read_text(encoding="utf-8")
    assert (KEY in printed, KEY in written) == (False, False)
    assert printed.count("bad key [redacted]") == 3
    assert written.count("[redacted]") == 5
