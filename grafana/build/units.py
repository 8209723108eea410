"""The units of the panels, by Grafana's names, and how a number is written in them."""

import math
from typing import Final

COUNT: Final = "short"
SHARE: Final = "percentunit"
SECONDS: Final = "s"
DOLLARS: Final = "currencyUSD"
PER_MINUTE: Final = "cpm"


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
