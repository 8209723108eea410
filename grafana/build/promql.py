"""The few forms of PromQL that all panels are made of."""

from typing import Final

from grafana.build import names
from rlm_otel.views.promql import exact_increase

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
