"""Messages, tools and tool texts as JSON in the shapes of the GenAI conventions, redacted and within a limit.

Cuts happen inside the structure, so that what leaves always parses. Media never leave: an image or sound that came as
base64 becomes `{"type": "uri", "modality": ..., "uri": "sha256:<hex of its bytes>"}`, URLs and file ids stay.
"""

import binascii
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, wraps
from typing import Final, TypeVar

from rlm_otel.content import LIMIT_BYTES, REDACTED, Policy, cut, encodable, names_a_secret
from rlm_otel.cutting import SHORTEST, Json, Shape, dumps, fitted_list, fitted_message, fitted_object
from rlm_otel.messages import (
    Media,
    Message,
    Other,
    Part,
    Reasoning,
    ServerTool,
    Text,
    ToolDefinition,
    ToolRequest,
    ToolResponse,
)
from rlm_otel.parsing import parsed
from rlm_otel.short_content import ROLES, short_json

_MOST_KEPT: Final = 10_000
"""How many characters of tools' descriptions are worth keeping for the next call."""
_PART_TYPES: Final = frozenset(
    {"text", "reasoning", "tool_call", "tool_call_response", "server_tool_call", "server_tool_call_response"}
    | {"blob", "file", "uri", "compaction"}
)


A = TypeVar("A")
T = TypeVar("T", str, str | None, tuple[str, int])


def _within_bytes(write: Callable[[A, Policy], T]) -> Callable[[A, Policy], T]:
    """Writes again with less room where the JSON fits in characters, but not in bytes of UTF-8."""

    @wraps(write)
    def written(value: A, policy: Policy) -> T:
        found = write(value, policy)
        while (fits := _fitting_chars(found)) is not None:
            policy = replace(policy, limit_chars=min(fits, policy.limit_chars - 1))
            found = write(value, policy)
        return found

    return written


def _fitting_chars(found: str | tuple[str, int] | None) -> int | None:
    """How many such characters would fit where these do not."""
    text = found[0] if isinstance(found, tuple) else found or ""
    if len(text) * 4 <= LIMIT_BYTES or text.isascii():
        return None
    size = len(text.encode())
    return len(text) * LIMIT_BYTES // size if size > LIMIT_BYTES else None


# What leaves -------------------------------------------------------------------------------------------------------


@_within_bytes
def prompt_json(messages: Sequence[Message], policy: Policy) -> tuple[str, int]:
    """A prompt as JSON, and how many of its messages had to be left out: the oldest, never the system prompt."""
    if not messages:
        return "[]", 0
    if (short := short_json(messages, policy)) is not None:
        return short, 0
    room = policy.limit_chars - len("[]")
    last = _message(messages[-1], policy)
    system = _message(messages[0], policy) if _leads(messages) else None
    reserved = 0
    if system is not None:
        wanted = len(dumps(system)) + len(",")
        reserved = wanted if wanted + len(dumps(last)) <= room else min(wanted, room // 2)
    kept = [fitted_message(last, room - reserved)]
    left = room - reserved - len(kept[0])
    middle = messages[1:-1] if system is not None else messages[:-1]
    for message in reversed(middle):
        text = dumps(_message(message, policy))
        left -= len(text) + len(",")
        if left < 0:
            break
        kept.append(text)
    omitted = len(middle) - (len(kept) - 1)
    if system is not None:
        kept.append(fitted_message(system, room - len(kept[0]) - 1 if omitted == len(middle) else reserved))
    return encodable(f"[{','.join(reversed(kept))}]"), omitted


@_within_bytes
def instructions_json(text: str, policy: Policy) -> str | None:
    """A system prompt that is no message, as JSON: parts without a role; None if it is redacted away."""
    kept = policy.redacted(text)
    if kept is None:
        return None
    return encodable(fitted_list([{"type": "text", "content": kept}], policy.limit_chars))


@_within_bytes
def reply_json(messages: Sequence[Message], policy: Policy) -> str:
    """A reply as JSON, one message a choice; where they are too long, each may fill its share of the limit."""
    if (short := short_json(messages, policy)) is not None:
        return short
    room = (policy.limit_chars - len("[]")) // max(len(messages), 1) - len(",")
    texts = [fitted_message(_message(message, policy), room) for message in messages]
    return encodable(f"[{','.join(texts)}]")


def tools_json(tools: tuple[ToolDefinition, ...], policy: Policy) -> str:
    """The tools offered, as JSON; where they are too many, descriptions are cut first, then the last ones go."""
    # A hook of the application's may say another thing the next time.
    if policy.redactor.hooked or sum([len(tool.description or "") for tool in tools]) > _MOST_KEPT:
        return _tools_json(tools, policy)
    try:
        return _same_tools_json(tools, policy)
    except TypeError:  # a text of a class of its own, which has no hash
        return _tools_json(tools, policy)


@_within_bytes
def _tools_json(tools: tuple[ToolDefinition, ...], policy: Policy) -> str:
    shapes: list[Json] = [shape for tool in tools if (shape := _tool(tool, policy)) is not None]
    return encodable(fitted_list(shapes, policy.limit_chars))


_same_tools_json: Final = lru_cache(maxsize=8)(_tools_json)  # most calls offer the same


@_within_bytes
def value_json(text: str, policy: Policy) -> str | None:
    """A tool's arguments or result as a JSON object: the text's own, else `{"value": ...}`; None if redacted away."""
    for value in _value(text, policy):
        # The conventions want an object here, and a tool may answer with a word.
        shape: Shape = value if isinstance(value, dict) else {"value": value}
        return encodable(fitted_object(shape, policy.limit_chars))
    return None


# Shapes ------------------------------------------------------------------------------------------------------------


def _leads(messages: Sequence[Message]) -> bool:
    return len(messages) > 1 and messages[0].role in ("system", "developer")


def _message(message: Message, policy: Policy) -> Shape:
    role = message.role if message.role in ROLES else cut(policy.redacted(message.role) or REDACTED, SHORTEST)
    parts: list[Json] = [kept for part in message.parts if (kept := _part(part, policy)) is not None]
    shape: Shape = {"role": role, "parts": parts}
    if message.name is not None and (name := policy.redacted(message.name)) is not None:
        shape["name"] = cut(name, SHORTEST)
    return shape


def _part(part: Part, policy: Policy) -> Shape | None:
    match part:
        case Text(content):
            text = policy.redacted(content)
            return None if text is None else {"type": "text", "content": text}
        case Reasoning(content):
            text = policy.redacted(content)
            return None if text is None else {"type": "reasoning", "content": text}
        case ToolRequest():
            return _tool_request(part, policy)
        case ToolResponse(content, call_id):
            for response in _value(content, policy):
                return {"type": "tool_call_response", **_id(call_id), "response": response}
            return None
        case ServerTool():
            return _server_tool(part, policy)
        case Media():
            return _media(part, policy)
        case Other(kind):
            # A vendor's type that the conventions use for another shape would not validate.
            return {"type": cut(f"other.{kind}" if kind in _PART_TYPES else kind or "other", SHORTEST)}


def _id(call_id: str | None) -> Shape:
    return {} if call_id is None else {"id": call_id}


def _tool_request(part: ToolRequest, policy: Policy) -> Shape | None:
    name = policy.redacted(part.name)
    if name is None:
        return None
    shape: Shape = {"type": "tool_call", **_id(part.call_id), "name": name}
    for arguments in _value(part.arguments, policy) if part.arguments else ():
        shape["arguments"] = arguments
    return shape


def _server_tool(part: ServerTool, policy: Policy) -> Shape | None:
    name = policy.redacted(part.name)
    if name is None:
        return None
    called: Shape = {"type": cut(policy.redacted(part.type) or REDACTED, SHORTEST)}
    for arguments in _value(part.arguments, policy) if part.arguments else ():
        called["arguments"] = arguments
    return {"type": "server_tool_call", **_id(part.call_id), "name": name, "server_tool_call": called}


def _tool(tool: ToolDefinition, policy: Policy) -> Shape | None:
    name = policy.redacted(tool.name)
    if name is None:
        return None
    shape: Shape = {"type": tool.type, "name": name}
    if tool.description is not None and (description := policy.redacted(tool.description)) is not None:
        shape["description"] = description
    return shape


def _media(part: Media, policy: Policy) -> Shape | None:
    mime_type, source = part.mime_type, part.source
    if part.held_as == "file":
        shape: Shape = {"type": "file", "modality": part.modality, "file_id": source}
    elif part.held_as == "blob" or source[:5].lower() == "data:":
        head, comma, payload = source.partition(",")
        if comma and head[:5].lower() == "data:":
            mime_type = mime_type or head[5:].partition(";")[0] or None
            source = payload
        shape = {"type": "uri", "modality": part.modality, "uri": f"sha256:{_sha256(source)}"}
    else:
        uri = policy.redacted(source)
        if uri is None:
            return None
        shape = {"type": "uri", "modality": part.modality, "uri": uri}
    return shape if mime_type is None else {**shape, "mime_type": mime_type}


def _sha256(base64: str) -> str:
    try:
        held = binascii.a2b_base64(base64)
    except ValueError:  # not base64 after all: the text itself is what we can name
        held = base64.encode("utf-8", "surrogatepass")
    return hashlib.sha256(held).hexdigest()


# Redaction inside JSON ---------------------------------------------------------------------------------------------


def _value(text: str, policy: Policy) -> tuple[Json, ...]:
    """The text's value, redacted: a tuple of one, or an empty one if it must not leave."""
    try:
        return _redacted(parsed(text), policy)
    except RecursionError:
        return _redacted(text, policy)


def _redacted(value: Json, policy: Policy) -> tuple[Json, ...]:
    match value:
        case bool() | None:
            return (value,)
        case str():
            text = policy.redacted(value)
            return () if text is None else (text,)
        case list():
            return ([kept for item in value for kept in _redacted(item, policy)],)
        case dict():
            return ({name: kept for key, item in value.items() for name, kept in _redacted_pair(key, item, policy)},)
        case _ if policy.redactor.hooked:  # a card number may well be a JSON number
            text = policy.redacted(str(value))
            return (value,) if text == str(value) else () if text is None else (text,)
        case _:
            return (value,)


def _redacted_pair(key: str, item: Json, policy: Policy) -> Iterator[tuple[str, Json]]:
    name = policy.redacted(key)
    if name is None:
        return
    if item and names_a_secret(key):
        yield name, REDACTED
    else:
        for kept in _redacted(item, policy):
            yield name, kept
