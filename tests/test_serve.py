"""`rlm-otel serve` in a process of its own: whatever the tutorial and the guides say runs against it, without a key."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import openai
import pytest

from rlm_otel import RLM
from rlm_otel.receiver import Receiver
from rlm_otel.serve import for_the_small_model
from rlm_otel.serve.answers import example
from rlm_otel.serve.front import read_faults
from tests.program import Ended, Program, run_program, run_programs
from tests.test_docs import BLOCKS, STDERR, Block
from tests.test_tutorial import MARK, blocks

pytestmark = pytest.mark.programs

COMMAND = [sys.executable, "-c", "from rlm_otel.cli import main; main()", "serve"]


@contextmanager
def serving(*arguments: str) -> Iterator[Mapping[str, str]]:
    """What its two lines export, while it runs; it ends well when it is told to."""
    with running(*arguments) as process:
        yield read_exports(process)


@contextmanager
def running(*arguments: str, end: signal.Signals = signal.SIGTERM) -> Iterator["subprocess.Popen[str]"]:
    command = [*COMMAND, "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.send_signal(end)
            _, err = process.communicate(timeout=20)
    assert (process.returncode, "Traceback" in err) == (0, False), err


def read_exports(process: "subprocess.Popen[str]") -> dict[str, str]:
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(2)]
    exports = dict(line.removeprefix("export ").split("=", 1) for line in lines)
    assert list(exports) == ["OPENAI_BASE_URL", "OPENAI_API_KEY"]
    return exports


def client(exports: Mapping[str, str]) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=exports["OPENAI_BASE_URL"], api_key=exports["OPENAI_API_KEY"], max_retries=0, timeout=30
    )


# The tutorial ------------------------------------------------------------------------------------------------------

# What a reader types behind those blocks that only define something.
TRIED: Sequence[str] = (
    "",
    "",
    "",
    'answer = RLM.from_openai("gpt-4o", callbacks=[RichStreamCallback()]).run("Напиши список")',
    'print(rlm.run("Привет!"))',
    'rlm.run("Привет!"); logger.close(); print(open("session.jsonl").read())',
    'rlm.run("Привет!"); print(callbacks[1].summary())',
)
RETRIES = 4


def type_tutorial(exports: Mapping[str, str], directory: Path) -> list[str]:
    """What each of its blocks prints, typed one after the other with only the import changed."""
    pieces = [f"{block}\n{tried}" for block, tried in zip(blocks(), TRIED, strict=True)]
    ended = run_program(Program(source=f"\nprint({MARK!r})\n".join(pieces), environ=exports), directory)
    assert (ended.code, ended.err) == (0, "")
    return ended.out.split(f"{MARK}\n")


def type_retries(exports: Mapping[str, str], directory: Path) -> str:
    """What the block about retries prints against a server that is asked to fail."""
    source = f"from rlm_otel import RLM\n{blocks()[RETRIES]}\n{TRIED[RETRIES]}".replace("backoff=2.0", "backoff=0.2")
    ended = run_program(Program(source=source, environ=exports), directory)
    assert (ended.code, ended.err) == (0, "")
    return ended.out


def check_parts(parts: Sequence[str]) -> None:
    """All six parts do what the tutorial says, whoever answers."""
    assert len(parts) == 7
    assert re.fullmatch(r"📤 Отправка промпта \(7 символов\)\n📥 Получено \(\d+ токенов\)\n", parts[0])
    assert re.match(r"\{'total_calls': 10, 'total_tokens': \d+, 'errors': 0, .*\n$", parts[1])
    assert len(parts[2]) > 1
    assert len(parts[3]) > 1
    assert len(parts[4]) > 1
    assert [line.split('"')[7] for line in parts[5].splitlines() if line] == ["llm_start", "llm_end"]
    assert "'total_calls': 1," in parts[6]


def check_retries(printed: str) -> None:
    assert printed.startswith(
        "⚠️ Ретрай 1/3 через 0.2s: Error code: 429 - rlm-otel serve was asked to fail with 429\n"
        "⚠️ Ретрай 2/3 через 0.04000000000000001s: Error code: 500 - rlm-otel serve was asked to fail with 500\n"
    )
    assert len(printed.splitlines()) >= 3


def test_the_tutorial_can_be_typed_as_it_stands(tmp_path: Path) -> None:
    """All six parts, against answers that are made up."""
    with serving() as exports:
        parts = type_tutorial(exports, tmp_path)
    check_parts(parts)
    assert "Вы написали: Напиши хайку о программировании" in parts[2]
    assert "• Вы написали: Напиши список" in parts[3]  # drawn by Rich


def test_the_part_about_retries_has_something_to_retry(tmp_path: Path) -> None:
    """`--fail 429,500`: the next two requests fail, the third is answered."""
    with serving("--fail", "429,500") as exports:
        check_retries(type_retries(exports, tmp_path))


@pytest.mark.local_llm
def test_the_tutorial_can_be_typed_against_the_small_model(tmp_path: Path) -> None:
    """All six parts, with a real model; the one about retries fails first."""
    with serving("--llm", "local", "--fail", "429,500") as exports:
        check_retries(type_retries(exports, tmp_path))
        check_parts(type_tutorial(exports, tmp_path))


@pytest.mark.local_llm
def test_the_small_model_calls_tools_and_ends(tmp_path: Path) -> None:
    """Without a wish of the request's own: a tool is called, and no answer is endless."""
    called: list[object] = []

    def weather(city: str) -> str:
        """Weather in a city."""
        called.append(city)
        return "солнечно"

    with serving("--llm", "local") as exports:
        with RLM.from_openai("any", base_url=exports["OPENAI_BASE_URL"], api_key="any", tools=[weather]) as rlm:
            result = rlm.run("What is the weather in Paris?")
    assert len(called) == 1
    assert result.usage is not None
    assert (result.usage.output_tokens or 0) <= 256


# The README --------------------------------------------------------------------------------------------------------


ASKING = [block for block in BLOCKS if block.page.name == "README.md" and "ScriptedServer" not in block.source]
"""Blocks that may ask a model where the environment says; the others bring one. All pages' run in `test_docs.py`."""


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> dict[Block, Ended]:
    """How each block ended."""
    with serving() as exports, Receiver() as receiver:
        environ = {**exports, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
        programs = [Program(source=block.source, environ=environ) for block in ASKING]
        return dict(zip(ASKING, run_programs(programs, tmp_path_factory.mktemp("typed")), strict=True))


@pytest.mark.parametrize("block", ASKING, ids=str)
def test_each_block_of_the_readme_can_be_typed(block: Block, typed: dict[Block, Ended]) -> None:
    """It ends well and warns of nothing; what it prints is of course another answer than the page's."""
    assert (typed[block].code, typed[block].err.partition("\n")[0]) == (0, STDERR.get(block.heading, ""))


# The command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM], ids=lambda end: end.name)
def test_it_ends_cleanly(end: signal.Signals) -> None:
    """Ctrl-C and SIGTERM: exit code 0, no traceback, and nobody listens any more."""
    with running(end=end) as process:
        exports = read_exports(process)
    with pytest.raises(openai.APIConnectionError):
        client(exports).chat.completions.create(model="m", messages=[{"role": "user", "content": "Да?"}])


def test_a_port_that_is_taken_is_one_line() -> None:
    """It names the port and what to do."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = subprocess.run([*COMMAND, "--port", port], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"rlm-otel serve: port {port} cannot be used (Address already in use): give another one with --port\n"
    )


def test_every_surface_answers(tmp_path: Path) -> None:
    """Chat with a tool and its result, JSON by a schema, responses, text completions, embeddings, a stream."""
    with serving() as exports, client(exports) as sdk:
        function = {"name": "add", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}
        function["parameters"]["required"] = ["a"]  # type: ignore[index]
        asked: list[Any] = [{"role": "user", "content": "Сколько?"}]
        tools: list[Any] = [{"type": "function", "function": function}]
        called = sdk.chat.completions.create(model="m", messages=asked, tools=tools).choices[0]
        call: Any = (called.message.tool_calls or [])[0]
        assert (called.finish_reason, call.function.arguments) == ("tool_calls", '{"a": 1}')
        asked += [called.message, {"role": "tool", "tool_call_id": call.id, "content": "5"}]
        told = sdk.chat.completions.create(model="m", messages=asked, tools=tools).choices[0]
        assert told.message.content == "Инструмент ответил, это всё."
        wanted: Any = {"type": "json_object"}
        as_json = sdk.chat.completions.create(model="m", messages=asked[:1], response_format=wanted)
        assert as_json.choices[0].message.content == '{"said": "Сколько?"}'
        assert "You wrote: Hi" in sdk.responses.create(model="m", input="Hi").output_text
        assert "You wrote: Hi" in sdk.completions.create(model="m", prompt="Hi").choices[0].text
        assert len(sdk.embeddings.create(model="m", input="Hi").data) == 1
        stream = sdk.chat.completions.create(model="m", messages=asked[:1], stream=True)
        assert len([chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content]) > 10


def test_a_request_that_hangs_gets_no_answer() -> None:
    """`--fail hang`: for whoever wants to see a timeout, or `rlm-otel ps`."""
    with serving("--fail", "hang") as exports, client(exports) as sdk:
        with pytest.raises(openai.APITimeoutError):
            sdk.with_options(timeout=0.3).completions.create(model="m", prompt="Hi")
        assert sdk.completions.create(model="m", prompt="Hi").choices[0].text != ""


def test_requests_are_told_without_control_characters(tmp_path: Path) -> None:
    """A line each on stderr; what a client calls its model cannot restyle the terminal."""
    with running("--fail", "418") as process:
        exports = read_exports(process)
        for _ in range(2):
            with suppress(openai.APIStatusError):
                client(exports).completions.create(model="a\x1b[31m", prompt="Hi")
        assert process.stderr is not None
        lines = [process.stderr.readline().strip() for _ in range(4)]
    assert lines[2:] == [r"POST /v1/completions a\x1b[31m -> 418", r"POST /v1/completions a\x1b[31m"]


@pytest.mark.parametrize(
    ("text", "faults"), [("429", [429]), ("429, 500,hang", [429, 500, "hang"]), ("404,404", [404, 404])]
)
def test_faults_are_read(text: str, faults: list[object]) -> None:
    """Statuses and `hang`, with commas."""
    assert read_faults(text) == faults


@pytest.mark.parametrize("text", ["200", "x", "429,", "600", "४२९"])
def test_a_bad_fault_says_what_would_do(text: str) -> None:
    """It is a mistake in the command line."""
    done = subprocess.run([*COMMAND, "--fail", text], capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 2
    assert "no HTTP error; give statuses from 400 to 599 or hang, e.g. 429,429,hang" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("request_", "more"),
    [
        ({}, {"max_tokens": 128}),
        ({"max_tokens": 3}, {}),
        ({"max_tokens": 3, "temperature": 1}, {}),
        ({"max_completion_tokens": 3}, {}),
        ({"tools": [1], "messages": [{"role": "user"}]}, {"max_tokens": 128, "tool_choice": "required"}),
        ({"tools": [1], "messages": [{"role": "tool"}]}, {"max_tokens": 128}),
        ({"tools": [1], "tool_choice": "none"}, {"max_tokens": 128}),
    ],
)
def test_the_small_model_is_asked_what_it_can(request_: dict[str, Any], more: dict[str, Any]) -> None:
    """What the request says itself stays."""
    assert for_the_small_model(request_) == {"temperature": 0, **request_, **more}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, "Да?"),
        ({"enum": ["a", "b"]}, "a"),
        ({"const": 7}, 7),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
        ({"type": "array", "items": {"type": "number"}}, [1.5]),
        ({"type": "object", "properties": {"a": {"type": "boolean"}, "b": {}}, "required": ["a"]}, {"a": True}),
        ({"$ref": "#/$defs/P", "$defs": {"P": {"type": "string"}}}, "Да?"),
        ({"$ref": "#/$defs/P", "$defs": {"P": {"$ref": "#/$defs/P"}}}, None),
        ({}, None),
    ],
)
def test_values_fit_their_schema(schema: dict[str, Any], value: object) -> None:
    """Texts are the user's own; a schema that goes on for ever ends."""
    assert example(schema, "Да?") == value
