"""Prompts and replies as tuples of frozen parts: they hold the strings of the SDK's objects, never copies of them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text, written by a person or a model."""

    content: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """What a model thought before it answered, where the vendor shows it."""

    content: str


@dataclass(frozen=True, slots=True)
class ToolRequest:
    """A tool call that a model asks for; `arguments` is the JSON text as it came."""

    name: str
    arguments: str
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class ToolResponse:
    """The text that went back to the model for one tool call."""

    content: str
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class ServerTool:
    """A tool call that the vendor itself executes; `arguments` is the text as it came, `type` the vendor's word."""

    name: str
    type: str
    arguments: str = ""
    call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Media:
    """An image, sound or document; what `source` is, `held_as` tells."""

    modality: str
    source: str
    held_as: str
    """`uri`, `blob` (base64 text or a data URL) or `file`."""
    mime_type: str | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """A part of a kind that we do not know; only its vendor type is kept."""

    type: str


Part = Text | Reasoning | ToolRequest | ToolResponse | ServerTool | Media | Other


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a prompt, or one choice of a reply.

    `role` is `system`, `user`, `assistant`, `tool`, or the vendor's word.
    """

    role: str
    parts: tuple[Part, ...]
    name: str | None = None

    @property
    def text(self) -> str:
        """The plain text of the message, its parts joined; reasoning, media and tool calls are left out."""
        return "".join(part.content for part in self.parts if isinstance(part, Text | ToolResponse))


@dataclass(frozen=True, slots=True)
class ToolDefinition:
    """A tool offered to a model."""

    name: str
    type: str = "function"
    description: str | None = None


def prompt_text(messages: tuple[Message, ...]) -> str:
    """The text of the last user message, else of the last message: what a person would call the prompt."""
    for message in reversed(messages):
        if message.role == "user":
            return message.text
    return messages[-1].text if messages else ""
