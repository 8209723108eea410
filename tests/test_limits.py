"""What limits and stops do to runs whose tools run beside one another, and to the runs above."""

import sys
import threading
from collections.abc import Callable
from types import ModuleType

import pytest

from rlm_otel import RLM, LimitReached, StopRun
from rlm_otel.callbacks import BaseCallback
from rlm_otel.sub_runs import query_tool
from rlm_otel.testing import Answer, RecordedRequest, Repeat, Tool
from rlm_otel.tools import make_tools
from tests.rig import Rig


def test_stop_run_waits_for_the_tools_that_run(rig: Rig) -> None:
    """A tool that stops the run does not leave its neighbour behind: what that spends is in the run's sums."""
    both_run = threading.Barrier(2)

    def stopping() -> str:
        both_run.wait(5)
        raise StopRun

    def asking(llm_query: Callable[[str], str]) -> str:
        both_run.wait(5)
        return llm_query("sub")

    def respond(request: RecordedRequest) -> Answer:
        if request.prompt == "sub":
            return Answer("answer")
        return Answer(tool_calls=(Tool("stopping", {}), Tool("asking", {})))

    rlm = rig.rlm(server=rig.serve(respond=respond), tools=[stopping, asking], max_depth=1, name="root")
    with pytest.raises(StopRun) as caught:
        rlm.run("go")
    spans = [span for span in rig.spans if span.name == "chat gpt-4o"]
    leaves = sum(span.attributes["gen_ai.usage.input_tokens"] for span in spans)
    result = caught.value.result
    assert result is not None
    assert result.usage is not None
    assert (len(spans), result.usage.input_tokens) == (2, leaves)


def test_a_sub_run_without_an_end_is_told_to_the_model(rig: Rig) -> None:
    """At `max_turns` a sub-run ends with an error for the model above, which goes on; a root run raises."""

    def respond(request: RecordedRequest) -> Answer:
        messages = request.body["messages"]
        if messages[0]["content"] == "sub":
            return Answer(tool_calls=(Tool("look", {}),))
        if messages[-1]["role"] == "tool":
            return Answer(messages[-1]["content"])
        return Answer(tool_calls=(Tool("llm_query", {"prompt": "sub"}),))

    def look() -> str:
        return "nothing"

    rlm = rig.rlm(server=rig.serve(respond=respond), tools=[look], max_depth=1, max_turns=2, name="root")
    assert rlm.run("go").text.startswith("Error: SubRunLimit: max_turns=2 model calls were made")
    with pytest.raises(LimitReached):
        rlm.run("sub")


def test_a_tool_that_asks_needs_leave_to(rig: Rig) -> None:
    """`llm_query` as a parameter without sub-runs is an error at once, with what to write."""

    def asking(llm_query: Callable[[str], str]) -> str:
        return llm_query("sub")

    with pytest.raises(ValueError, match="tool asking takes llm_query, and sub-calls are not allowed; pass sub_model="):
        rig.rlm(tools=[asking])


def test_a_strict_hook_does_not_replace_an_interrupt(rig: Rig) -> None:
    """Ctrl-C leaves a run as Ctrl-C, whatever a strict end hook raises."""

    class Strict(BaseCallback):
        raise_error = True

        def on_run_end(self) -> None:
            raise ValueError

    def interrupted() -> str:
        raise KeyboardInterrupt

    rlm = rig.rlm(
        Repeat(Answer(tool_calls=(Tool("interrupted", {}),))), tools=[interrupted], callbacks=[rig.callback, Strict()]
    )
    with pytest.raises(KeyboardInterrupt):
        rlm.run("go")


def test_a_parameter_that_json_cannot_hold_is_told_at_once() -> None:
    """Not at the first call: by then the service is up."""

    def asking(how: Callable[[], str]) -> str:
        return how()

    with pytest.raises(TypeError, match=r"tool asking: a model cannot be told of its parameters; annotate them with"):
        RLM.from_openai("gpt-4o", api_key="none", tools=[asking])


def test_a_tool_is_described_once() -> None:
    """Each turn of each run sends it, and its schema costs more than all the rest of a call."""

    def look(where: str) -> str:
        """Look somewhere."""
        return where

    (tool,) = make_tools([look]).values()
    assert tool.schema() == {
        "type": "function",
        "function": {
            "name": "look",
            "description": "Look somewhere.",
            "parameters": {
                "additionalProperties": False,
                "properties": {"where": {"title": "Where", "type": "string"}},
                "required": ["where"],
                "title": "look",
                "type": "object",
            },
        },
    }
    tool.schema()["function"]["description"] += " Be brief."  # type: ignore[index]  # as whoever stands in between may
    assert tool.schema()["function"]["description"] == "Look somewhere."  # type: ignore[index]
    assert query_tool(is_async=False) is query_tool(is_async=False)


def test_a_tool_may_name_a_type_that_comes_further_down() -> None:
    """As in a module with annotations in quotes: it is described once the type is there."""
    module = ModuleType("later")
    source = """
from __future__ import annotations
from pydantic import BaseModel
class Node(BaseModel):
    next: Later | None = None
def walk(node: Node) -> str:
    "Walk."
    return str(node)
"""
    sys.modules["later"] = module
    try:
        exec(source, module.__dict__)
        (tool,) = make_tools([module.walk]).values()
        exec("class Later(BaseModel):\n    x: int\n", module.__dict__)
        assert "Later" in str(tool.schema())
    finally:
        del sys.modules["later"]
