"""Most of what is said is short and holds no secret: then all of it is looked at, and written, at once."""

from collections.abc import Sequence
from typing import Final

from rlm_otel.content import Policy, encodable
from rlm_otel.cutting import dumps
from rlm_otel.messages import Message, Part, Reasoning, Text, ToolRequest, ToolResponse
from rlm_otel.parsing import parsed

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool"})
"""Those that the conventions know."""
_FRAME: Final = 30
"""About as many characters has a message, or a part of it, without what is said in it."""


def short_json(messages: Sequence[Message], policy: Policy) -> str | None:
    """Messages as JSON, where nothing is to be taken out of them or cut off; else None, mostly before much was done."""
    if policy.redactor.hooked or len(messages) * _FRAME > policy.limit_chars:
        return None
    texts = _texts(messages)
    if texts is None or sum([len(text) + _FRAME for text in texts]) > policy.limit_chars:
        return None
    if not policy.redactor.passes(texts):
        return None
    try:
        written = f"[{','.join([_message(message) for message in messages])}]"
    except RecursionError:
        return None
    return encodable(written) if len(written) <= policy.limit_chars else None


def _texts(messages: Sequence[Message]) -> list[str] | None:
    """All that would be looked at in them; None where that is not to be seen at once.

    In JSON with escapes a secret may be written in another way.
    """
    texts = list[str]()
    for message in messages:
        if message.role not in ROLES or message.name is not None:
            return None
        for part in message.parts:
            if isinstance(part, Text | Reasoning):
                texts.append(part.content)
                continue
            if not isinstance(part, ToolRequest | ToolResponse) or len(part.call_id or "") > _FRAME * 2:
                return None
            said = part.content if isinstance(part, ToolResponse) else part.arguments
            if "\\" in said:
                return None
            texts.append(said)
            if isinstance(part, ToolRequest):
                texts.append(part.name)
    return texts


def _message(message: Message) -> str:
    return f'{{"role":"{message.role}","parts":[{",".join([_part(part) for part in message.parts])}]}}'


def _part(part: Part) -> str:
    """One of those that have texts; no key in a tool's JSON names a secret, since no text holds such a word."""
    if isinstance(part, Text):
        return f'{{"type":"text","content":{dumps(part.content)}}}'
    if isinstance(part, Reasoning):
        return f'{{"type":"reasoning","content":{dumps(part.content)}}}'
    assert isinstance(part, ToolRequest | ToolResponse)
    called = "" if part.call_id is None else f'"id":{dumps(part.call_id)},'
    if isinstance(part, ToolResponse):
        return f'{{"type":"tool_call_response",{called}"response":{dumps(parsed(part.content))}}}'
    wanted = f',"arguments":{dumps(parsed(part.arguments))}' if part.arguments else ""
    return f'{{"type":"tool_call",{called}"name":{dumps(part.name)}{wanted}}}'
