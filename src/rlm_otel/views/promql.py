"""PromQL that is exact for counters of processes which come and go, and Prometheus' names for ours."""

import re


def total(metric: str, by: str, window: str) -> str:
    """What a counter grew by in the window, summed over the labels in `by` (`a, b`; empty for all together).

    `increase` misses the first value of a series, hence all of a process that makes one call and exits. Each process
    is a series of its own that starts at zero, so the last value minus that of a window ago is exact; a series that
    did not exist then counts in full, and so does one that began anew (`>= 0`).
    """
    grown = f"((last_over_time({metric}[{window}]) - ({metric} offset {window})) >= 0)"
    return f"sum by ({by}) ({grown} or last_over_time({metric}[{window}]))"


def counter(name: str) -> str:
    """How Prometheus calls a counter of ours, whose units in braces it drops."""
    return f"{label(name)}_total"


def label(name: str) -> str:
    """How Prometheus calls an attribute."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)
