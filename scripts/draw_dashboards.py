"""Draws the dashboards as SVG from their checked-in JSON and the answers of a real Prometheus.

This is not Grafana's own rendering: the same panels, queries, units and legends, drawn by this script, so that one can
see whether a panel is empty, its legend readable and its unit right where there is no Grafana.
    python scripts/draw_dashboards.py http://localhost:9090 --minutes 15 --into docs/pictures
"""

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from grafana.build.asking import Answer, Asker
from grafana.build.expressions import DASHBOARDS
from grafana.build.units import figure, moments, ticks

UNIT_X, UNIT_Y, GAP, LEFT = 60, 34, 8, 60
PLAIN, PALE = "#ccccdc", "#8e8e9b"
COLORS = ["#73bf69", "#f2cc0c", "#5794f2", "#ff780a", "#f2495c", "#b877d9", "#37872d", "#8ab8ff", "#ffa6b0"]
NAMED = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2", "purple": "#b877d9"}
Panel = Mapping[str, Any]


def words(x: float, y: float, text: str, size: int = 11, fill: str = PLAIN, anchor: str = "start") -> str:
    """A line of text."""
    place = f'x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
    return f'<text {place} fill="{fill}">{escape(text)}</text>'


def box(x: float, y: float, w: float, h: float, fill: str, opacity: float = 1) -> str:
    """A rectangle."""
    size = f'width="{max(w, 0):.1f}" height="{max(h, 0):.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{fill}" fill-opacity="{opacity:.2f}"/>'


def colored(value: float, thresholds: Panel | None) -> str:
    """The colour of the highest threshold that is reached."""
    steps = (thresholds or {}).get("steps", [])
    reached = [one["color"] for one in steps if one["value"] is None or value >= one["value"]]
    return NAMED[reached[-1]] if reached else PLAIN


class Plot:
    """The area of a time series or heat map: times to the right, values from 0 to `top` upwards."""

    def __init__(self, asker: Asker, width: float, bottom: float, top: float) -> None:
        self.start, self.range, self.width = asker.end_s - asker.range_s, asker.range_s, width - LEFT - 10
        self.bottom, self.top = bottom, top

    def x(self, at: float) -> float:
        """Where a time is."""
        return LEFT + self.width * min(max((at - self.start) / self.range, 0), 1)

    def y(self, value: float) -> float:
        """Where a value is."""
        return self.bottom - (self.bottom - 30) * value / self.top

    def times(self) -> Iterator[str]:
        """Some times of the day, or days, below."""
        for at, text in moments(self.start, self.range):
            yield words(self.x(at), self.bottom + 14, text, 10, PALE, "middle")


def draw_lines(panel: Panel, series: list[Answer], w: float, h: float, asker: Asker) -> Iterator[str]:
    """A time series, as lines or stacked bars, with its legend below."""
    defaults = panel["fieldConfig"]["defaults"]
    bars = defaults["custom"].get("drawStyle") == "bars"
    below: dict[float, float] = {}
    for at, value in (point for one in series for point in one.points):
        below[at] = below.get(at, 0) + value if bars else max(below.get(at, 0), value)
    marks = ticks(defaults.get("max") or max(below.values()))
    columns = 2 if len(series) > 4 and max(len(one.legend) for one in series) * 6 + 24 < w / 2 else 1
    rows = math.ceil(len(series) / columns)
    plot = Plot(asker, w, h - 22 - 14 * rows, marks[-1])
    for value in marks:
        text = words(LEFT - 4, plot.y(value) + 4, figure(value, defaults["unit"]), 10, PALE, "end")
        yield box(LEFT, plot.y(value), plot.width, 0.5, "#333342") + text
    yield from plot.times()
    fixed = {one["matcher"]["options"]: one["properties"][0]["value"] for one in panel["fieldConfig"]["overrides"]}
    for index, one in enumerate(series):
        color = NAMED[fixed[one.legend]["fixedColor"]] if one.legend in fixed else COLORS[index % len(COLORS)]
        if bars:
            for at, value in one.points:
                y, below[at] = plot.y(below[at]), below[at] - value  # from the top down
                wide = plot.x(at + asker.step_s(panel)) - plot.x(at) - 1
                yield box(plot.x(at), y, wide, plot.bottom - plot.y(value), color)
        else:
            points = [(plot.x(at), plot.y(value)) for at, value in one.points]
            yield f'<path d="M{"L".join(f"{x:.1f},{y:.1f}" for x, y in points)}" fill="none" stroke="{color}"/>'
            yield "".join(box(x - 1, y - 1, 2, 2, color) for x, y in points)
        x, y = 14 + (index // rows) * (w - 20) / 2, plot.bottom + 30 + 14 * (index % rows)
        yield box(x, y - 7, 10, 3, color) + words(x + 14, y - 2, one.legend)


def draw_heatmap(panel: Panel, series: list[Answer], w: float, h: float, asker: Asker) -> Iterator[str]:
    """Cells of the differences between neighbouring buckets, which arrive as sums of all below."""
    ordered = sorted(series, key=lambda one: float(one.labels["le"]))
    step, plot = asker.step_s(panel), Plot(asker, w, h - 26, len(ordered))
    below: dict[float, float] = {}
    cells: list[tuple[int, float, float]] = []
    for row, one in enumerate(ordered):
        cells += [(row, at, value - below.get(at, 0)) for at, value in one.points]
        below = dict(one.points)
        name = figure(float(one.labels["le"]), panel["fieldConfig"]["defaults"]["unit"])
        yield words(LEFT - 4, plot.y(row + 0.2), name, 9, PALE, "end")
    most = max(value for *_, value in cells)
    for row, at, value in cells:
        if value > 1e-9:
            tall, wide = plot.y(row) - plot.y(row + 1) - 1, plot.x(at) - plot.x(at - step) - 0.5
            yield box(plot.x(at - step), plot.y(row + 1), wide, tall, "#ff9830", 0.15 + 0.85 * (value / most) ** 0.5)
    yield from plot.times()


def draw_stat(panel: Panel, series: list[Answer], w: float, h: float) -> str:
    """One big number."""
    defaults, value = panel["fieldConfig"]["defaults"], series[0].points[-1][1]
    fill = colored(value, defaults["thresholds"])
    return words(w / 2, h / 2 + 22, figure(value, defaults["unit"]), 30, fill, "middle")


def draw_table(panel: Panel, columns: Mapping[str, list[Answer]], w: float, h: float) -> Iterator[str]:
    """A line for each combination of labels; the panel's own overrides name its columns and their units."""
    overrides = panel["fieldConfig"]["overrides"]
    fields = {one["matcher"]["options"]: {item["id"]: item["value"] for item in one["properties"]} for one in overrides}
    rows: dict[tuple[str, ...], dict[str, float]] = {}
    for ref, answers in columns.items():
        for one in answers:
            key = tuple(one.labels.get(name, "") for name in fields)
            rows.setdefault(key, {})[f"Value #{ref}"] = one.points[-1][1]
    by = next(name for name in fields if fields[name]["displayName"] == panel["options"]["sortBy"][0]["displayName"])
    lines = sorted(rows.items(), key=lambda row: -row[1].get(by, 0))[: int((h - 60) / 20)]
    shares = [max(len(field["displayName"]), 8 if "unit" in field else 14) for field in fields.values()]
    for index, (name, field) in enumerate(fields.items()):
        x = 12 + (w - 20) * sum(shares[:index]) / sum(shares)
        yield words(x, 44, field["displayName"], 11, "#6e9fff")
        for line, (key, values) in enumerate(lines):
            value = values.get(name)
            text = key[index] if value is None else figure(value, field["unit"])
            fill = PLAIN if value is None else colored(value, field.get("thresholds"))
            yield words(x, 66 + 20 * line, text[: int(w * shares[index] / sum(shares) / 6.5)], 11, fill)


def draw_panel(panel: Panel, asker: Asker) -> Iterator[str]:
    """One panel in its place; `no data` where Prometheus has none."""
    asker = asker.over(panel)
    place, title = panel["gridPos"], re.sub(r"\$\w+", "all", panel["title"])
    w, h = place["w"] * UNIT_X - GAP, place["h"] * UNIT_Y - GAP
    yield f'<g transform="translate({place["x"] * UNIT_X + GAP},{place["y"] * UNIT_Y + 44})">'
    found = asker.ask(panel)
    series = [one for answers in found.values() for one in answers]
    if panel["type"] != "row":
        yield box(0, 0, w, h, "#181b1f") + ("" if series else words(w / 2, h / 2, "no data", 14, PALE, "middle"))
    yield words(10, 20, title, 13, "#ffffff")
    match panel["type"] if series else "empty":
        case "timeseries":
            yield from draw_lines(panel, series, w, h, asker)
        case "heatmap":
            yield from draw_heatmap(panel, series, w, h, asker)
        case "stat":
            yield draw_stat(panel, series, w, h)
        case "table":
            yield from draw_table(panel, found, w, h)
    yield "</g>"


def draw(board: Panel, asker: Asker) -> str:
    """A whole dashboard as SVG."""
    places = [panel["gridPos"] for panel in board["panels"]]
    w, h = 24 * UNIT_X + GAP, max(place["y"] + place["h"] for place in places) * UNIT_Y + 48
    inside = "\n".join(part for panel in board["panels"] for part in draw_panel(panel, asker))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" font-family="sans-serif">'
    return f"{head}\n{box(0, 0, w, h, '#111217')}{words(GAP, 28, board['title'], 18, '#ffffff')}\n{inside}\n</svg>\n"


def main(arguments: list[str]) -> int:
    """Writes one picture for each dashboard."""
    parser = argparse.ArgumentParser(description="Draws the dashboards; this is not Grafana's own rendering.")
    parser.add_argument("address", help="of Prometheus, e.g. http://localhost:9090")
    parser.add_argument("--minutes", type=int, default=15, help="how far back")
    parser.add_argument("--into", type=Path, default=Path("pictures"), help="the folder for the pictures")
    options = parser.parse_args(arguments)
    options.into.mkdir(parents=True, exist_ok=True)
    for path in sorted(DASHBOARDS.glob("*.json")):
        board = json.loads(path.read_text(encoding="utf-8"))
        picture = draw(board, Asker(options.address, time.time(), options.minutes * 60))
        (options.into / f"{path.stem}.svg").write_text(picture, encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
