"""Any value of the application as JSON text: bounded, and without calling code of objects that we do not know."""

import json
from dataclasses import fields, is_dataclass
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Final
from uuid import UUID

from rlm_otel.content import LIMIT_CHARS, MARK
from rlm_otel.fence import fence

_MOST_CHARS: Final = 2 * LIMIT_CHARS
_WRITTEN_OUT: Final = (date, time, timedelta, Decimal, UUID, PurePath, BaseException)


def json_of(value: object) -> str:
    """Its JSON text, of a text itself; what is too long ends in `...`, what no JSON knows is the name of its class.

    The text of a foreign object is never asked for: a lazy query would run, a remote one would block.
    """
    if isinstance(value, str):
        return value
    with fence("rlm_otel", "json", quiet=True):  # a mapping or model of the application may do anything
        return _bounded(value)
    return _class_of(value)


def _bounded(value: object) -> str:
    encoder = json.JSONEncoder(ensure_ascii=False, default=_plain, skipkeys=True)
    pieces: list[str] = []
    length = 0
    for piece in encoder.iterencode(value):
        pieces.append(piece)
        length += len(piece)
        if length > _MOST_CHARS:
            return "".join(pieces)[:_MOST_CHARS] + MARK
    return "".join(pieces)


def _plain(value: object) -> object:
    """The value in words that JSON knows."""
    dump = getattr(type(value), "model_dump", None)
    if callable(dump):
        return dump(value, mode="json")  # pydantic's
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, _WRITTEN_OUT):
        return str(value)
    if isinstance(value, bytes | bytearray):
        return f"<{len(value)} bytes>"
    if isinstance(value, set | frozenset):
        return list(value)
    return _class_of(value)


def _class_of(value: object) -> str:
    return f"<{type(value).__module__}.{type(value).__qualname__}>"
