"""PromQL that is exact for counters of processes which come and go, and Prometheus' names for ours."""

import re
from collections.abc import Sequence


def exact_increase(selector: str, window: str, by: Sequence[str] = (), *, ahead: bool = False) -> str:
    """By how much a counter (or `_bucket`, `_sum`, `_count`) grew within `window`, summed over the processes.

    `rate` and `increase` miss the first value of a series, and with it everything that a process counted which ended
    before its second export. Each process is a series of its own that starts at zero, so the last value less that of
    a window ago is exact; a series that did not exist then counts in full, and so does one that began again (`>= 0`).
    `by`: labels to group by. `ahead`: within the window that begins at each point instead of the one that ends there;
    for bars of whole days.
    """
    last = f"last_over_time({selector}[{window}]{f' offset -{window}' if ahead else ''})"
    before = selector if ahead else f"{selector} offset {window}"
    summed = f"sum by ({', '.join(by)}) " if by else "sum"
    return f"{summed}((({last} - {before}) >= 0) or {last})"


def counter(name: str) -> str:
    """How Prometheus calls a counter of ours, whose units in braces it drops."""
    return f"{label(name)}_total"


def label(name: str) -> str:
    """How Prometheus calls an attribute: `gen_ai.request.model` is `gen_ai_request_model`."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", name)
