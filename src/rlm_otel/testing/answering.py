"""What an `Answer` comes to on any endpoint: its texts, its finish reason, and the tokens that are counted."""

import json
import re
from collections.abc import Iterator
from typing import Final

from rlm_otel.testing.script import Answer, Json, Tokens, Tool

CREATED: Final = 1_700_000_000
ARGUMENT_PIECE: Final = 8
"""Characters of a tool call's arguments in each piece of a stream."""


def texts_of(answer: Answer, request: Json) -> list[str]:
    """The text of each choice."""
    if isinstance(answer.text, tuple):
        return list(answer.text)
    text = answer.text or "".join(piece or "" for piece in answer.chunks or ())
    return [text] * (answer.choices or request.get("n") or 1)


def reason_of(answer: Answer, index: int) -> str | None:
    """The finish reason of a choice."""
    if isinstance(answer.finish_reason, tuple):
        return answer.finish_reason[index]
    return answer.finish_reason or ("tool_calls" if answer.tool_calls else "stop")


def arguments_of(tool: Tool) -> str:
    """The JSON text of a tool call's arguments."""
    return tool.arguments if isinstance(tool.arguments, str) else json.dumps(tool.arguments, ensure_ascii=False)


def call_id_of(tool: Tool, number: int, index: int) -> str:
    """The vendor's id of a tool call."""
    return tool.id or f"call_{number}_{index}"


def counted(answer: Answer, request: Json, texts: list[str]) -> Tokens | None:
    """The usage that the answer reports, counted in words where it names none."""
    if answer.usage != "counted":
        return answer.usage
    arguments = (tool.arguments for tool in answer.tool_calls)
    said = [*texts, answer.reasoning or "", answer.refusal or "", *map(str, arguments)]
    return Tokens(input=sum(map(_length, _asked(request))), output=sum(map(_length, said)))


def _length(asked: str | int) -> int:
    return len(asked.split()) if isinstance(asked, str) else 1


def _asked(request: Json) -> Iterator[str | int]:
    """The texts of a request to any endpoint; of a prompt that is token numbers, the numbers."""
    for name in ("instructions", "messages", "input", "prompt"):
        yield from _within(request.get(name))


def _within(asked: object) -> Iterator[str | int]:
    if isinstance(asked, str | int):
        yield asked
    elif isinstance(asked, list):
        for one in asked:
            yield from _within(one)
    elif isinstance(asked, dict):
        yield from message_texts(asked)


def message_texts(message: Json) -> Iterator[str]:
    """The texts of one message of a request: its content, or the text parts of it."""
    content = message.get("content")
    if isinstance(content, str):
        yield content
    elif isinstance(content, list):
        parts = (part for part in content if isinstance(part, dict))
        yield from (part["text"] for part in parts if isinstance(part.get("text"), str))


def last_text(request: Json) -> str:
    """The text of the last message, input or prompt of a request, empty if it has none."""
    for name in ("messages", "input", "prompt"):
        asked = request.get(name)
        if asked:
            last = asked[-1] if isinstance(asked, list) else asked
            return "".join(text for text in _within(last) if isinstance(text, str))
    return ""


def usage_body(usage: Tokens) -> Json:
    """A usage block as chat and text completions have it."""
    body: Json = {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
    }
    prompt = present(cached_tokens=usage.cached, cache_write_tokens=usage.cache_write)
    output = present(reasoning_tokens=usage.reasoning)
    return body | present(
        prompt_tokens_details=prompt or None, completion_tokens_details=output or None, cost=usage.cost
    )


def present(**values: object) -> Json:
    """Those that are not None."""
    return {key: value for key, value in values.items() if value is not None}


def words(text: str) -> list[str]:
    """The text cut behind each word; joined again it is the same text."""
    return re.findall(r"\S+\s*|\s+", text)
