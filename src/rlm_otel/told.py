"""What an application tells of its own work, in our words: messages, token counts, finish reasons, cost."""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Final

from rlm_otel.messages import Message, Text
from rlm_otel.outcome import Usage
from rlm_otel.plain_json import json_of
from rlm_otel.reader import read_messages, read_usage
from rlm_otel.reader.fields import count

_OURS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
_ANTHROPIC: Final = ("cache_read_input_tokens", "cache_creation_input_tokens")


def told_messages(given: object) -> tuple[Message, ...]:
    """A prompt: text, messages in the OpenAI API's words, or any other value as JSON."""
    if given is None:
        return ()
    if isinstance(given, list | tuple) and given and all(map(_is_message, given)):
        return read_messages(given)
    return (Message("user", (Text(json_of(given)),)),)


def _is_message(value: object) -> bool:
    return isinstance(value, Mapping) and "role" in value


def told_usage(usage: Usage | Mapping[str, object] | None) -> Usage | None:
    """The counts, those that are missing None.

    Of vendors' blocks it knows OpenAI's (`prompt_tokens`..., or `input_tokens` with `input_tokens_details`) and
    Anthropic's, whose `input_tokens` leave the cached ones out. Raises TypeError or ValueError for what is none.
    """
    if usage is None or isinstance(usage, Usage):
        return usage
    block = _mapping(usage)
    if not block:  # a server that counts none
        return None
    if "prompt_tokens" in block or "completion_tokens" in block:
        _check(block, ("prompt_tokens", "completion_tokens", "total_tokens"))
        return read_usage(block)
    counts = _check(block, (*_OURS, *_ANTHROPIC))
    if not counts:
        msg = f"usage={usage!r} counts no tokens; name them {', '.join(_OURS)}"
        raise ValueError(msg)
    read, written = (counts.pop(name, None) for name in _ANTHROPIC)
    if read is not None or written is not None:
        counts.setdefault("cache_read_tokens", read or 0)
        counts.setdefault("cache_write_tokens", written or 0)
        if "input_tokens" in counts:
            counts["input_tokens"] += (read or 0) + (written or 0)
    for details, name, field in (
        ("input_tokens_details", "cached_tokens", "cache_read_tokens"),
        ("input_tokens_details", "cache_write_tokens", "cache_write_tokens"),
        ("output_tokens_details", "reasoning_tokens", "reasoning_tokens"),
    ):
        within = block.get(details)
        if isinstance(within, Mapping):
            for number in _check(within, (name,)).values():
                counts.setdefault(field, number)
    return Usage(
        input_tokens=counts.get("input_tokens"),
        output_tokens=counts.get("output_tokens"),
        cache_read_tokens=counts.get("cache_read_tokens"),
        cache_write_tokens=counts.get("cache_write_tokens"),
        reasoning_tokens=counts.get("reasoning_tokens"),
    )


def _mapping(usage: object) -> dict[str, object]:
    if not isinstance(usage, Mapping):
        msg = f"usage={usage!r} is no mapping; write e.g. usage={{'input_tokens': 12, 'output_tokens': 3}}"
        raise TypeError(msg)
    return dict(usage)


def _check(block: Mapping[str, object], names: tuple[str, ...]) -> dict[str, int]:
    """The counts that the block has under these names."""
    counts: dict[str, int] = {}
    for name in names:
        value = block.get(name)
        if value is None:
            continue
        number = count(value)
        if number is None:
            msg = f"usage: {name}={value!r} is no number of tokens; give a whole number from 0"
            raise ValueError(msg)
        counts[name] = number
    return counts


def told_cost(cost: object) -> float | None:
    """The cost in USD; raises ValueError for what is none."""
    if cost is None:
        return None
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not 0 <= cost < float("inf"):
        msg = f"cost={cost!r} is no amount; give US dollars from 0, or None where it is unknown"
        raise ValueError(msg)
    return float(cost)


def told_reasons(given: object) -> tuple[str, ...]:
    """The finish reasons, one a choice, also as members of a vendor's enum. Raises TypeError for what is none."""
    if given is None:
        return ()
    if isinstance(given, str | Enum) or not isinstance(given, Iterable):
        return (_reason(given, given),)
    return tuple(_reason(one, given) for one in given)


def _reason(one: object, given: object) -> str:
    if isinstance(one, Enum):
        one = one.value if isinstance(one.value, str) else one.name
    if isinstance(one, str):
        return one
    msg = f"finish_reason={given!r}: give the vendor's word, such as 'stop', or one for each choice"
    raise TypeError(msg)
