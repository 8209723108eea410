"""The few forms of PromQL that all panels are made of.

`rate` and `increase` miss the first value of a series, and with it everything that a process counted which ended before
its second export. Every process has its own `service.instance.id`, so each series starts at zero: what it says now less
what it said before the window is exact, and `exact_increase` says just that.
"""

from typing import Final

from grafana.build import names

RANGE: Final = "$__range"
RATE: Final = "$__rate_interval"
_RATE_SECONDS: Final = "($__rate_interval_ms / 1000)"

SCOPE: Final = (f'{names.SERVICE}=~"$service"', f'{names.ENVIRONMENT}=~"$environment"')
"""Matchers for the variables that every metric has labels for."""
CALLS: Final = (*SCOPE, f'{names.PROVIDER}=~"$provider"', f'{names.MODEL}=~"$model"')
"""Matchers for the metrics of model calls."""
RUNS: Final = (*SCOPE, f'{names.AGENT}=~"$agent"')
"""Matchers for the metrics of runs and tools."""
LABELLED: Final = (*CALLS, f'{names.TEAM}=~"$team"', f'{names.FEATURE}=~"$feature"')
"""Matchers for `rlm.client.*`, where the application declared the labels team and feature."""


def select(series: str, *matchers: str) -> str:
    """A selector."""
    return f"{series}{{{', '.join(matchers)}}}"


def exact_increase(selector: str, window: str, by: tuple[str, ...] = (), *, ahead: bool = False) -> str:
    """By how much a counter (or `_bucket`, `_sum`, `_count`) grew within `window`, summed over the processes.

    `ahead`: within the window that begins at each point instead of the one that ends there; for bars of whole days.
    The `>= 0` catches a process that began again at zero under the same instance id.
    """
    last = f"last_over_time({selector}[{window}]{f' offset -{window}' if ahead else ''})"
    before = selector if ahead else f"{selector} offset {window}"
    return total(f"(({last} - {before}) >= 0) or {last}", by)


def exact_rate(selector: str, by: tuple[str, ...] = (), *, seconds: int = 1) -> str:
    """The same growth per `seconds` (60: per minute), over the rate interval that Grafana chooses."""
    factor = f"{seconds} * " if seconds != 1 else ""
    return f"{factor}{exact_increase(selector, RATE, by)} / {_RATE_SECONDS}"


def total(expr: str, by: tuple[str, ...] = (), *, how: str = "sum") -> str:
    """An aggregation."""
    return f"{how} by ({', '.join(by)}) ({expr})" if by else f"{how}({expr})"


def quantile(q: float, bucket: str, window: str, by: tuple[str, ...] = ()) -> str:
    """A quantile of a histogram's values within `window`; nothing while there are none."""
    return f"histogram_quantile({q:g}, {exact_increase(bucket, window, ('le', *by))})"


def ratio(part: str, whole: str, *, fill: bool = True) -> str:
    """`part / whole` where `whole` is not 0; `fill`: a missing part is 0 (no error was ever counted), not missing."""
    numerator = or_zero(part, whole) if fill else part
    return f"({numerator}) / ({whole} > 0)"


def or_zero(part: str, whole: str) -> str:
    """`part`, or 0 for each series that only `whole` has: a counter without an event does not exist at all."""
    return f"{part} or 0 * {whole}"
