"""`tool`: one use of a tool by the application's own code, as a `with` or as a decorator."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

from rlm_otel.block import Block, Callbacks
from rlm_otel.bracket import Bracket
from rlm_otel.decorating import check_function, decorated, name_of
from rlm_otel.emitter import Emitter
from rlm_otel.events import ToolCall
from rlm_otel.outcome import ToolResult
from rlm_otel.plain_json import json_of

F = TypeVar("F", bound=Callable[..., Any])


class ObservedTool(Block):
    """One use of a tool; made by `rlm_otel.tool`."""

    def __init__(self, call: ToolCall, callbacks: Callbacks) -> None:
        super().__init__(call, callbacks)
        self._call = call

    def _begin(self, emitter: Emitter) -> Bracket:
        if not self._call.name:
            msg = "tool() has no name here; write with rlm_otel.tool('search', ...)"
            raise TypeError(msg)
        return super()._begin(emitter)

    def result(self, value: object) -> None:
        """What the tool gave back: text, or any value, which is written as JSON. Content, as all texts."""
        self._ours.result = ToolResult(text=json_of(value))

    def __call__(self, function: F) -> F:
        """Decorates a function, also an async one or a generator: each call is a use of the tool."""
        check_function("tool", function)
        call, callbacks = self._call, self._callbacks
        name = call.name or name_of(function)
        said = call.description or (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ").strip() or None

        def make(arguments: dict[str, object]) -> ObservedTool:
            text = json_of(arguments)
            return ObservedTool(ToolCall(name=name, arguments=text, type=call.type, description=said), callbacks)

        return decorated(function, make)


@overload
def tool(name: F, /) -> F: ...


@overload
def tool(
    name: str | None = None,
    input: object = None,
    *,
    call_id: str | None = None,
    description: str | None = None,
    type: str = "function",
    callbacks: Callbacks = None,
) -> ObservedTool: ...


def tool(
    name: Any = None,
    input: object = None,  # noqa: A002
    *,
    call_id: str | None = None,
    description: str | None = None,
    type: str = "function",  # noqa: A002
    callbacks: Callbacks = None,
) -> Any:
    """One use of a tool: `with rlm_otel.tool("search", {"q": text}) as tool: ...; tool.result(found)`.

    `input` is what it was called with: JSON text, or any value. `call_id` is the vendor's id of the model's request,
    `type` one of function, extension, datastore. Also `async with`, and a decorator with or without arguments, of
    functions of each kind: `@rlm_otel.tool`; then name, description, input and result are the function's. What the tool
    raises fails its span and goes on unchanged. `callbacks`: as in `run`.
    """
    if callable(name):
        return ObservedTool(ToolCall(name=""), None)(name)
    if name is not None and not isinstance(name, str):
        msg = f"tool({name!r}): give the tool's name as text, or decorate a function with @rlm_otel.tool"
        raise TypeError(msg)
    arguments = "" if input is None else json_of(input)
    call = ToolCall(name=name or "", arguments=arguments, call_id=call_id, type=type, description=description)
    return ObservedTool(call, callbacks)
