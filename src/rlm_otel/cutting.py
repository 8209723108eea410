"""JSON within a limit: cut inside the structure, so that it still parses; each step tries less until it fits."""

import json
from collections.abc import Iterable, Iterator
from typing import Final, TypeAlias

from rlm_otel.content import cut

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"
Shape: TypeAlias = dict[str, Json]

SHORTEST: Final = 32
"""No text is cut shorter than this before whole parts go."""


# Without a look for cycles: what is parsed from JSON, or built here, has none.
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode


def dumps(value: Json) -> str:
    """Compact JSON, readable in any alphabet."""
    return _encode(value)


def _first_that_fits(versions: Iterable[Json], limit: int) -> str:
    text = ""
    for version in versions:
        text = dumps(version)
        if len(text) <= limit:
            break
    return text


def fitted_message(message: Shape, limit: int) -> str:
    """A message's JSON within the limit: texts are cut first, then parts go, the first ones first."""
    if (least := _least(message)) > limit:  # to write all of it, only to see that it is too long, costs as much
        size = _longest(message) - (least - limit)
        while size >= SHORTEST:
            text = dumps(_shorter(message, size))
            if len(text) <= limit:
                return text
            size -= len(text) - limit  # what had to be escaped
    text = dumps(message)
    return text if len(text) <= limit else _first_that_fits(_smaller_messages(message, limit, len(text)), limit)


def fitted_object(shape: Shape, limit: int) -> str:
    """An object's JSON within the limit: texts are cut first, then it is `{"value": <the start of its JSON>}`."""
    text = dumps(shape)
    return text if len(text) <= limit else _first_that_fits(_smaller_objects(shape, limit, text), limit)


def fitted_list(shapes: list[Json], limit: int) -> str:
    """A list of objects as JSON within the limit: texts are cut first, then the last ones go."""
    text = dumps(shapes)
    return text if len(text) <= limit else _first_that_fits(_smaller_lists(shapes, limit, len(text)), limit)


def _smaller_messages(message: Shape, limit: int, length: int) -> Iterator[Json]:
    for size in _sizes(message, limit, length):
        yield _shorter(message, size)
    parts = message["parts"]
    assert isinstance(parts, list)
    parts = [{key: _flat(value) for key, value in part.items()} for part in parts if isinstance(part, dict)]
    while parts:
        yield {**message, "parts": parts}
        parts = parts[(len(parts) + 1) // 2 :]
    yield {**message, "parts": []}


def _smaller_objects(shape: Shape, limit: int, text: str) -> Iterator[Json]:
    for size in _sizes(shape, limit, len(text)):
        yield _shorter(shape, size)
    size = limit
    while size:
        yield {"value": cut(text, size)}
        size //= 2


def _smaller_lists(shapes: list[Json], limit: int, length: int) -> Iterator[Json]:
    for size in _sizes(shapes, limit, length):
        yield _shorter(shapes, size)
    while shapes:
        shapes = shapes[: len(shapes) // 2]
        yield _shorter(shapes, SHORTEST)


def _sizes(value: Json, limit: int, length: int) -> list[int]:
    """Lengths to cut texts to, longest first: what the longest alone must lose, and halves of the limit."""
    exact = _longest(value) - (length - limit)
    sizes = {exact, *(limit >> shift for shift in range(1, 16)), SHORTEST}
    return sorted((size for size in sizes if size >= SHORTEST), reverse=True)


def _least(value: Json) -> int:
    """How long its JSON is if nothing in it has to be escaped: never longer than it really is."""
    if isinstance(value, str):
        return len(value) + len('""')
    if isinstance(value, dict):
        return sum([len(key) + _least(item) + len('"":,') for key, item in value.items()]) + 1
    if isinstance(value, list):
        return sum([_least(item) + len(",") for item in value]) + 1
    return 1


def _longest(value: Json) -> int:
    if isinstance(value, str):
        return len(value)
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return max(map(_longest, items), default=0)


def _shorter(value: Json, size: int) -> Json:
    if isinstance(value, str):
        return cut(value, size)
    if isinstance(value, dict):
        return {key: _shorter(item, size) for key, item in value.items()}
    return [_shorter(item, size) for item in value] if isinstance(value, list) else value


def _flat(value: Json) -> Json:
    return cut(dumps(value), SHORTEST) if isinstance(value, dict | list) else _shorter(value, SHORTEST)
