"""Any alphabet, any terminal: text stays readable in files and on spans; cp1251 breaks no callback and no command."""

from pathlib import Path
from typing import Final

import pytest

from rlm_otel.callbacks import JSONLLogger
from rlm_otel.receiver import Receiver
from rlm_otel.testing import Answer, ScriptedServer, Tool, scripted_rlm
from tests.program import Ended, Program, run_program
from tests.ways import ANY_WAY, ask

pytestmark = pytest.mark.programs


def найти(что: str) -> dict[str, str]:
    """Ищет 🔎."""
    if что == "🐶":
        raise LookupError("нет такого: 🐶")
    return {"нашлось": что}


SCRIPT: Final = (
    Answer("Ищу 🔎", tool_calls=[Tool("найти", {"что": "кот 🐱"})]),
    Answer(tool_calls=[Tool("найти", {"что": "🐶"})]),
    Answer("Вот 👩‍🚀 ответ"),
)


@ANY_WAY
async def test_a_file_is_readable_in_every_alphabet(tmp_path: Path, way: str) -> None:
    """Cyrillic and emoji of prompts, answers and tools are in the file as they are, without a single escape."""
    path = tmp_path / "журнал 📒.jsonl"
    with ScriptedServer(SCRIPT) as server, JSONLLogger(path) as file:
        rlm = scripted_rlm(server, callbacks=[file], tools=[найти], name="сыщик 🕵")
        await ask(rlm, way, "Где кот? 🐱")
        await rlm.aclose()
    text = path.read_text(encoding="utf-8")
    assert "\\u" not in text
    wanted = [
        '"prompt": "Где кот? 🐱"',
        '"response": "Ищу 🔎"',
        '"tool": "найти", "input": "{\\"что\\": \\"кот 🐱\\"}"',
        '"output": "{\\"нашлось\\": \\"кот 🐱\\"}"',
        '"error": "нет такого: 🐶"',
        '"response": "Вот 👩‍🚀 ответ"',
        '"agent": "сыщик 🕵"',
    ]
    assert [piece for piece in wanted if piece not in text] == []


# A terminal of the last century --------------------------------------------------------------------------------------

ALL_CALLBACKS: Final = """
import asyncio, sys

import openai

from rlm_otel import fence
from rlm_otel.callbacks import (
    BudgetCallback, ConsoleCallback, JSONLLogger, MetricsCollector, RetryHandler, RichStreamCallback, SimpleLogger,
    StreamingCallback,
)
from rlm_otel.testing import Answer, Capture, Failure, ScriptedServer, StepClock, Tool, scripted_rlm


def найти(что: str) -> str:
    '''Ищет.'''
    raise LookupError(f"нет такого: {что} 🐶")


def script():
    return [
        Answer(tool_calls=[Tool("найти", {"что": "кот 🐱"})]),
        Failure(429, message="Не спеши 🐌", retry_after=0),
        Answer("Вот — «кот» 🐱\\n"),
        Failure(400, message="Так нельзя 🚫"),
    ]


def callbacks(capture):
    return [
        capture.callback, SimpleLogger(), SimpleLogger(language="ru"), MetricsCollector(), StreamingCallback(),
        RichStreamCallback(), RetryHandler(backoff=0, language="ru"), JSONLLogger("журнал.jsonl"), ConsoleCallback(),
        BudgetCallback(max_tokens=1000),
    ]


def rlm(server, capture):
    return scripted_rlm(server, callbacks=callbacks(capture), tools=[найти], name="сыщик 🕵", clock=StepClock())


def in_sync_code():
    with ScriptedServer(script()) as server, Capture(content="span") as capture, rlm(server, capture) as runner:
        assert runner.run("Где кот? 🐱").text == "Вот — «кот» 🐱\\n"
        try:
            runner.run("И ещё 🐱")
        except openai.BadRequestError:
            print("refused")


async def in_a_loop():
    with ScriptedServer(script()) as server, Capture(content="span") as capture:
        async with rlm(server, capture) as runner:
            async with runner.astream("Где кот? 🐱") as stream:
                assert "".join([text async for text in stream]) == "Вот — «кот» 🐱\\n"


in_sync_code()
asyncio.run(in_a_loop())
assert fence.failures() == {}, fence.failures()
print(sys.stdout.encoding, "end")
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """The program above on a terminal that has Cyrillic and no emoji."""
    return run_program(Program(source=ALL_CALLBACKS, environ={}), tmp_path_factory.mktemp("cp1251"), encoding="cp1251")


def test_every_callback_works_on_an_old_terminal(ended: Ended) -> None:
    """Nothing fails, in silence or aloud: each run gives its answer or its error, and stderr is empty."""
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-1] == "cp1251 end"


def test_what_an_old_terminal_has_is_readable(ended: Ended) -> None:
    """Cyrillic stays, an emoji is a question mark; nothing is a number or an escape."""
    lines = ended.out.splitlines()
    wanted = [
        "run сыщик ? (gpt-4o) ...",
        "? Sending prompt (10 characters)",
        "? Отправка промпта (10 символов)",
        "?? Ретрай 1/3 через 0s: Error code: 429 - Не спеши ?",
        "Вот — «кот» ?",
        "? Финальная ошибка после 0 ретраев: Error code: 400 - Так нельзя ?",
    ]
    assert [line for line in wanted if line not in lines] == []
    assert any(line.endswith("failed: LookupError: нет такого: кот ? ?") for line in lines)
    assert ("\\U" in ended.out, "\\u" in ended.out) == (False, False)


COMMAND: Final = "import sys; from rlm_otel.cli import main; main(sys.argv[1:] or ARGUMENTS, prog_name='rlm-otel')"


def rlm_otel(directory: Path, *arguments: str) -> Ended:
    """`rlm-otel` with these arguments, on such a terminal."""
    source = f"ARGUMENTS = {list(arguments)!r}\n{COMMAND}\n"
    return run_program(Program(source=source, environ={}), directory, encoding="cp1251")


@pytest.mark.parametrize("command", [(), ("demo",), ("doctor",)])
def test_help_works_on_an_old_terminal(tmp_path: Path, command: tuple[str, ...]) -> None:
    """Of the whole and of each command."""
    ended = rlm_otel(tmp_path, *command, "--help")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"Usage: {' '.join(('rlm-otel', *command))} ")


def test_doctor_works_on_an_old_terminal(tmp_path: Path) -> None:
    """A service may have any name: Cyrillic is shown, what is missing is spelled out."""
    with Receiver() as receiver:
        ended = rlm_otel(tmp_path, "doctor", "--endpoint", receiver.endpoint, "--service-name", "касса 🧾")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[0] == "service: касса \\U0001f9fe  [argument service_name]"
    assert receiver.spans()[0].resource["service.name"] == "касса 🧾"
