"""What a person sees of the running stack in the terminal: `traces`, `cost`, and the way from `up` to `down`."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from typing import Any, Final

import pytest

from rlm_otel import semconv as sc
from rlm_otel.views.figures import seconds
from tests.stack.answers import Answers, eventually
from tests.stack.real import RealStack, free_ports
from tests.stack.workloads import Demonstrated, demonstrate

pytestmark = pytest.mark.stack

PROGRAM: Final = (sys.executable, "-c", "from rlm_otel.cli import main; main(prog_name='rlm-otel')")


def rlm_otel(*arguments: str, environ: dict[str, str] | None = None) -> "subprocess.CompletedProcess[str]":
    """The command, in a process of its own."""
    return subprocess.run(
        [*PROGRAM, *arguments],
        env={**os.environ, "COLUMNS": "200", "PYTHONIOENCODING": "utf-8", **(environ or {})},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def sent(stack: RealStack, answers: Answers) -> Demonstrated:
    """The demo's calls, which have arrived everywhere."""
    sent = demonstrate(stack, "http/protobuf", service="terminal")
    assert eventually(lambda: len(answers.spans(sent.service))) == len(sent.spans)
    calls = {(): float(sent.counts.calls)}
    assert eventually(lambda: answers.counted(sc.OPERATIONS, sent.service), lambda found: found == calls) == calls
    return sent


def traces(stack: RealStack, *arguments: str) -> list[dict[str, Any]]:
    """`rlm-otel traces --json` of the demo."""
    done = rlm_otel("traces", "--jaeger", stack.jaeger_api, "--service", "terminal", "--json", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def roots(found: Sequence[dict[str, Any]]) -> list[str]:
    return [span["name"] for one in found for span in one["spans"] if span["parent_id"] is None]


def test_traces_are_shown_as_trees(stack: RealStack, sent: Demonstrated) -> None:
    """The newest last, with outcomes and retries."""
    done = rlm_otel("traces", "--jaeger", stack.jaeger_api, "--service", sent.service)
    assert (done.returncode, done.stderr) == (0, "")
    trees = [tree.splitlines() for tree in done.stdout.strip().split("\n\n")]
    names = [[re.split(r" +[\d.]+ m?s ", line)[0] for line in tree[3:]] for tree in trees]
    assert names[0] == [
        "invoke_agent planner",
        "├─ chat gpt-4o",
        "├─ execute_tool get_weather",
        "├─ execute_tool ask_guide",
        "│  └─ invoke_agent planner",
        "│     ├─ chat gpt-4o-mini",
        "│     ├─ execute_tool opening_hours",
        "│     └─ chat gpt-4o-mini",
        "└─ chat gpt-4o",
    ]
    assert len(names) == 6
    assert "completed, 2 retries (429, 500)" in done.stdout
    assert f"{stack.jaeger_api}/trace/" in trees[0][0]


def test_traces_are_chosen(stack: RealStack, sent: Demonstrated) -> None:
    """By what failed, took long, or which model was called; or one by its id."""
    assert roots(traces(stack, "--errors")) == ["invoke_agent historian"]
    slow = {span.trace_id for span in sent.spans if seconds(span) >= 1}
    assert 1 <= len(slow) < 6
    assert {one["trace_id"] for one in traces(stack, "--slow", "1s")} == slow
    assert roots(traces(stack, "--model", "o4-mini")) == ["invoke_agent thinker"] * 2
    (one,) = traces(stack, "--errors")
    done = rlm_otel("traces", "--jaeger", stack.jaeger_api, "--trace", one["trace_id"], "--json")
    assert json.loads(done.stdout) == [one]


def test_cost_is_what_the_application_counted(stack: RealStack, sent: Demonstrated) -> None:
    """Model by model; the table and the CSV say the same."""
    command = ("cost", "--prometheus", stack.prometheus_api, "--since", "1h", "--by", "service,model")
    done = rlm_otel(*command, "--csv")
    assert done.returncode == 0, done.stderr
    rows = [row for row in csv.DictReader(StringIO(done.stdout)) if row["service"] == sent.service]
    own = sent.counts.summary()["models"]
    assert {row["model"]: (float(row["cost_usd"]), int(row["calls"]), int(row["unpriced_calls"])) for row in rows} == {
        model: (round(one["cost_usd"], 9), one["calls"], one["unpriced_calls"]) for model, one in own.items()
    }
    table = rlm_otel(*command)
    assert table.returncode == 0
    assert re.search(rf"{sent.service} +gpt-4o +\$0\.\d+ +4 +\d", table.stdout), table.stdout


def test_from_nothing_to_a_trace_and_back(tmp_path: Path) -> None:
    """`up`, `demo`, `traces`, `cost`, `status`, `down`, as a newcomer without Docker types them."""
    ports = free_ports()
    environ = {name.upper(): str(port) for name, port in asdict(ports).items()}
    here = ("--no-docker", "--dir", str(tmp_path / "новая папка"))
    collector, jaeger, prometheus = (
        f"http://127.0.0.1:{port}" for port in (ports.otlp_http_port, ports.jaeger_port, ports.prometheus_port)
    )
    try:
        up = rlm_otel("up", *here, environ=environ)
        assert (up.returncode, f"http://localhost:{ports.jaeger_port}" in up.stdout) == (0, True), up
        demo = rlm_otel("demo", "--otlp", collector)
        assert demo.returncode == 0, demo
        shown = eventually(
            lambda: rlm_otel("traces", "--jaeger", jaeger), lambda done: "invoke_agent thinker" in done.stdout
        )
        assert shown.stdout.count("chat ") == 9
        cost = eventually(
            lambda: rlm_otel("cost", "--prometheus", prometheus, "--json"), lambda done: '"calls": 9' in done.stdout
        )
        assert json.loads(cost.stdout)["all"]["calls"] == 9
        status = rlm_otel("status", *here)
        assert (status.returncode, status.stdout.count("healthy")) == (0, 3)
    finally:
        down = rlm_otel("down", *here)
    assert (down.returncode, down.stdout.count("stopped")) == (0, 3)
    assert rlm_otel("status", *here).returncode == 1
