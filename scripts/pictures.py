"""Draws the pictures of docs/stack.md anew: a stack of its own, two services that are busy for some minutes, then the
dashboards and a trace. The dashboards are drawn by draw_dashboards.py: this is not Grafana's own rendering.
    python scripts/pictures.py --minutes 5
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import draw_dashboards
from busy_services import be_busy
from screenshot import output, picture

from rlm_otel.stack.settings import Ports
from tests.stack.real import free_ports

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "pictures"


@contextmanager
def own_stack() -> Iterator[Ports]:
    """Collector, Jaeger and Prometheus as `rlm-otel up --no-docker` runs them, on free ports and for the block only."""
    ports = free_ports()
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, **{name.upper(): str(port) for name, port in asdict(ports).items()}}
        command = [sys.executable, "-m", "rlm_otel.stack"]
        options = ["--no-docker", "--dir", folder]
        try:
            subprocess.run([*command, "up", *options], env=environ, check=True)
            yield ports
        finally:
            subprocess.run([*command, "down", *options], env=environ, check=True)


def main(arguments: list[str]) -> int:
    """Takes as long as it is told to, and half a minute."""
    parser = argparse.ArgumentParser(description="Draws the pictures of docs/stack.md anew.")
    parser.add_argument("--minutes", type=int, default=5, help="how long the services are busy")
    minutes = parser.parse_args(arguments).minutes
    with own_stack() as ports:
        print(f"two services are busy for {minutes} minutes", flush=True)
        be_busy(f"http://localhost:{ports.otlp_http_port}", minutes * 60)
        options = ["--minutes", str(minutes + 1), "--into", str(FOLDER)]
        draw_dashboards.main([f"http://localhost:{ports.prometheus_port}", *options])
        output("demo", "--otlp", f"http://localhost:{ports.otlp_http_port}")  # afterwards: the panels are of the two
        time.sleep(5)  # until Jaeger has it
        shown = output("traces", "--service", "rlm-otel-demo", "--jaeger", f"http://localhost:{ports.jaeger_port}")
    (FOLDER / "traces.svg").write_text(picture(shown, "traces"), encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
