"""The script that draws the dashboards: every kind of panel, from the answers of a server that plays Prometheus."""

import importlib.util
import itertools
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree

import pytest

from grafana.build.asking import Asker
from grafana.build.units import figure, moments, ticks

ROOT = Path(__file__).parents[1]
NOW = 1_800_000_000
_spec = importlib.util.spec_from_file_location("draw_dashboards", ROOT / "scripts" / "draw_dashboards.py")
assert _spec is not None
assert _spec.loader is not None
script = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(script)


class FakePrometheus(BaseHTTPRequestHandler):
    """Answers each query with two models; with two buckets if `le` was asked for; with nothing for `up`."""

    asked: list[dict[str, str]]

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        self.asked.append(query)
        labels = [{"le": "1", **MODELS[0]}, {"le": "+Inf", **MODELS[0]}] if "(le)" in query["query"] else MODELS
        series: list[dict[str, Any]] = [{"metric": one} for one in labels if "(up)" not in query["query"]]
        for number, one in enumerate(series, 1):
            if address.path == "/api/v1/query":
                one["value"] = [NOW, str(number * 0.25)]
            else:
                one["values"] = [[float(query["end"]), str(number)], [float(query["end"]) - 15, "NaN"]]
        body = json.dumps({"status": "success", "data": {"result": series}}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Nothing on the terminal."""


MODELS = [
    {"gen_ai_request_model": "gpt-4o", "service_name": "магазин", "gen_ai_agent_name": "a<b"},
    {"gen_ai_request_model": "o4-mini", "service_name": "магазин", "gen_ai_agent_name": "🚋"},
]


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """A server on a free port."""
    FakePrometheus.asked = []
    with ThreadingHTTPServer(("127.0.0.1", 0), FakePrometheus) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def drawn(server: ThreadingHTTPServer, name: str, range_s: int = 900) -> list[str]:
    """The texts of a picture, which is valid XML."""
    board = json.loads((ROOT / "grafana" / "dashboards" / f"{name}.json").read_text(encoding="utf-8"))
    picture = script.draw(board, Asker(f"http://127.0.0.1:{server.server_port}/", NOW, range_s))
    return [text.text or "" for text in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]


def test_every_panel_is_drawn_with_its_title_unit_and_legend(server: ThreadingHTTPServer) -> None:
    """Time series, stats, a table and a heat map; nothing is left out or said to be empty."""
    texts = drawn(server, "llm-overview")
    board = json.loads((ROOT / "grafana" / "dashboards" / "llm-overview.json").read_text(encoding="utf-8"))
    titles = [panel["title"].replace("$model", "all") for panel in board["panels"]]
    assert [title for title in titles if title not in texts] == []
    assert "no data" not in texts
    assert {"gpt-4o · магазин", "25 %", "$0.25", "250 ms", "1 s", "∞", "First token, p95"} <= set(texts)


def test_a_panel_without_data_says_so(server: ThreadingHTTPServer) -> None:
    """The one that Prometheus has nothing for."""
    assert drawn(server, "reliability").count("no data") == 1


def test_names_from_outside_are_only_text(server: ThreadingHTTPServer) -> None:
    """No markup, any script."""
    texts = drawn(server, "runs-tools")
    assert {"a<b", "🚋"} <= set(texts)


def test_prometheus_is_asked_as_grafana_asks(server: ThreadingHTTPServer) -> None:
    """Points on a grid of steps, macros filled in, whole days for the bars of days."""
    drawn(server, "cost", range_s=30 * 86400)
    steps = {query["step"] for query in FakePrometheus.asked if "step" in query}
    assert steps == {"86400", "21600"}
    assert all(float(query["end"]) % int(query["step"]) == 0 for query in FakePrometheus.asked if "step" in query)
    assert {query["time"] for query in FakePrometheus.asked if "time" in query} == {str(NOW)}
    assert [query["query"] for query in FakePrometheus.asked if "$" in query["query"]] == []


def test_the_command_writes_one_picture_a_dashboard(server: ThreadingHTTPServer, tmp_path: Path) -> None:
    """Into a folder that need not exist."""
    assert (
        script.main([f"http://127.0.0.1:{server.server_port}", "--minutes", "60", "--into", str(tmp_path / "new")]) == 0
    )
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "cost.svg",
        "llm-overview.svg",
        "reliability.svg",
        "runs-tools.svg",
    ]


@pytest.mark.parametrize("name", ["cost", "llm-overview", "reliability", "runs-tools"])
def test_the_picture_in_the_docs_shows_every_panel_and_none_is_empty(name: str) -> None:
    """After a change of a panel's title: make pictures."""
    path = ROOT / "docs" / "pictures" / f"{name}.svg"
    texts = [one.text for one in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")]
    board = json.loads((ROOT / "grafana" / "dashboards" / f"{name}.json").read_text(encoding="utf-8"))
    titles = [panel["title"].replace("$model", "all") for panel in board["panels"]]
    assert [title for title in titles if title not in texts] == []
    assert "no data" not in texts
    assert path.stat().st_size < 300_000


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.05, "percentunit", "5 %"),
        (0.0004, "s", "0.4 ms"),
        (90, "s", "1.5 min"),
        (0, "s", "0 s"),
        (1234567, "short", "1.23 M"),
        (0.00002, "currencyUSD", "$2e-05"),
        (2, "cpm", "2 /min"),
        (float("inf"), "s", "∞"),
    ],
)
def test_numbers_are_written_in_their_unit(value: float, unit: str, text: str) -> None:
    """As short as a reader needs."""
    assert figure(value, unit) == text


@pytest.mark.parametrize(
    ("most", "marks"),
    [
        (0.0, [0, 0.25, 0.5, 0.75, 1]),
        (1.0, [0, 0.25, 0.5, 0.75, 1]),
        (0.047, [0, 0.02, 0.04, 0.06]),
        (338, [0, 100, 200, 300, 400]),
        (500_000, [0, 200_000, 400_000, 600_000]),
    ],
)
def test_an_axis_has_round_figures(most: float, marks: list[float]) -> None:
    """From 0 to the first that is not below the highest value."""
    assert ticks(most) == pytest.approx(marks)


@pytest.mark.parametrize(
    ("minutes", "apart_s"), [(6, 60), (15, 180), (60, 600), (7 * 1440, 86400), (30 * 1440, 432000)]
)
def test_times_are_whole_minutes_or_days_apart(minutes: int, apart_s: int) -> None:
    """Where that can be; else a quarter of the range."""
    times = [at for at, _ in moments(NOW, minutes * 60)]
    assert {later - earlier for earlier, later in itertools.pairwise(times)} == {apart_s}
    assert (times[0], times[-1]) == (NOW, NOW + minutes * 60)
