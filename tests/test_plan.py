"""Planned dispatch: hooks with any signature are called once, with what they name."""

import logging
from functools import partial
from typing import Any
from unittest.mock import Mock

import pytest

from rlm_otel.callbacks import BaseCallback
from rlm_otel.callbacks.plan import HOOKS, plan
from rlm_otel.fence import failures, forget_failures
from tests.callback_rig import Refused, Rig

Payload = dict[str, Any]

LLM_START: Payload = {"prompt": "Привет!", "messages": (), "operation_id": "op-1", "model": "gpt-4o", "depth": 0}
TOOL_END: Payload = {"tool_name": "search", "tool_output": "мяу", "error": None, "depth": 0}
RETRY: Payload = {"attempt": 1, "max_attempts": 3, "error": "E", "delay_s": 0.5}


def call(hook: str, function: Any, payload: Payload) -> Any:
    """What a hook returns that is the only one of its object."""
    callback = type("Duck", (), {})()
    setattr(callback, hook, function)
    return plan(callback).hooks[hook].call(payload)


@pytest.mark.parametrize(
    ("hook", "function", "payload", "returned"),
    [
        pytest.param("on_llm_start", lambda: "nothing", LLM_START, "nothing", id="no parameters"),
        pytest.param("on_llm_start", lambda prompt: prompt, LLM_START, "Привет!", id="by name"),
        pytest.param("on_llm_start", lambda depth, prompt: (depth, prompt), LLM_START, (0, "Привет!"), id="any order"),
        pytest.param("on_llm_start", lambda text: text, LLM_START, "Привет!", id="alias"),
        pytest.param("on_llm_start", lambda p: p, LLM_START, "Привет!", id="canonical order"),
        pytest.param("on_llm_start", lambda p, x, y=3: (p, x, y), LLM_START, ("Привет!", None, 3), id="too many"),
        pytest.param("on_llm_start", lambda *, model: model, LLM_START, "gpt-4o", id="keyword only"),
        pytest.param("on_llm_start", lambda *args: args, LLM_START, ("Привет!",), id="star args"),
        pytest.param("on_llm_start", lambda prompt, x=1, depth=9: (x, depth), LLM_START, (1, 0), id="behind a default"),
        pytest.param("on_tool_end", lambda output: output, TOOL_END, "мяу", id="output, not the tool's name"),
        pytest.param("on_tool_end", lambda result: result, TOOL_END, "мяу", id="result"),
        pytest.param("on_tool_end", lambda a, output: (a, output), TOOL_END, ("search", "мяу"), id="mixed"),
        pytest.param("on_retry", lambda n, total, exc: (n, total, exc), RETRY, (1, 3, "E"), id="three in order"),
        pytest.param("on_retry", lambda exception, n: (exception, n), RETRY, ("E", 1), id="alias first"),
    ],
)
def test_parameters_are_bound(hook: str, function: Any, payload: Payload, returned: Any) -> None:
    """By name, then by alias, then in canonical order; extras are dropped."""
    assert call(hook, function, payload) == returned


def test_rest_goes_to_the_keywords() -> None:
    """Without what is bound already."""

    def hook(prompt: str, *, model: str, **kwargs: object) -> Any:
        return kwargs

    assert call("on_llm_start", hook, LLM_START) == {"messages": (), "operation_id": "op-1", "depth": 0}


def test_only_keywords_take_everything() -> None:
    """As the tutorial's `on_llm_start(self, **kwargs)`."""
    assert call("on_llm_start", lambda **kwargs: kwargs, LLM_START) == LLM_START


def test_positional_only_parameters() -> None:
    """They are passed by position."""

    def hook(prompt: str, /, depth: int) -> Any:
        return prompt, depth

    assert call("on_llm_start", hook, LLM_START) == ("Привет!", 0)


def test_staticmethods_classmethods_partials_and_built_in_functions() -> None:
    """Everything that can be called."""
    tokens: list[str] = []

    class Mine(BaseCallback):
        on_token = staticmethod(tokens.append)

        @classmethod
        def on_llm_start(cls, prompt: str, **kwargs: object) -> object:
            return cls.__name__, prompt

        @staticmethod
        def on_tool_end(output: str) -> object:
            return output

        on_retry = staticmethod(partial(lambda mark, attempt: (mark, attempt), "!"))  # bare it binds from Python 3.14

    hooks = plan(Mine()).hooks
    hooks["on_token"].call({"token": "a", "operation_id": "op-1"})
    assert tokens == ["a"]
    assert hooks["on_llm_start"].call(LLM_START) == ("Mine", "Привет!")
    assert hooks["on_tool_end"].call(TOOL_END) == "мяу"
    assert hooks["on_retry"].call(RETRY) == ("!", 1)


def test_mock_is_a_callback_with_every_hook() -> None:
    """It is called with the positional parameters, and is no listener."""
    mock = Mock()
    rig = Rig(mock)
    rig.call(None)
    assert rig.emitter.listeners == []
    assert set(plan(mock).hooks) == set(HOOKS)
    assert mock.on_llm_start.call_args.args == ("Привет!",)


def test_other_names_of_hooks_are_understood() -> None:
    """`on_llm_new_token` and `on_llm_error`, where only these are defined."""

    class Mine:
        def on_llm_new_token(self, token: str, **kwargs: object) -> object:
            return token

        def on_llm_error(self, error: object) -> object:
            return error

    hooks = plan(Mine()).hooks
    assert hooks["on_token"].call({"token": "a"}) == "a"
    assert hooks["on_error"].call({"error": "E"}) == "E"


def test_inherited_hooks_cost_nothing() -> None:
    """A run does not stream for someone who only inherits `on_token`."""

    class Mine(BaseCallback):
        def on_error(self, error: BaseException, **kwargs: object) -> None:
            pass

    assert set(plan(Mine()).hooks) == {"on_error"}
    assert not Rig(Mine()).emitter.wants_tokens


@pytest.mark.parametrize(
    ("callback", "message"),
    [
        (BaseCallback, "callbacks must be objects, got the class BaseCallback; write BaseCallback() instead"),
        (
            "x",
            "'x' is no callback: it has neither on_event nor any of on_run_start, on_run_end, on_llm_start, on_token, "
            "on_llm_end, on_tool_start, on_tool_end, on_retry, on_error; "
            "subclass rlm_otel.callbacks.BaseCallback and override one of them",
        ),
    ],
)
def test_what_is_no_callback_is_an_error(callback: object, message: str) -> None:
    """It says what would be one."""
    with pytest.raises(TypeError) as caught:
        plan(callback)
    assert str(caught.value) == message


def test_type_error_inside_a_hook_is_its_own() -> None:
    """The hook is called once, never a second time with other arguments."""
    forget_failures()
    calls: list[str] = []

    class Mine(BaseCallback):
        def on_llm_start(self, prompt: str, **kwargs: object) -> None:
            calls.append(prompt)
            raise TypeError("on_llm_start() got an unexpected keyword argument 'model'")

    Rig(Mine()).call(None)
    assert calls == ["Привет!"]
    assert failures() == {("Mine", "on_llm_start"): 1}
    forget_failures()


@pytest.mark.parametrize(
    "hook", ["on_llm_start", "on_llm_end", "on_error", "on_run_start", "on_run_end", "on_tool_end"]
)
def test_raising_hook_harms_nobody(hook: str, caplog: pytest.LogCaptureFixture) -> None:
    """Scenario 92: the other callbacks are told, one warning with the traceback, the rest is counted."""
    forget_failures()
    told: list[str] = []

    def fail(**kwargs: object) -> None:
        raise RuntimeError("сломан")

    first, second = type("First", (), {})(), type("Second", (), {})()
    setattr(first, hook, fail)
    setattr(second, hook, lambda: told.append(hook))
    rig = Rig(first, second)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            with rig.run() as run:
                rig.tool(run)
                rig.call(run)
                with pytest.raises(Refused):
                    rig.call(run, error=Refused("нет"))
    assert set(told) == {hook}
    assert failures() == {("First", hook): len(told)}
    assert [record.getMessage() for record in caplog.records] == [
        f"First.{hook} raised RuntimeError; it is ignored, and further failures there are only counted"
    ]
    forget_failures()


def test_async_hook_of_a_sync_run_is_skipped_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    """No coroutine is left behind that nobody awaited; those that only return one are noticed too."""

    class Skipped(BaseCallback):
        async def on_llm_start(self, prompt: str, **kwargs: object) -> None:
            raise AssertionError

        def on_llm_end(self, response: object, **kwargs: object) -> object:
            return self.on_llm_start("")

    rig = Rig(Skipped())
    with caplog.at_level(logging.WARNING):
        rig.call(None)
        rig.call(None)
    assert [record.getMessage() for record in caplog.records] == [
        "Skipped.on_llm_start is an async hook and this run is not: it is skipped; use arun(), astream() or async with",
        "Skipped.on_llm_end is an async hook and this run is not: it is skipped; use arun(), astream() or async with",
    ]
