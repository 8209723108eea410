"""Requests as the caller wrote them: parameters, messages and tools as frozen records of the same strings."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import Any, Final

from rlm_otel.events import Request
from rlm_otel.messages import (
    Media,
    Message,
    Other,
    Part,
    Reasoning,
    Text,
    ToolDefinition,
    ToolRequest,
    ToolResponse,
)
from rlm_otel.reader.fields import count, extras, items, json_text, number, read, reasoning, text

ROLES: Final = {"developer": "system", "function": "tool"}
"""OpenAI's words for which the conventions have another one."""
_PLAIN: Final = {"role", "content"}
_ANSWER: Final = {"role", "content", "tool_call_id"}
_ASKING: Final = {"role", "content", "tool_calls"}
_PLAIN_ROLES: Final = ("user", "assistant", "system")
_AUDIO_TYPES: Final = {"mp3": "audio/mpeg"}


def read_request(kwargs: Mapping[str, object]) -> Request:
    """The parameters of `create(**kwargs)` that the caller really sent; the SDK's sentinels count as not sent."""
    sent: dict[str, Any] = {}
    for name, value in kwargs.items():  # a call has two or three of them
        if name in _PARAMETERS:
            field, read_value = _PARAMETERS[name]
            found = read_value(value)
            if found is not None and not (name == "max_tokens" and field in sent):
                sent[field] = found
    if "modalities" in kwargs or "response_format" in kwargs:
        sent["output_type"] = _output_type(kwargs)
    return Request(**sent)


def _stops(value: object) -> tuple[str, ...] | None:
    return (value,) if isinstance(value, str) else tuple(s for s in items(value) if isinstance(s, str)) or None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


_PARAMETERS: Final[Mapping[str, tuple[str, Callable[[object], object]]]] = {
    "temperature": ("temperature", number),
    "top_p": ("top_p", number),
    "max_completion_tokens": ("max_tokens", count),
    "max_tokens": ("max_tokens", count),  # the older name: the other one beats it
    "frequency_penalty": ("frequency_penalty", number),
    "presence_penalty": ("presence_penalty", number),
    "stop": ("stop", _stops),
    "seed": ("seed", _whole),
    "n": ("choices", count),
    "reasoning_effort": ("reasoning_level", text),
    "service_tier": ("service_tier", text),
}
"""What the SDK calls a parameter, our field for it, and how its value is read."""


def _output_type(kwargs: Mapping[str, object]) -> str | None:
    if "audio" in items(kwargs.get("modalities")):
        return "speech"
    wanted = kwargs.get("response_format")
    if isinstance(wanted, type):  # `parse(response_format=Model)`
        return "json"
    return text_format(wanted)


def text_format(wanted: object) -> str | None:
    """The kind of output that a format asks for; None for one that the conventions have no word for."""
    kind = read(wanted, "type")
    return "json" if kind in ("json_object", "json_schema") else "text" if kind == "text" else None


def read_tools(tools: object) -> tuple[ToolDefinition, ...]:
    """The tools offered to the model; a tool without a name is listed under its type."""
    return tuple(found for tool in items(tools) if (found := _tool(tool)))


def _tool(tool: object) -> ToolDefinition | None:
    kind = text(read(tool, "type")) or "function"
    body = read(tool, kind) or tool
    name = text(read(body, "name")) or (kind if kind != "function" else None)
    return ToolDefinition(name, kind, text(read(body, "description"))) if name else None


def read_messages(messages: Iterable[object]) -> tuple[Message, ...]:
    """The messages of a prompt, dicts or SDK objects. Nothing is consumed: an iterator gives an empty tuple."""
    return tuple([read_message(message) for message in items(messages) if message is not None])


def read_message(message: object) -> Message:
    """One message of a prompt or reply: reasoning first, then what was said, then the tool calls asked for."""
    if isinstance(message, dict):
        if (usual := _usual(message)) is not None:
            return usual
    elif (answer := _plain_answer(message)) is not None:
        return Message("assistant", (Text(answer),))
    role = text(read(message, "role")) or "assistant"
    role = ROLES.get(role, role)
    name = text(extras(message).get("name"))
    content = read_parts(read(message, "content"))
    if role == "tool":
        return Message(role, _tool_response(message, content), name)
    parts: list[Part] = []
    if thought := reasoning(message):
        parts.append(Reasoning(thought))
    parts.extend(content)
    if refusal := text(read(message, "refusal")):
        parts.append(Text(refusal))
    if sound := _sound(read(message, "audio")):
        parts.append(sound)
    calls = items(read(message, "tool_calls"))
    parts.extend(_tool_request(call) for call in calls if call is not None)
    if not calls and (call := read(message, "function_call")):  # the form before `tool_calls`
        parts.append(_request_of(call, None))
    return Message(role, tuple(parts), name)


def _usual(message: dict[str, Any]) -> Message | None:
    """Nearly all that a program writes, at a third of the price: text, a call of tools, and what a tool answered."""
    keys = message.keys()
    if keys == _PLAIN:
        said, role = message["content"], message["role"]
        if isinstance(said, str) and said and role in _PLAIN_ROLES:
            return Message(role, (Text(said),))
    elif keys == _ANSWER:
        said = message["content"]
        if isinstance(said, str) and message["role"] == "tool":
            return Message("tool", (ToolResponse(said, text(message["tool_call_id"])),))
    elif keys == _ASKING:
        said, calls = message["content"], message["tool_calls"]
        if (said is None or isinstance(said, str)) and message["role"] == "assistant":
            before = (Text(said),) if said else ()
            return Message("assistant", (*before, *[_tool_request(call) for call in items(calls) if call is not None]))
    return None


def _plain_answer(message: Any) -> str | None:
    """The text of an SDK object that holds nothing else, as nearly all replies: at a quarter of the price."""
    try:
        said = message.content
        if (
            isinstance(said, str)
            and said
            and message.role == "assistant"
            and message.tool_calls is None
            and message.refusal is None
            and message.audio is None
            and message.function_call is None
            and not message.__pydantic_extra__
        ):
            return said
    except AttributeError:
        pass  # no message of the SDK
    return None


def _tool_response(message: object, content: tuple[Part, ...]) -> tuple[Part, ...]:
    said = "".join(part.content for part in content if isinstance(part, Text))
    rest = tuple(part for part in content if not isinstance(part, Text))
    return (ToolResponse(said, text(read(message, "tool_call_id"))), *rest)


def _tool_request(call: object) -> ToolRequest:
    return _request_of(read(call, "function") or read(call, "custom"), text(read(call, "id")))


def _request_of(called: object, call_id: str | None) -> ToolRequest:
    arguments = read(called, "arguments")
    return ToolRequest(
        text(read(called, "name")) or "", json_text(read(called, "input") if arguments is None else arguments), call_id
    )


def _sound(audio: object) -> Media | None:
    """A spoken answer, or the reference to an earlier one."""
    if data := text(read(audio, "data")):
        return Media("audio", data, "blob")
    known = text(read(audio, "id"))
    return Media("audio", known, "file") if known else None


def read_parts(content: object) -> tuple[Part, ...]:
    """The content of a message: text, or a list of typed parts."""
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(chain.from_iterable(_part(part) for part in items(content)))


def _part(part: object) -> tuple[Part, ...]:
    if isinstance(part, str):
        return (Text(part),)
    kind = text(read(part, "type"))
    body = None if kind is None else read(part, kind)
    match kind:
        case "text" | "refusal":
            found = text(body)
            return (Text(found),) if found else ()
        case "thinking" | "reasoning":
            return tuple(Reasoning(said) for said in _thoughts(part, body))
        case "image_url" | "video_url" | "audio_url":
            url = text(body) or text(read(body, "url"))
            return (linked(kind.removesuffix("_url"), url),) if url else (Other(kind),)
        case "input_audio":
            data, form = text(read(body, "data")), text(read(body, "format"))
            mime = form and _AUDIO_TYPES.get(form, f"audio/{form}")
            return (Media("audio", data, "blob", mime),) if data else (Other(kind),)
        case "file":
            return (read_file(body),)
        case _:
            return (Other(kind or "generic"),)


def _thoughts(part: object, body: object) -> list[str]:
    """Mistral nests text parts, others write plain text."""
    found = text(body) or text(read(part, "text"))
    return [found] if found else [said for piece in items(body) if (said := text(read(piece, "text")))]


def linked(modality: str, url: str) -> Media:
    """Media at an URL, which may be a `data:` URL that holds them."""
    if url[:5].lower() != "data:":
        return Media(modality, url, "uri")
    return Media(modality, url, "blob", _data_mime(url))


def _data_mime(url: str) -> str | None:
    # Sliced first: the data behind the comma may be megabytes.
    return url[5:261].partition(",")[0].partition(";")[0] or None


def read_file(body: object) -> Part:
    """A document, known by its id or sent along."""
    if known := text(read(body, "file_id")):
        return Media("document", known, "file")
    if data := text(read(body, "file_data")):
        return linked("document", data) if data[:5].lower() == "data:" else Media("document", data, "blob")
    return Other("file")
