"""The items of the Responses API, which go in and come out alike: what was said, thought, called and answered."""

from collections.abc import Iterable
from typing import Final

from rlm_otel.messages import (
    Media,
    Message,
    Other,
    Part,
    Reasoning,
    ServerTool,
    Text,
    ToolRequest,
    ToolResponse,
)
from rlm_otel.reader.fields import items, json_text, read, text
from rlm_otel.reader.request import ROLES, linked, read_file, read_parts

_OURS: Final = frozenset(
    {"function_call", "custom_tool_call", "computer_call", "local_shell_call", "shell_call", "apply_patch_call"}
)
"""Calls that the application is asked to do; any other `..._call` the vendor does itself."""
_CALL: Final = "_call"
_OUTPUT: Final = "_output"


def read_input(sent: object) -> tuple[Message, ...]:
    """The `input` of a request, a text or a list of items. What the model said in one go is one message."""
    if isinstance(sent, str):
        return (Message("user", (Text(sent),)),) if sent else ()
    messages: list[Message] = []
    for item in items(sent):
        if item is None:
            continue
        message = _message(item)
        if message.role == "assistant" and messages and messages[-1].role == "assistant":
            messages[-1] = Message("assistant", (*messages[-1].parts, *message.parts))
        else:
            messages.append(message)
    return tuple(messages)


def _message(item: object) -> Message:
    if isinstance(item, str):
        return Message("user", (Text(item),))
    role = text(read(item, "role"))
    if role is not None:
        role = ROLES.get(role, role)
    elif (text(read(item, "type")) or "").endswith(_OUTPUT):
        role = "tool"
    return Message(role or "assistant", read_item(item))


def read_output(output: Iterable[object]) -> tuple[Part, ...]:
    """The parts of an answer."""
    return tuple(part for item in output if item is not None for part in read_item(item))


def read_item(item: object) -> tuple[Part, ...]:
    """What one item says."""
    kind = text(read(item, "type")) or "message"
    if kind == "message":
        return _content(read(item, "content"))
    if kind == "reasoning":
        pieces = (*items(read(item, "summary")), *items(read(item, "content")))
        return tuple(Reasoning(thought) for piece in pieces if (thought := text(read(piece, "text"))))
    if kind.endswith(_CALL):
        return (called(kind, item, arguments_of(item)), *_made(kind, item))
    if kind.endswith(_OUTPUT):
        return _answer(item)
    return (Other(kind),)


def called(kind: str, item: object, arguments: str) -> ToolRequest | ServerTool:
    """A call that the application is asked to do, or one that the vendor does; `item` may lack everything."""
    name = text(read(item, "name")) or ("" if kind in ("function_call", "custom_tool_call") else _name(kind))
    if kind in _OURS:
        return ToolRequest(name, arguments, text(read(item, "call_id")) or text(read(item, "id")))
    return ServerTool(name, kind, arguments, text(read(item, "id")))


def _name(kind: str) -> str:
    return kind.removesuffix(_CALL) or kind


def arguments_of(item: object) -> str:
    """What the call is called with, under the name that its kind has for it."""
    for name in ("arguments", "input", "code"):
        if (found := read(item, name)) is not None:
            return json_text(found)
    return ""


def _made(kind: str, item: object) -> tuple[Part, ...]:
    """The picture that a call of the vendor's image tool made."""
    picture = text(read(item, "result")) if kind == "image_generation_call" else None
    if picture is None:
        return ()
    form = text(read(item, "output_format"))
    return (Media("image", picture, "blob", form and f"image/{form}"),)


def _answer(item: object) -> tuple[Part, ...]:
    """The answer to a call, as text; pictures and files in it are parts of their own."""
    output = read(item, "output")
    parts = _content(output)
    said = "".join(part.content for part in parts if isinstance(part, Text))
    if not said and isinstance(output, dict):
        said = json_text(output)
    call_id = text(read(item, "call_id")) or text(read(item, "id"))
    return (ToolResponse(said, call_id), *(part for part in parts if not isinstance(part, Text)))


def _content(content: object) -> tuple[Part, ...]:
    if isinstance(content, str):
        return (Text(content),) if content else ()
    return tuple(part for piece in items(content) if piece is not None for part in _piece(piece))


def _piece(piece: object) -> tuple[Part, ...]:
    kind = text(read(piece, "type"))
    match kind:
        case "input_text" | "output_text" | "text":
            said = text(read(piece, "text"))
            return (Text(said),) if said else ()
        case "summary_text" | "reasoning_text":
            thought = text(read(piece, "text"))
            return (Reasoning(thought),) if thought else ()
        case "input_image" | "computer_screenshot":
            return (_image(piece, kind),)
        case "input_file":
            url = text(read(piece, "file_url"))
            return (linked("document", url) if url else read_file(piece),)
        case _:
            return read_parts([piece])  # as in chat completions, or unknown


def _image(piece: object, kind: str) -> Part:
    if url := text(read(piece, "image_url")):
        return linked("image", url)
    known = text(read(piece, "file_id"))
    return Media("image", known, "file") if known else Other(kind)


def is_compacted(output: Iterable[object]) -> bool:
    """Whether the vendor has shortened the conversation in this answer."""
    return any(read(item, "type") == "compaction" for item in output)
