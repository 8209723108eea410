"""What of a range of time Prometheus has recorded, said plainly: a total over days that are not there is no total."""

import math
from datetime import UTC, datetime
from typing import Final

from rlm_otel.views.durations import told
from rlm_otel.views.prometheus import Prometheus

_RECORDED: Final = 'up{job="prometheus"}'
"""One series that is there whenever Prometheus itself was."""
_MOST_STEPS: Final = 10_000  # it answers up to 11 000
_LEAST_STEP_S: Final = 120  # longer than anybody's scrape interval


def coverage_notes(prometheus: Prometheus, now_s: float, since_s: float) -> list[str]:
    """Sentences on what is missing; none if everything was recorded."""
    step_s = max(_LEAST_STEP_S, math.ceil(since_s / _MOST_STEPS))
    steps = math.floor(since_s / step_s)
    start_s = now_s - steps * step_s
    recorded = prometheus.times(f"count_over_time({_RECORDED}[{step_s}s])", start_s, now_s, step_s)
    if not recorded:
        return [
            "whether everything was recorded cannot be told: this Prometheus has no series "
            f"{_RECORDED} in this range (it does not scrape itself, or did not run)"
        ]
    missing = _runs(sorted(set(range(steps + 1)) - recorded))
    notes = []
    if missing and missing[0][0] == 0:
        first_s = start_s + (missing.pop(0)[1]) * step_s
        notes.append(_beginning(prometheus, now_s, since_s, first_s))
    if missing:
        lost_s = sum(last - first + 1 for first, last in missing) * step_s
        longest = max(missing, key=lambda run: run[1] - run[0])
        notes.append(
            f"Prometheus recorded nothing for at least {told(lost_s)} in {len(missing)} "
            f"gap{'s' if len(missing) > 1 else ''}, the longest from {_date(start_s + (longest[0] - 1) * step_s)} on: "
            "processes that lived only then are not counted"
        )
    return notes


def _beginning(prometheus: Prometheus, now_s: float, since_s: float, first_s: float) -> str:
    """The range begins with nothing: before everything that is kept, or in a gap."""
    window = f"{round(since_s)}s"
    if prometheus.at(now_s, f"count_over_time({_RECORDED}[{window}] offset {window})"):
        return (
            f"Prometheus recorded nothing from the beginning of the range until {_date(first_s)}: processes that "
            "already ran then count from their start, not from the beginning"
        )
    kept_s = prometheus.retention_s()
    keeps = f" (it keeps {told(kept_s)})" if kept_s else ""
    return (
        f"Prometheus has nothing from before {_date(first_s)}{keeps}: the figures cover at most "
        f"{told(now_s - first_s)} of the {told(since_s)} asked for, and of processes that already ran then all "
        "since their start"
    )


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Consecutive numbers as (first, last)."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _date(time_s: float) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC).astimezone():%Y-%m-%d %H:%M}"
