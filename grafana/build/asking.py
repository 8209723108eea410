"""Asks a Prometheus what a panel would ask it, as Grafana would: ranges on a grid of steps, instants at the end."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

from grafana.build.expressions import fill_in

_DAY_S = 86400


@dataclass(frozen=True, slots=True)
class Answer:
    """One series: its labels, its name in the legend, and its points (time in seconds since 1970, value)."""

    labels: Mapping[str, str]
    legend: str
    points: list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Asker:
    """A Prometheus at `address`, and the time that a dashboard shows: `range_s` seconds that end at `end_s`.

    `export_s`: how often the applications export, as Grafana's data source has it in `timeInterval`.
    """

    address: str
    end_s: float
    range_s: int
    export_s: int = 15

    def over(self, panel: Mapping[str, Any]) -> "Asker":
        """The same for one panel: bars of days are shown for a week at least."""
        return replace(self, range_s=max(self.range_s, 7 * _DAY_S)) if panel.get("interval") == "1d" else self

    def step_s(self, panel: Mapping[str, Any]) -> int:
        """From point to point of a panel."""
        return _DAY_S if panel.get("interval") == "1d" else max(self.export_s, self.range_s // 120)

    def ask(self, panel: Mapping[str, Any]) -> dict[str, list[Answer]]:
        """The answers to each query of a panel, by its reference; a series without a number is left out."""
        return {target["refId"]: self._answers(target, self.step_s(panel)) for target in panel.get("targets", ())}

    def _answers(self, target: Mapping[str, Any], step_s: int) -> list[Answer]:
        rate_s = max(step_s + self.export_s, 4 * self.export_s)
        query = fill_in(target["expr"], rate_interval_s=rate_s, range_s=self.range_s)
        if target["instant"]:
            found = self._get("query", {"query": query, "time": self.end_s})
        else:
            start, end = ((self.end_s - before) // step_s * step_s for before in (self.range_s, 0))
            found = self._get("query_range", {"query": query, "start": start, "end": end, "step": step_s})
        answers = [_answer(one, target["legendFormat"]) for one in found]
        return [one for one in answers if one.points]

    def _get(self, what: str, asked: Mapping[str, object]) -> list[dict[str, Any]]:
        with urlopen(f"{self.address.rstrip('/')}/api/v1/{what}?{urlencode(asked)}", timeout=30) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result


def _answer(one: Mapping[str, Any], legend: str) -> Answer:
    labels: dict[str, str] = one["metric"]
    points = [(at, float(text)) for at, text in one.get("values", [one.get("value")])]
    name = re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), legend)
    return Answer(labels, name, [(at, value) for at, value in points if math.isfinite(value)])
