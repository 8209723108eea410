"""The tutorial's code runs as it is printed, and all that prints works on a terminal that has no emoji."""

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from rlm_otel.receiver import Receiver
from rlm_otel.testing import Answer, Failure, Repeat, ScriptedServer, Tokens, Tool
from tests.program import ROOT, Ended, Program, run_program

pytestmark = pytest.mark.programs

MARK = "=== next ==="
TUTORIAL = ROOT.parent / "shared" / "tutorial.ru.md"

# What the test adds behind each block of the tutorial, in the same namespace.
ADDED = (
    # 1.1 SimpleLogger
    "",
    # 2.1 MetricsCollector
    "",
    # 3.1 StreamingCallback
    """
tokens = []
RLM.from_openai("gpt-4o", callbacks=[StreamingCallback(on_token=tokens.append)]).run("Напиши хайку")
print(tokens)
""",
    # 3.2 RichStreamCallback
    """
answer = RLM.from_openai("gpt-4o", callbacks=[RichStreamCallback()]).run("Напиши список")
print()  # where the output is no terminal, Rich does not end its last line
print(answer)
""",
    # 4.1 RetryHandler
    """
handler = RetryHandler(backoff=0.25)
print(RLM.from_openai("gpt-4o", callbacks=[handler]).run("Привет!"), handler.retry_count)
import openai
handler = RetryHandler(backoff=0.25)
try:
    RLM.from_openai("gpt-4o", callbacks=[handler]).run("Привет!")
except openai.InternalServerError as error:
    print("run() raised", error.status_code, handler.retry_count)
""",
    # 5.1 JSONLLogger
    """
def weather(city: str) -> str:
    return "солнечно ☀️"

print(RLM.from_openai("gpt-4o", callbacks=[logger], tools=[weather]).run("Погода в Москве? 🌦"))
try:
    rlm.run("Привет!")
except openai.BadRequestError as error:
    print("run() raised", error.status_code)
logger.close()
""",
    # 6 Combining
    """
print(rlm.run("Привет!"))
print(callbacks[1].summary()["total_tokens"])
print(RLM.from_openai("gpt-4o", callbacks=[*callbacks, ConsoleCallback()]).run("Привет!"))
callbacks[2].close()
""",
)

SCRIPT = (
    Answer("Здравствуйте!", usage=Tokens(input=8, output=37)),  # 1.1
    Repeat(Answer("Ответ", usage=Tokens(input=10, output=5)), 10),  # 2.1
    Repeat(Answer(chunks=("Тихо ", "гудит ", "код")), 2),  # 3.1
    Answer("Список:\n\n* **раз**\n* два"),  # 3.2
    Failure(429, retry_after=0, message="slow down"),  # 4.1
    Failure(500, retry_after=0, message="overloaded"),
    Answer("Получилось"),
    Repeat(Failure(500, retry_after=0, message="overloaded"), 4),
    Answer(tool_calls=[Tool("weather", {"city": "Москва"})], usage=Tokens(input=20, output=4)),  # 5.1
    Answer("В Москве солнечно", usage=Tokens(input=30, output=6)),
    Failure(400, message="bad prompt"),
    Repeat(Answer("Здравствуйте!", usage=Tokens(input=8, output=37)), 2),  # 6
)

SLOW_DOWN = "Error code: 429 - slow down"
OVERLOADED = "Error code: 500 - overloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """The tutorial, run to its end."""

    ended: Ended
    parts: list[str]
    """What each block and the lines added to it printed."""
    directory: Path
    streamed: list[bool]
    """Whether each request, in order, asked for a stream."""

    def jsonl(self, name: str) -> list[dict[str, object]]:
        """The objects of a file of lines, without their timestamps."""
        lines = (self.directory / name).read_text(encoding="utf-8").splitlines()
        return [{key: value for key, value in json.loads(line).items() if key != "timestamp"} for line in lines]


def blocks() -> list[str]:
    """The tutorial's Python blocks, under the name of this package."""
    if not TUTORIAL.exists():
        pytest.skip("the tutorial is not here: it is looked for in ../shared/tutorial.ru.md, beside the repository")
    text = TUTORIAL.read_text(encoding="utf-8")
    return [block.replace("rlm_toolkit", "rlm_otel") for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]


def run_tutorial(directory: Path, encoding: str) -> Ran:
    pieces = [f"{block}\n{added}" for block, added in zip(blocks(), ADDED, strict=True)]
    with ScriptedServer(SCRIPT) as server:
        environ = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "any"}
        program = Program(source=f"\nprint({MARK!r})\n".join(pieces), environ=environ)
        ended = run_program(program, directory, encoding=encoding)
        streamed = [request.body.get("stream", False) for request in server.requests]
    return Ran(ended=ended, parts=ended.out.split(f"{MARK}\n"), directory=directory, streamed=streamed)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run_tutorial(tmp_path_factory.mktemp("tutorial"), "utf-8")


@pytest.fixture(scope="module")
def ran_cp1251(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return run_tutorial(tmp_path_factory.mktemp("tutorial_cp1251"), "cp1251")


def test_every_block_runs_without_a_word_on_stderr(ran: Ran) -> None:
    """All blocks run in one namespace, in order, and nothing was fenced or warned about."""
    assert (ran.ended.code, ran.ended.err, len(ran.parts)) == (0, "", 7)


def test_only_the_import_lines_are_changed(ran: Ran) -> None:
    """The old name stands in import lines alone, so that to replace it changes nothing else."""
    text = TUTORIAL.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if "rlm_toolkit" in line]
    assert sorted(set(lines)) == [
        "from rlm_toolkit import RLM",
        "from rlm_toolkit.callbacks import BaseCallback",
        "from rlm_toolkit.callbacks import ConsoleCallback",
        "from rlm_toolkit.callbacks import StreamingCallback",
    ]


def test_part_1_prints_the_lines_that_the_tutorial_shows(ran: Ran) -> None:
    """SimpleLogger prints the prompt's length and the tokens."""
    assert ran.parts[0] == "📤 Отправка промпта (7 символов)\n📥 Получено (45 токенов)\n"
    assert f"```\n{ran.parts[0]}```" in TUTORIAL.read_text(encoding="utf-8")


def assert_sums_up_ten_runs(printed: str) -> None:
    summary = ast.literal_eval(printed)
    latency = summary.pop("avg_latency_ms")
    assert summary == {"total_calls": 10, "total_tokens": 150, "errors": 0, "by_model": {"gpt-4o": 10}}
    assert 0 < latency < 5000


def test_part_2_sums_up_ten_runs(ran: Ran) -> None:
    """MetricsCollector's own summary has the calls, tokens and model of ten runs."""
    assert_sums_up_ten_runs(ran.parts[1])


def test_part_3_streams_token_by_token(ran: Ran) -> None:
    """A function given to StreamingCallback gets each piece as it was sent; the answer ends with the newline."""
    assert ran.parts[2] == "Тихо гудит код\n['Тихо ', 'гудит ', 'код']\n"
    assert ran.streamed[:13] == [False] * 11 + [True] * 2


def test_part_3_shows_markdown_with_rich(ran: Ran) -> None:
    """RichStreamCallback, which never calls `super().__init__()`, draws the answer; the run returns it."""
    drawn = [line.rstrip() for line in ran.parts[3].splitlines()]
    assert drawn == ["Список:", "", " • раз", " • два", "Список:", "", "* **раз**", "* два"]
    assert ran.streamed[13] is True


def test_part_4_retries_as_the_callback_wants(ran: Ran) -> None:
    """Two failures and a success; then a failure that stays after the callback's three retries."""
    assert ran.parts[4].splitlines() == [
        f"⚠️ Ретрай 1/3 через 0.25s: {SLOW_DOWN}",
        f"⚠️ Ретрай 2/3 через 0.0625s: {OVERLOADED}",
        "Получилось 2",
        f"⚠️ Ретрай 1/3 через 0.25s: {OVERLOADED}",
        f"⚠️ Ретрай 2/3 через 0.0625s: {OVERLOADED}",
        f"⚠️ Ретрай 3/3 через 0.015625s: {OVERLOADED}",
        f"❌ Финальная ошибка после 3 ретраев: {OVERLOADED}",
        "run() raised 500 3",
    ]


def test_part_5_writes_the_session(ran: Ran) -> None:
    """JSONLLogger has a line for each prompt, answer, tool and error."""
    assert ran.parts[5] == "В Москве солнечно\nrun() raised 400\n"
    assert ran.jsonl("session.jsonl") == [
        {"event": "llm_start", "prompt": "Погода в Москве? 🌦"},
        {"event": "llm_end", "tokens": 24, "response": ""},
        {"event": "tool_start", "tool": "weather", "input": "{'city': 'Москва'}"},
        {"event": "llm_start", "prompt": "Погода в Москве? 🌦"},
        {"event": "llm_end", "tokens": 36, "response": "В Москве солнечно"},
        {"event": "llm_start", "prompt": "Привет!"},
        {"event": "error", "error": "Error code: 400 - bad prompt"},
    ]


def test_part_6_combines_callbacks(ran: Ran) -> None:
    """Three callbacks of the tutorial see the same run; our ConsoleCallback works beside them."""
    lines = [re.sub(r"\d+\.\d+ s", "… s", line) for line in ran.parts[6].splitlines()]
    assert lines == [
        "📤 Отправка промпта (7 символов)",
        "📥 Получено (45 токенов)",
        "Здравствуйте!",
        "45",
        "run (gpt-4o) ...",
        "📤 Отправка промпта (7 символов)",
        "  chat gpt-4o ...",
        "  chat gpt-4o: … s, 8 in + 37 out tokens, $0.000390",
        "📥 Получено (45 токенов)",
        "run (gpt-4o): … s, 1 call, 0 tools, 8 in + 37 out tokens, $0.000390",
        "Здравствуйте!",
    ]
    run = [
        {"event": "llm_start", "prompt": "Привет!"},
        {"event": "llm_end", "tokens": 45, "response": "Здравствуйте!"},
    ]
    assert ran.jsonl("full_log.jsonl") == [*run, *run]


def test_the_tutorial_runs_on_a_terminal_without_emoji(ran_cp1251: Ran) -> None:
    """Its prints of emoji fail inside their hooks: each run still gives its answer, and the rest still works."""
    assert ran_cp1251.ended.code == 0
    assert ran_cp1251.parts[0] == ""
    assert_sums_up_ten_runs(ran_cp1251.parts[1])
    assert ran_cp1251.parts[2] == "Тихо гудит код\n['Тихо ', 'гудит ', 'код']\n"
    assert ran_cp1251.parts[4:6] == ["Получилось 0\nrun() raised 500 0\n", "В Москве солнечно\nrun() raised 400\n"]
    assert ran_cp1251.parts[6].splitlines()[:3] == ["Здравствуйте!", "45", "run (gpt-4o) ..."]
    assert len(ran_cp1251.jsonl("session.jsonl")) == 7
    assert "SimpleLogger.on_llm_start raised UnicodeEncodeError; it is ignored" in ran_cp1251.ended.err


READY_MADE = """
from rlm_otel import RLM, BudgetExceeded
from rlm_otel.callbacks import *

def weather(city: str) -> str:
    return "☀️"

callbacks = [
    SimpleLogger(language="ru"), MetricsCollector(), StreamingCallback(), RichStreamCallback(),
    RetryHandler(backoff=0.1), JSONLLogger("log.jsonl"), ConsoleCallback(), BudgetCallback(max_calls=2),
]
rlm = RLM.from_openai("gpt-4o", callbacks=callbacks, tools=[weather])
try:
    rlm.run("Погода? 🌦")
except BudgetExceeded as error:
    print(error.result.inference_calls)
"""


def test_our_own_callbacks_work_on_a_terminal_without_emoji(tmp_path: Path) -> None:
    """None of them fails, what the terminal cannot show is replaced, and the file has it all the same."""
    ask = Answer("Смотрю 👀", tool_calls=[Tool("weather", {"city": "Москва 🏙"})])
    with ScriptedServer([Failure(429, retry_after=0, message="рано ⏳"), ask, ask]) as server:
        environ = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "any"}
        ended = run_program(Program(source=READY_MADE, environ=environ), tmp_path, encoding="cp1251")
    assert (ended.code, ended.err, ended.out.splitlines()[-1]) == (0, "", "2")
    assert "? Отправка промпта (9 символов)\n" in ended.out
    assert "Retry 1/3 in 0.1s: Error code: 429 - рано ?\n" in ended.out
    assert "Смотрю ?" in ended.out
    assert "Погода? 🌦" in (tmp_path / "log.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [["doctor"], ["--help"]], ids=" ".join)
def test_the_command_line_works_on_a_terminal_without_emoji(arguments: list[str], tmp_path: Path) -> None:
    """Every command ends as it does elsewhere, whatever the terminal can show."""
    source = f"from rlm_otel.cli import main; main({arguments!r})"
    with Receiver() as receiver:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "OTEL_SERVICE_NAME": "магазин 🛒"}
        ended = run_program(Program(source=source, environ=environ), tmp_path, encoding="cp1251")
    assert (ended.code, "Traceback" in ended.err, ended.out != "") == (0, False, True)
