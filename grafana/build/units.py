"""The units of the panels, by Grafana's names, how a number is written in them, and the marks of an axis."""

import math
import time
from typing import Final

COUNT: Final = "short"
SHARE: Final = "percentunit"
SECONDS: Final = "s"
DOLLARS: Final = "currencyUSD"
PER_MINUTE: Final = "cpm"


def ticks(most: float) -> list[float]:
    """Round figures for an axis that begins at 0: three to six of them, the last at or above `most`."""
    rough = most / 4 or 0.25
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough * (1 - 1e-9))
    return [step * number for number in range(math.ceil(most / step - 1e-9) + 1 if most else 5)]


def moments(start_s: float, range_s: int) -> list[tuple[float, str]]:
    """Times to write below an axis, each with its text: whole minutes or days apart where that can be."""
    unit_s, form = (60, "%H:%M") if range_s <= 86400 else (86400, "%d.%m.")
    parts = next((number for number in (6, 7, 5) if range_s % (number * unit_s) == 0), 4)
    times = [start_s + range_s * part / parts for part in range(parts + 1)]
    return [(at, time.strftime(form, time.localtime(at))) for at in times]


def figure(value: float, unit: str) -> str:
    """A number as Grafana would write it in this unit."""
    if math.isinf(value):
        return "∞"
    if unit == SHARE:
        return f"{value * 100:.3g} %"
    if unit == SECONDS:
        size, name = next(((s, n) for s, n in ((3600, "h"), (60, "min"), (1, "s")) if abs(value) >= s), (0.001, "ms"))
        return f"{value / size:.3g} {name}" if value else "0 s"
    size, name = next(((s, n) for s, n in ((1e9, "B"), (1e6, "M"), (1e3, "K")) if abs(value) >= s), (1, ""))
    text = f"{value / size:.3g} {name}".strip() if abs(value) >= 1e-3 or not value else f"{value:.1g}"
    return {DOLLARS: f"${text}", PER_MINUTE: f"{text} /min"}.get(unit, text)
