"""What is answered where no model is: a call of an offered tool, JSON where that is wanted, else words."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from rlm_otel.testing.answering import last_text
from rlm_otel.testing.script import Answer, Item, Json, Tool
from rlm_otel.testing.server import RecordedRequest

_QUOTED: Final = 200
"""Characters of the prompt that an answer repeats."""
_DEEPEST: Final = 6
_TEXTS: Final = {
    "en": (
        "No model is behind this answer, **rlm-otel serve** made it up.\n\n* You wrote: {said}\n* Its words: {words}",
        "The tool has answered, and that is all.",
    ),
    "ru": (
        "За этим ответом нет модели, его придумал **rlm-otel serve**.\n\n* Вы написали: {said}\n* Слов: {words}",
        "Инструмент ответил, это всё.",
    ),
}


def improvise(request: RecordedRequest) -> Item:
    """An answer to any request: the first tool that is offered is called once, then there is a text."""
    body = request.body
    told = _is_told_a_result(body)
    said = _said(body)
    tool = None if told else _tool(body)
    if tool is not None:
        return Answer(tool_calls=[Tool(tool["name"], _object(tool.get("parameters") or {}, said))], delay_s=0.05)
    schema = _wanted_json(body)
    if schema is not None:
        return Answer(json.dumps(example(schema, said), ensure_ascii=False), delay_s=0.05)
    spoken, after_a_tool = _TEXTS["ru" if re.search("[а-яё]", said, re.IGNORECASE) else "en"]
    text = after_a_tool if told else spoken.format(said=_cut(said), words=len(said.split()))
    return Answer(text, delay_s=0.05, first_token_delay_s=0.1, chunk_delay_s=0.02)


def example(schema: Json, said: str) -> object:
    """A value that fits a JSON schema, as far as types say it; texts are what the user said."""
    return _example(schema, said, schema.get("$defs") or {}, 0)


def _object(schema: Json, said: str) -> dict[str, object]:
    value = example({"type": "object", **schema}, said)
    return value if isinstance(value, dict) else {}


def _example(schema: Any, said: str, known: Json, depth: int) -> object:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        return None
    if "$ref" in schema:
        return _example(known.get(str(schema["$ref"]).rpartition("/")[2]), said, known, depth + 1)
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return _example(schema[name][0], said, known, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    match schema.get("type"):
        case "string":
            return said
        case "integer":
            return 1
        case "number":
            return 1.5
        case "boolean":
            return True
        case "array":
            return [_example(schema.get("items"), said, known, depth + 1)] if schema.get("items") else []
        case "object":
            properties = schema.get("properties") or {}
            wanted = schema.get("required") or ()
            return {name: _example(properties[name], said, known, depth + 1) for name in properties if name in wanted}
    return None


def _said(body: Json) -> str:
    """What the user said last."""
    for name in ("messages", "input"):
        asked = body.get(name)
        if isinstance(asked, list):
            users = [one for one in asked if isinstance(one, dict) and one.get("role") == "user"]
            return last_text({name: users[-1:]})
    return last_text(body)


def _is_told_a_result(body: Json) -> bool:
    """Whether the last thing in the request is what a tool gave back."""
    asked = body.get("messages") or body.get("input")
    last = asked[-1] if isinstance(asked, list) else None
    return isinstance(last, dict) and (last.get("role") == "tool" or last.get("type") == "function_call_output")


def _tool(body: Json) -> Json | None:
    """The tool to call, with its `name` and `parameters`: the one that is asked for, else the first."""
    choice = body.get("tool_choice")
    if choice == "none":
        return None
    asked = choice.get("function", choice).get("name") if isinstance(choice, dict) else None
    return next((tool for tool in _functions(body) if asked in (None, tool["name"])), None)


def _functions(body: Json) -> Iterator[Json]:
    for tool in body.get("tools") or ():
        function = tool.get("function", tool) if isinstance(tool, dict) else {}
        if tool.get("type") == "function" and isinstance(function.get("name"), str):
            yield function


def _wanted_json(body: Json) -> Json | None:
    """The schema of the JSON that is wanted, empty for any; None where a text is."""
    text = body.get("text")
    wanted = body.get("response_format") or (text.get("format") if isinstance(text, dict) else None)
    match wanted:
        case {"type": "json_object"}:
            return {"type": "object", "properties": {"said": {"type": "string"}}, "required": ["said"]}
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}} | {
            "type": "json_schema",
            "schema": dict(schema),
        }:
            return schema
    return None


def _cut(text: str) -> str:
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
