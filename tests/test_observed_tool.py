"""`tool`: uses of tools by the application's own code; the arguments are content, the tool's exception is its own."""

import contextlib
import dataclasses
import datetime
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rlm_otel
from rlm_otel.callbacks import JSONLLogger, MetricsCollector
from rlm_otel.plain_json import json_of
from rlm_otel.testing import Answer, Tool
from tests.rig import Rig

ARGUMENTS, RESULT = "gen_ai.tool.call.arguments", "gen_ai.tool.call.result"


def test_a_block_is_one_use_of_a_tool(rigs: Callable[..., Rig]) -> None:
    """Arguments and result as JSON, where content is on; the rest always."""
    quiet, rig = rigs(), rigs(content="span")
    for one in (quiet, rig):
        with rlm_otel.tool("search", {"q": "кот"}, call_id="call_1", callbacks=[one.callback]) as tool:
            tool.result(["🐱", 2])
    assert quiet.span("execute_tool search").attributes == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "search",
        "gen_ai.tool.type": "function",
        "gen_ai.tool.call.id": "call_1",
        "rlm.depth": 0,
        "rlm.outcome": "completed",
    }
    attributes = rig.span("execute_tool search").attributes
    assert (attributes[ARGUMENTS], attributes[RESULT]) == ('{"q":"кот"}', '{"value":["🐱",2]}')
    assert [point.attributes for point in rig.points("gen_ai.execute_tool.duration")] == [
        {"gen_ai.tool.name": "search", "gen_ai.tool.type": "function"}
    ]


def test_a_decorated_function_is_a_tool(rigs: Callable[..., Rig]) -> None:
    """Name, description, arguments by name, and what it returns."""
    rig = rigs(content="span")

    @rlm_otel.tool
    def add(a: int, b: int = 2, *more: int, **named: int) -> int:
        """Adds
        numbers.

        And more.
        """
        return a + b

    with rlm_otel.run("outer", callbacks=[rig.callback]):
        assert add(1, 2, 3, c=4) == 3
    attributes = rig.span("execute_tool add").attributes
    assert json.loads(str(attributes[ARGUMENTS])) == {"a": 1, "b": 2, "more": [3], "c": 4}
    assert (attributes[RESULT], attributes["gen_ai.tool.description"]) == ('{"value":"3"}', "Adds numbers.")


async def test_decorated_tools_with_arguments_and_of_other_kinds(rig: Rig) -> None:
    """A name and a type of their own; async functions and generators."""

    @rlm_otel.tool("lookup", type="datastore")
    async def find(key: str) -> str:
        return key

    @rlm_otel.tool("pages")
    def pages() -> Iterator[str]:
        yield "one"

    with rlm_otel.run("outer", callbacks=[rig.callback]):
        assert (await find("a"), list(pages())) == ("a", ["one"])
    assert rig.outline(["gen_ai.tool.type"]) == (
        "invoke_agent outer\n"
        "  execute_tool lookup gen_ai.tool.type=datastore\n"
        "  execute_tool pages gen_ai.tool.type=function"
    )


def test_s106_what_a_tool_raises_is_its_own_and_goes_on(rig: Rig) -> None:
    """The same object; the span of the tool fails; caught, the run around does not."""
    error = LookupError("нет")

    @rlm_otel.tool
    def find() -> None:
        raise error

    with rlm_otel.run("outer", callbacks=[rig.callback]):
        with pytest.raises(LookupError) as raised:
            find()
    assert raised.value is error
    assert rig.outline() == "invoke_agent outer\n  execute_tool find !LookupError"
    assert [event.name for event in rig.span("execute_tool find").events] == ["exception"]


def test_hooks_see_a_tool_as_in_the_runner(rig: Rig) -> None:
    """The input as an object, the output as text, the error."""
    told: list[object] = []

    class Hooks:
        def on_tool_start(self, tool_name: str, tool_input: object) -> None:
            told.append((tool_name, tool_input))

        def on_tool_end(self, tool_name: str, tool_output: str, error: object) -> None:
            told.append((tool_name, tool_output, error))

    with rlm_otel.tool("look", {"page": 1}, callbacks=[Hooks(), rig.callback]) as tool:
        tool.result({"text": "ё"})
    assert told == [("look", {"page": 1}), ("look", '{"text": "ё"}', None)]


def test_s105_a_decorated_tool_inside_a_tool_of_the_runner(rig: Rig) -> None:
    """It nests below, and each is counted once: the inner one belongs to the same run."""

    @rlm_otel.tool
    def inner() -> str:
        return "found"

    def work() -> str:
        """Works."""
        return inner()

    rig.rlm(Answer(tool_calls=[Tool("work")]), "done", tools=[work], name="root").run("go")
    assert rig.outline() == (
        "invoke_agent root\n  chat gpt-4o\n  execute_tool work\n    execute_tool inner\n  chat gpt-4o"
    )


def test_a_tool_needs_a_name() -> None:
    """A `with` cannot guess it."""
    with pytest.raises(TypeError, match=r"tool\(\) has no name here; write with rlm_otel.tool\('search', ...\)"):
        with rlm_otel.tool(callbacks=[]):
            pass
    with pytest.raises(TypeError, match="give the tool's name as text, or decorate a function"):
        rlm_otel.tool(7)  # type: ignore[call-overload]  # on purpose


# Values as JSON -------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Point:
    x: int
    names: set[str]


class Lazy:
    """As a query of an ORM: its text asks the database."""

    def __repr__(self) -> str:
        raise AssertionError("nobody may ask for this")

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"nobody may ask for {name}")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("текст", "текст"),
        ({"а": [1, None, True, 2.5]}, '{"а": [1, null, true, 2.5]}'),
        (Point(1, {"a"}), '{"x": 1, "names": ["a"]}'),
        (datetime.date(2026, 1, 2), '"2026-01-02"'),
        (b"abc", '"<3 bytes>"'),
        ({"q": Lazy()}, f'{{"q": "<{__name__}.Lazy>"}}'),
        ({("a", 1): 2, "b": 3}, '{"b": 3}'),
        (ValueError("no"), '"no"'),
        (None, "null"),
    ],
    ids=lambda value: str(type(value).__name__),
)
def test_any_value_as_json(value: object, text: str) -> None:
    """Readable, and no code of an unknown object runs."""
    assert json_of(value) == text


def test_what_refers_to_itself_and_what_is_too_long() -> None:
    """Neither fails, nor takes long: what is cut ends in `...`."""
    loop: list[Any] = []
    loop.append(loop)
    assert json_of(loop) == "<builtins.list>"
    text = json_of(list(range(10_000_000)))
    assert (len(text), text[:9], text[-3:]) == (65_539, "[0, 1, 2,", "...")


class Failures(rlm_otel.BaseCallback):
    """Notes what it is told of failures."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, object]] = []

    def on_tool_end(self, tool_name: str, tool_output: str, error: object, run_id: str | None) -> None:
        self.told.append(("on_tool_end", str(error), run_id))

    def on_error(self, error: BaseException, operation_id: str) -> None:
        self.told.append(("on_error", str(error), operation_id))

    def on_run_end(self, result: object, error: object, operation_id: str) -> None:
        self.told.append(("on_run_end", str(error), operation_id))


def test_s49_on_error_is_called_once_for_a_failure_of_a_tool_that_leaves_the_run(rig: Rig, tmp_path: Path) -> None:
    """By the run: of a tool's own failure `on_tool_end` tells, as in a run of `RLM`. It is on the tool's span alone."""
    failures, counts, lines = Failures(), MetricsCollector(), JSONLLogger(tmp_path / "log.jsonl")
    with pytest.raises(LookupError):
        with rlm_otel.run("outer", callbacks=[failures, counts, lines, rig.callback]) as run, rlm_otel.tool("find"):
            raise LookupError("no")
    lines.close()
    assert failures.told == [(hook, "no", run.id) for hook in ("on_tool_end", "on_error", "on_run_end")]
    assert counts.errors == 1
    events = [json.loads(line)["event"] for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert events == ["run_start", "tool_start", "tool_end", "error", "run_end"]
    assert [len(span.events) for span in rig.spans] == [0, 1]


def test_s52_a_failure_of_a_tool_that_is_handled_is_no_error(rig: Rig) -> None:
    """The tool's span and its `on_tool_end` have it; the run is completed, and nobody is told of an error."""
    failures, counts = Failures(), MetricsCollector()
    with rlm_otel.run("outer", callbacks=[failures, counts, rig.callback]) as run:
        with contextlib.suppress(LookupError), rlm_otel.tool("find"):
            raise LookupError("no")
    assert failures.told == [("on_tool_end", "no", run.id), ("on_run_end", "None", run.id)]
    assert counts.errors == 0
    assert rig.outline() == "invoke_agent outer\n  execute_tool find !LookupError"


def test_s49_a_failure_of_a_call_in_a_tool_is_told_once(rig: Rig) -> None:
    """By the call, where it arose; neither the tool nor the run that it leaves tells it again."""
    failures = Failures()
    call = rlm_otel.llm_call(provider="ollama", model="qwen3")
    with pytest.raises(LookupError):
        with rlm_otel.run("outer", callbacks=[failures, rig.callback]), rlm_otel.tool("find"), call:
            raise LookupError("no")
    assert [told for told in failures.told if told[0] == "on_error"] == [("on_error", "no", call.id)]
