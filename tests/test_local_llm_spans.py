"""A real model's own counters and endings, held against what the spans of the same calls say."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing
from functools import partial

import pytest

from rlm_otel import RLM
from rlm_otel import semconv as sc
from rlm_otel.demo.real import RealWorkload
from rlm_otel.demo.workload import Make
from rlm_otel.local_llm import LocalModel
from rlm_otel.testing import CapturedSpan
from tests.rig import Rig

pytestmark = pytest.mark.local_llm

IN, CACHED, OUT = (f"llamacpp:{name}_total" for name in ("prompt_tokens", "prompt_tokens_cached", "tokens_predicted"))
SHORT = {"temperature": 0, "max_tokens": 24}


@pytest.fixture
def running() -> Iterator[LocalModel]:
    """A model for each test: calls that one leaves or cancels go on to count for a while."""
    with LocalModel(api_key="sk-local") as model:
        yield model


@pytest.fixture
def make(running: LocalModel, rig: Rig) -> Make:
    return partial(RLM.from_openai, base_url=running.base_url, api_key="sk-local", callbacks=[rig.callback])


@pytest.fixture
def workload(running: LocalModel) -> RealWorkload:
    return RealWorkload(running.model, request=SHORT, tool_choice="required")


def counted(model: LocalModel) -> dict[str, int]:
    """What the server has counted so far, under our names."""
    counters = model.counters()
    return {
        sc.USAGE_INPUT: int(counters[IN] + counters[CACHED]),
        sc.USAGE_CACHE_READ: int(counters[CACHED]),
        sc.USAGE_OUTPUT: int(counters[OUT]),
    }


def chats(rig: Rig) -> list[CapturedSpan]:
    return [span for span in rig.spans if span.attributes[sc.OPERATION_NAME] == "chat"]


def reported(spans: list[CapturedSpan]) -> dict[str, int]:
    """The same from spans. What a span lacks counts as nothing, so that a missing usage shows as a wrong sum."""
    names = (sc.USAGE_INPUT, sc.USAGE_CACHE_READ, sc.USAGE_OUTPUT)
    return {name: sum(span.attributes.get(name, 0) for span in spans) for name in names}


def test_usage_on_the_spans_of_completed_calls_equals_the_servers_counters(
    running: LocalModel, rig: Rig, make: Make, workload: RealWorkload
) -> None:
    """Streamed, plain, with cached tokens and with a tool: not one token more or less than the server counted."""
    for step in workload.completing.values():
        step(make)
    used = counted(running)
    assert rig.outline([sc.REQUEST_STREAM]) == (
        "invoke_agent chat\n"
        "  chat smollm2-135m gen_ai.request.stream=true\n"
        "invoke_agent careful\n"
        "  chat smollm2-135m\n"
        "invoke_agent careful\n"
        "  chat smollm2-135m\n"
        "invoke_agent weather\n"
        "  chat smollm2-135m\n"
        "  execute_tool get_weather\n"
        "  chat smollm2-135m"
    )
    assert reported(chats(rig)) == used
    assert used[sc.USAGE_CACHE_READ] > 300  # the second prompt with the long beginning
    runs = [span for span in rig.spans if span.attributes[sc.OPERATION_NAME] == "invoke_agent"]
    assert reported(runs) == {**used, sc.USAGE_CACHE_READ: 0}  # the conventions have no cached tokens for runs


async def test_usage_of_calls_at_once_in_an_event_loop_equals_the_servers_counters(
    running: LocalModel, rig: Rig, make: Make
) -> None:
    """Plain and streamed calls side by side in the server's two slots: each token is on the span of its own call."""
    async with aclosing(make(running.model, name="both")) as both:

        async def read() -> None:
            async with both.astream("Назови фрукт 🍎", **SHORT) as answer:
                async for _text in answer:
                    pass

        await asyncio.gather(both.arun("Name a colour.", **SHORT), read())
    assert reported(chats(rig)) == counted(running)
    assert [span.attributes[sc.USAGE_OUTPUT] > 0 for span in chats(rig)] == [True, True]


def test_calls_that_do_not_complete_say_how_they_ended(rig: Rig, make: Make, workload: RealWorkload) -> None:
    """Left by its reader: closed. Cancelled: cancelled. Refused: failed, with the SDK's class and the status."""
    for step in workload.interrupted.values():
        step(make)
    assert [
        (*map(span.attributes.get, (sc.RLM_OUTCOME, sc.ERROR_TYPE, sc.RLM_HTTP_STATUS_CODE)), span.status)
        for span in chats(rig)
    ] == [
        ("closed", None, None, "unset"),
        ("cancelled", "asyncio.exceptions.CancelledError", None, "error"),
        ("failed", "openai.AuthenticationError", 401, "error"),
        ("failed", "openai.BadRequestError", 400, "error"),
    ]
