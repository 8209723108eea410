"""Holds the JSON of messages, tools and documents against the shapes of the GenAI conventions."""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from jsonschema import Draft7Validator, SchemaError

REGISTRY_FILE: Final = Path(__file__).parent / "data" / "genai-registry.json"
SHAPES: Final = json.loads(REGISTRY_FILE.read_text(encoding="utf-8"))["message_content"]

# An escaped character that JSON does not oblige anyone to escape; `\\u0416` is a backslash of the user's own.
ESCAPED: Final = re.compile(r"(?<!\\)(?:\\\\)*\\u(?!00[01][0-9a-fA-F])[0-9a-fA-F]{4}")


def content_violations(name: str, value: object, *, structured: bool) -> Iterator[str]:
    """What is wrong with content attribute `name`: JSON text on spans, `structured` values on events."""
    if structured:
        if isinstance(value, str):
            yield f"{name}: structured on events, not a string"
            return
    else:
        if not isinstance(value, str):
            yield f"{name}: JSON text on spans, not {type(value).__name__}"
            return
        if ESCAPED.search(value):
            yield f"{name}: readable UTF-8, not \\uXXXX"
        try:
            value = json.loads(value)
        except ValueError as error:
            yield f"{name}: not JSON ({error})"
            return
    yield from (f"{name}{problem}" for problem in _shape(name, value))


def _shape(name: str, value: object) -> Iterator[str]:
    if SHAPES[name] == "object":
        if not isinstance(value, Mapping):
            yield ": not an object"
        return
    if isinstance(value, str) or not isinstance(value, Sequence):
        yield ": not an array"
        return
    for index, item in enumerate(value):
        if not isinstance(item, Mapping):
            yield f"[{index}]: not an object"
            continue
        for problem in _item(name, item):
            yield f"[{index}]{problem}"


def _item(name: str, item: Mapping[str, object]) -> Iterator[str]:
    match name:
        case "gen_ai.input.messages":
            yield from _fields(item, SHAPES["input_message"])
        case "gen_ai.output.messages":
            yield from _fields(item, SHAPES["output_message"])
        case "gen_ai.system_instructions":
            yield from _part(item)
        case "gen_ai.tool.definitions":
            yield from _definition(item)
        case _:
            yield f": no shape is known for {name}"


def _part(part: object) -> Iterator[str]:
    if not isinstance(part, Mapping):
        yield ": a part is an object"
        return
    known = SHAPES["parts"].get(part.get("type"), SHAPES["parts"]["*"])
    yield from _fields(part, known)
    if part.get("type") == "uri" and str(part.get("uri")).startswith("data:"):
        yield ".uri: a data: URL belongs into a blob"


def _definition(item: Mapping[str, object]) -> Iterator[str]:
    optional = {"description": "string|null", "parameters": "object|null"} if item.get("type") == "function" else {}
    yield from _fields(item, {"required": {"type": "string", "name": "string"}, "optional": optional})
    parameters = item.get("parameters")
    if optional and isinstance(parameters, Mapping):
        try:
            Draft7Validator.check_schema(parameters)
        except SchemaError as error:
            yield f".parameters: not a draft-07 schema ({error.message})"


def _fields(item: Mapping[str, object], shape: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    for key, kind in shape["required"].items():
        if key not in item:
            yield f".{key}: missing"
        else:
            yield from (f".{key}{problem}" for problem in _value(item[key], kind))
    for key, kind in shape["optional"].items():
        if key in item:
            yield from (f".{key}{problem}" for problem in _value(item[key], kind))


def _value(value: object, kind: str) -> Iterator[str]:
    """What is wrong with `value`; `kind` is one of the registry's own descriptions, such as `string|null`."""
    if kind == "array of part":
        if isinstance(value, str) or not isinstance(value, Sequence):
            yield ": not an array"
            return
        for index, part in enumerate(value):
            yield from (f"[{index}]{problem}" for problem in _part(part))
    elif not _fits(value, kind):
        yield f": {value!r} is not {kind}"


def _fits(value: object, kind: str) -> bool:
    if kind == "any" or (value is None and "null" in kind):
        return True
    if kind.startswith('"'):
        return value == kind.strip('"')
    if kind == "base64 string":
        return isinstance(value, str) and _is_base64(value)
    if kind.startswith("object"):
        needs_type = "with string" in kind
        return isinstance(value, Mapping) and (not needs_type or isinstance(value.get("type"), str))
    if kind.startswith("number"):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, str)  # "string", "any other string", "image|video|...|other string"


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except ValueError:
        return False
    return True
