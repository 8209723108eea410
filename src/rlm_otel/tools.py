"""Plain functions as tools: their schema from the signature, their arguments checked before they are called."""

import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, create_model
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

from rlm_otel.messages import ToolDefinition

INJECTED: Final = "llm_query"
"""A parameter of this name is not shown to the model: it is given a function that makes a sub-call of the run."""


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool, ready to be offered and called."""

    name: str
    description: str | None
    function: Callable[..., Any]
    arguments: type[BaseModel]
    is_async: bool
    wants_query: bool
    definition: ToolDefinition
    """What telemetry says of it."""
    described: Mapping[str, object] | None
    """What the model is told of it, made once, since each turn of each run sends it; None: a type was not there yet."""

    def schema(self) -> dict[str, object]:
        """The tool in the OpenAI API's words, a copy of one's own."""
        return {
            "type": "function",
            "function": dict(self.described or _described(self.name, self.description, self.arguments)),
        }

    def read(self, arguments: str) -> dict[str, Any]:
        """A model's JSON text as keyword arguments; raises pydantic.ValidationError, whose text a model understands."""
        checked = self.arguments.model_validate_json(arguments or "{}")
        return {name: getattr(checked, name) for name in type(checked).model_fields}


def make_tools(functions: Iterable[Callable[..., Any]]) -> dict[str, Tool]:
    """Tools by name. Raises TypeError or ValueError for what cannot be one, naming the function."""
    tools: dict[str, Tool] = {}
    for function in functions:
        tool = make_tool(function)
        if tool.name in tools:
            msg = f"two tools are named {tool.name!r}; give one of the functions another name"
            raise ValueError(msg)
        tools[tool.name] = tool
    return tools


def make_tool(function: Callable[..., Any]) -> Tool:
    """A tool of one function; the first paragraph of its docstring is the description."""
    name = getattr(function, "__name__", None)
    if name is None or name == "<lambda>" or isinstance(function, type):
        msg = f"tools must be named functions, got {function!r}; write def name(...): with a docstring"
        raise TypeError(msg)
    fields: dict[str, Any] = {}
    parameters = inspect.signature(function, eval_str=True).parameters
    for parameter in parameters.values():
        if parameter.name == INJECTED:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            msg = f"tool {name}: parameter {parameter} cannot be filled by a model; name each parameter instead"
            raise TypeError(msg)
        annotation = str if parameter.annotation is parameter.empty else parameter.annotation
        fields[parameter.name] = (annotation, ... if parameter.default is parameter.empty else parameter.default)
    description = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ").strip() or None
    arguments = create_model(name, __config__=ConfigDict(extra="forbid", arbitrary_types_allowed=False), **fields)
    return Tool(
        name=name,
        description=description,
        function=function,
        arguments=arguments,
        is_async=inspect.iscoroutinefunction(function),
        wants_query=INJECTED in parameters,
        definition=ToolDefinition(name, description=description),
        described=_described_now(name, description, arguments),
    )


def _described_now(name: str, description: str | None, arguments: type[BaseModel]) -> Mapping[str, object] | None:
    try:
        return _described(name, description, arguments)
    except PydanticInvalidForJsonSchema as error:
        msg = f"tool {name}: a model cannot be told of its parameters; annotate them with types that JSON has ({error})"
        raise TypeError(msg) from error
    except PydanticUserError as error:
        if error.code != "class-not-fully-defined":
            raise
        return None  # a type that is named in quotes, and defined further down


def _described(name: str, description: str | None, arguments: type[BaseModel]) -> Mapping[str, object]:
    told: dict[str, object] = {"name": name, "parameters": arguments.model_json_schema()}
    return {**told, "description": description} if description else told


def text_of(value: object) -> str:
    """What a tool returned, as the text that the model is shown: text as it is, the rest as JSON where it can be."""
    if isinstance(value, str):
        return value
    if isinstance(value, BaseModel):
        return value.model_dump_json()
    if value is None or isinstance(value, bool | int | float | list | tuple | Mapping):
        try:
            return json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError):
            return str(value)
    return str(value)
