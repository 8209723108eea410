"""Odd answers, counts and tools: the run goes on where it can, and telemetry loses nothing, neighbours included."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from rlm_otel import NoAnswer, annotate
from rlm_otel.testing import Answer, Raw, Tokens, Tool, rate_limits
from tests.neighbours import SURROGATE, Make, sent
from tests.rig import Rig
from tests.ways import ANY_WAY, EITHER, PLAIN, ask

NOTES: Final[dict[str, Any]] = {"app.huge": 10**30, "app.half": SURROGATE, "app.nan": float("nan"), "app.fine": 1}


def odd_tool(number: int = 0, word: str = "") -> dict[str, object]:
    """Gives back all that JSON has, and what it has not."""
    annotate(**NOTES)
    return {"n": number, "w": SURROGATE, "": [[None, 1e300], {}, []], "x": float("nan"), "\x00": "\x00"}


@ANY_WAY
async def test_half_a_character_goes_on_as_a_question_mark(way: str) -> None:
    """In an answer or a tool's result it could not be sent back: the next turn has `?`, the user what came."""

    async def odd(make: Make) -> None:
        async with make(tools=[odd_tool]) as rlm:
            assert (await ask(rlm, way)).text == f"вот{SURROGATE}"

    calls = Answer(f"да{SURROGATE}", tool_calls=[Tool("odd_tool", {"word": "\ufffe"})])
    wire = await sent(odd, calls, Answer(f"вот{SURROGATE}"))
    _, said, result = wire.requests[2].body["messages"]
    assert (said["content"], json.loads(result["content"])["w"]) == ("да?", "?")
    assert [json.loads(str(chat.attributes["gen_ai.output.messages"]))[0]["parts"][0] for chat in wire.odd] == [
        {"type": "text", "content": "да?"},
        {"type": "text", "content": "вот?"},
    ]


@PLAIN
async def test_numbers_that_otlp_has_no_room_for_are_text(way: str) -> None:
    """In a tool's arguments, on log events; as a user's own attribute they are left out."""

    async def odd(make: Make) -> None:
        async with make(tools=[odd_tool]) as rlm:
            assert (await ask(rlm, way)).text == "ok"

    wire = await sent(odd, Answer(tool_calls=[Tool("odd_tool", {"number": 10**30})]), Answer("ok"))
    call: Any = wire.details[1]["gen_ai.output.messages"]
    assert call[0]["parts"][0]["arguments"] == {"number": str(10**30)}
    assert json.loads(str(wire.odd[0].attributes["gen_ai.output.messages"]))[0]["parts"][0]["arguments"] == {
        "number": 10**30
    }
    tool = wire.span("execute_tool odd_tool").attributes
    assert (tool["app.fine"], tool["app.half"], "app.huge" in tool) == (1, "?", False)
    assert json.loads(str(tool["gen_ai.tool.call.result"]))["value"].startswith('{"n": 1000')  # NaN is no JSON


@EITHER
@pytest.mark.parametrize("count", [10**13, 10**400, -1], ids=["13 digits", "400 digits", "negative"])
async def test_counts_that_cannot_be_are_not_counted(way: str, count: int) -> None:
    """Nonsense of a server is left out: it would spoil the sums of all calls, or the export."""

    async def odd(make: Make) -> None:
        async with make() as rlm:
            assert (await ask(rlm, way)).text == "ok"

    headers = rate_limits(remaining_tokens=count) if count < 10**30 else {"x-ratelimit-remaining-tokens": "9" * 5000}
    wire = await sent(odd, Answer("ok", usage=Tokens(input=count, output=count, cached=count), headers=headers))
    counted = [name for name in wire.odd[0].attributes if "usage" in name or "ratelimit" in name or "cost" in name]
    assert counted == []
    tokens = {point.attributes["gen_ai.token.modality"]: point.value for point in wire.points if point.metric in INPUT}
    assert tokens == {"unknown": 2}


INPUT: Final = {"gen_ai.client.inference.usage.input_tokens"}


WRONG_CALLS: Final = {"content": "ok", "tool_calls": [{"function": None}, None]}
PARTS: Final = {"content": [{"type": "text", "text": "ok"}]}


@PLAIN
@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, None),
        ({"choices": []}, None),
        ({"choices": "none", "usage": {"prompt_tokens": "5", "completion_tokens": 1.5}}, None),
        ({"choices": [{"message": {"role": 5, "content": 5}, "finish_reason": 7, "index": "a"}], "id": 5}, ""),
        ({"choices": [{"message": WRONG_CALLS, "finish_reason": "stop"}]}, "ok"),
        ({"choices": [{"message": PARTS, "finish_reason": "stop"}], "model": 1, "usage": [1]}, "ok"),
        ({"choices": [{"message": None, "finish_reason": None}, None, 5], "usage": "много"}, ""),
    ],
)
async def test_a_reply_of_another_shape_gives_what_text_there_is(
    rigs: Callable[..., Rig], way: str, body: dict[str, object], text: str | None
) -> None:
    """Or the run fails because there is no choice in it; never by an accident of ours."""
    rig = rigs(content="both")
    rlm = rig.rlm(Raw({"object": "chat.completion", "created": 1, **body}), max_retries=0)
    if text is None:
        with pytest.raises(NoAnswer):
            await ask(rlm, way)
    else:
        assert (await ask(rlm, way)).text == text
    assert rig.span("chat gpt-4o").attributes["rlm.outcome"] == ("failed" if text is None else "completed")


class Unsayable(Exception):
    """An error that cannot even be printed."""

    def __str__(self) -> str:
        raise ValueError("no words")


@ANY_WAY
async def test_a_tools_error_without_words_is_told_by_its_class(rig: Rig, way: str) -> None:
    """A mistake in an exception's own `__str__` does not end the run."""

    def odd() -> None:
        """Fails oddly."""
        raise Unsayable

    server = rig.serve(Answer(tool_calls=[Tool("odd")]), "ok")
    assert (await ask(rig.rlm(server=server, tools=[odd]), way)).text == "ok"
    assert server.requests[1].body["messages"][-1]["content"] == "Error: Unsayable: "
    assert rig.span("execute_tool odd").attributes["error.type"] == f"{__name__}.Unsayable"
