"""Careful reads: any field of a server's answer may be missing, None or of an odd type, and no read raises for that."""

import json
import math
from collections.abc import Sequence
from typing import Final

_NO_FIELDS: Final[dict[str, object]] = {}
_MOST: Final = 10**12
"""A larger count is nonsense, and a few of them would make a sum that OTLP's 64 bits cannot carry."""


def read(source: object, name: str) -> object:
    """The field of a dict or of an SDK object; None where it is missing."""
    if isinstance(source, dict):  # not Mapping: an abstract type's check costs more than all the rest
        return source.get(name)
    return getattr(source, name, None)


def extras(source: object) -> dict[str, object]:
    """The fields that the SDK's type does not know, or all fields of a dict or plain object.

    Far cheaper than `read` for a field that is mostly missing: pydantic raises twice for one that it does not know.
    """
    if isinstance(source, dict):
        return source
    found = getattr(source, "__pydantic_extra__", None)
    if found is None:
        found = getattr(source, "__dict__", None)
    return found if isinstance(found, dict) else _NO_FIELDS


def items(value: object) -> Sequence[object]:
    """The value if it is a list or tuple of things, else nothing: an iterator is never consumed."""
    if value is None:  # most often; an abstract type's check is slow
        return ()
    if isinstance(value, list | tuple):
        return value
    return value if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray) else ()


def text(value: object) -> str | None:
    """The value if it is text with something in it: the same object, never a copy."""
    return value if isinstance(value, str) and value else None


def count(value: object) -> int | None:
    """The value if it is a whole number, 0 or more (some servers write `12.0`), and one that can be summed up."""
    if value is None:
        return None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST else None


def number(value: object) -> float | None:
    """The value if it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:  # an int may be larger than any float
        return None
    return found if math.isfinite(found) else None


def json_text(value: object) -> str:
    """JSON text as it came; some servers send arguments as an object, which is written as JSON."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def reasoning(source: object) -> str | None:
    """What the model thought, of a message or a delta.

    DeepSeek, vLLM and others use the first name; OpenRouter, Groq and Ollama the second; both at once say the same.
    """
    fields = extras(source)
    return text(fields.get("reasoning_content")) or text(fields.get("reasoning"))
