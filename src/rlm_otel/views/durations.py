"""Durations as people type them, `90s`, `1h30m`, `30d`, and as they are told."""

import re
from typing import Final

_SECONDS: Final = {"w": 604800.0, "d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|[wdhms])")
EXAMPLES: Final = "write it like 90s, 30m, 1h30m, 7d or 500ms"


def seconds_of(text: str) -> float | None:
    """How many seconds; None if it is no duration."""
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def told(seconds: float) -> str:
    """In the largest unit that leaves a whole number, else in two units: `30 d`, `1 h 30 min`, `45 s`."""
    left, said = round(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            said.append(f"{count} {unit}")
    return " ".join(said[:2]) or "0 s"
