"""Planned dispatch: each hook's signature is read once, and then called with just what it names."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import CoroutineType
from typing import Any, Final

from rlm_otel.callbacks.base import BaseCallback

Payload = Mapping[str, object]

HOOKS: Final[dict[str, tuple[str, ...]]] = {
    "on_run_start": ("prompt",),
    "on_run_end": ("result",),
    "on_llm_start": ("prompt",),
    "on_token": ("token",),
    "on_llm_end": ("response",),
    "on_tool_start": ("tool_name", "tool_input"),
    "on_tool_end": ("tool_name", "tool_output"),
    "on_retry": ("attempt", "max_attempts", "error"),
    "on_error": ("error",),
}
"""Every hook with its parameters in canonical order."""

COMMON: Final = ("operation_id", "parent_id", "run_id", "root_id", "trace_id", "span_id", "model", "agent", "depth")
"""What the `**kwargs` of every hook carry."""

_ENDS: Final = ("outcome", "usage", "cost", "elapsed_s")
EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "on_run_start": ("messages", "provider", "workflow"),
    "on_run_end": (*_ENDS, "error", "workflow"),
    "on_llm_start": ("messages", "provider", "turn", "stream"),
    "on_token": (),
    "on_llm_end": (*_ENDS, "provider", "turn", "first_token_s"),
    "on_tool_start": ("tool_call_id", "turn"),
    "on_tool_end": (*_ENDS, "error", "tool_call_id", "turn"),
    "on_retry": ("delay_s", "status"),
    "on_error": (*_ENDS, "status"),
}
"""What they carry besides, hook by hook."""

_OTHER_HOOK_NAMES: Final = {"on_token": "on_llm_new_token", "on_error": "on_llm_error"}
HOOK_NAMES: Final = frozenset((*HOOKS, *_OTHER_HOOK_NAMES.values()))
"""All names under which a hook is looked for."""

_OTHER_PARAMETERS: Final = {
    "output": "tool_output",
    "result": "tool_output",
    "input": "tool_input",
    "text": "prompt",
    "exc": "error",
    "exception": "error",
}


@dataclass(frozen=True, slots=True)
class _Signature:
    """How to call one hook: payload keys by position and by keyword, and whether it takes the rest."""

    positional: tuple[str | None, ...]
    keyword: tuple[tuple[str, str | None], ...]
    takes_rest: bool


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook of one callback, ready to be called."""

    function: Callable[..., Any]
    signature: _Signature
    is_async: bool

    def call(self, payload: Payload) -> Any:
        """Calls the hook once; whatever it returns comes back (a coroutine, of an `async def`)."""
        s = self.signature
        args = [payload.get(key) if key else None for key in s.positional]
        if not s.keyword and not s.takes_rest:
            return self.function(*args)
        keywords = {name: payload.get(key) if key else None for name, key in s.keyword}
        if s.takes_rest:
            bound = {*s.positional, *(key for _, key in s.keyword)}
            keywords.update((key, value) for key, value in payload.items() if key not in bound)
        return self.function(*args, **keywords)


@dataclass(frozen=True, slots=True)
class PlannedCallback:
    """A user's callback and the plans of the hooks that it defines."""

    callback: object
    name: str
    strict: bool
    hooks: Mapping[str, Hook]


def plan(callback: object, *, must_have_hooks: bool = True) -> PlannedCallback:
    """Reads a callback's hooks; those inherited from `BaseCallback` unchanged are left out and cost nothing.

    Raises TypeError for a class instead of an instance, and for an object that has none of the hooks (a listener need
    not have any).
    """
    if isinstance(callback, type):
        msg = f"callbacks must be objects, got the class {callback.__name__}; write {callback.__name__}() instead"
        raise TypeError(msg)
    hooks = {name: hook for name in HOOKS if (hook := _hook(callback, name)) is not None}
    if must_have_hooks and not hooks and not isinstance(callback, BaseCallback):
        msg = (
            f"{callback!r} is no callback: it has neither on_event nor any of {', '.join(HOOKS)}; "
            "subclass rlm_otel.callbacks.BaseCallback and override one of them"
        )
        raise TypeError(msg)
    return PlannedCallback(callback, type(callback).__name__, getattr(callback, "raise_error", False) is True, hooks)


def is_coroutine(value: object) -> bool:
    """Whether a hook that did not look like an `async def` returned a coroutine all the same."""
    return type(value) is CoroutineType


def _hook(callback: object, name: str) -> Hook | None:
    function = getattr(callback, name, None)
    if (function is None or _is_noop(function, name)) and name in _OTHER_HOOK_NAMES:
        function = getattr(callback, _OTHER_HOOK_NAMES[name], None)
    if function is None or not callable(function) or _is_noop(function, name):
        return None
    return Hook(function, _signature(function, name), inspect.iscoroutinefunction(function))


def _is_noop(function: object, name: str) -> bool:
    return getattr(function, "__func__", function) is getattr(BaseCallback, name)


def _signature(function: Callable[..., Any], hook: str) -> _Signature:
    bound_to = getattr(function, "__func__", None)
    if bound_to is None:
        return _read_signature(function, hook)
    return _method_signature(bound_to, hook)


@lru_cache(maxsize=512)
def _method_signature(function: Callable[..., Any], hook: str) -> _Signature:
    return _read_signature(function.__get__(object()), hook)


def _read_signature(function: Callable[..., Any], hook: str) -> _Signature:
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:  # some built-in functions have no signature
        return _Signature(HOOKS[hook], (), takes_rest=False)
    takes_rest = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    if not named and any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return _Signature(HOOKS[hook], (), takes_rest=takes_rest)
    keys = {p.name: _key(p.name, hook) for p in named}
    left = [name for name in HOOKS[hook] if name not in keys.values()]
    positional: list[str | None] = []
    keyword: list[tuple[str, str | None]] = []
    skipped = False  # a parameter left at its default: those behind it go by name
    for p in named:
        key = keys[p.name]
        if key is None and p.default is not p.empty:
            skipped = True
        elif p.kind is p.KEYWORD_ONLY:
            keyword.append((p.name, key))
        else:
            key = key or (left.pop(0) if left else None)
            if not skipped:
                positional.append(key)
            elif p.kind is p.POSITIONAL_OR_KEYWORD:
                keyword.append((p.name, key))
    return _Signature(tuple(positional), tuple(keyword), takes_rest=takes_rest)


def _key(parameter: str, hook: str) -> str | None:
    if parameter in HOOKS[hook] or parameter in EXTRAS[hook] or parameter in COMMON:
        return parameter
    other = _OTHER_PARAMETERS.get(parameter)
    return other if other in HOOKS[hook] else None
