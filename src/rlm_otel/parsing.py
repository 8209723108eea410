"""Text that may be JSON, as a value."""

import json
import math
from typing import Final

from rlm_otel.cutting import Json


def parsed(text: str) -> Json:
    """The object or list that it is the JSON of; any other text as it is. RecursionError where it is too deep."""
    if text.lstrip()[:1] not in ("{", "["):
        return text
    try:
        value: Json = _decode(text)
    except ValueError:
        return text
    return value


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError("JSON has no infinity and no NaN")
    return value


_decode: Final = json.JSONDecoder(parse_constant=_finite, parse_float=_finite).decode
