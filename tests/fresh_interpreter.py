"""Runs code in an interpreter of its own: globals and the exit cannot be tried in that of the tests."""

import os
import subprocess
import sys
import textwrap


def run(code: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run code with warnings as errors and the given variables besides the environment's own."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), **variables}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
