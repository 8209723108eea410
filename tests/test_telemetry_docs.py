"""docs/telemetry.md describes what we emit: it is generated, complete and up to date."""

import subprocess
import sys
from pathlib import Path

from rlm_otel import semconv
from rlm_otel.instruments import INSTRUMENTS

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "telemetry_docs.py"


def test_the_page_is_up_to_date() -> None:
    """The script's check finds nothing to change."""
    command = [sys.executable, str(SCRIPT), "--check"]
    environ = {"PYTHONPATH": str(ROOT / "src"), "PYTHONUTF8": "1"}
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", env=environ, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_page_has_every_name() -> None:
    """No attribute, event or metric of semconv.py is left out."""
    page = (ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8")
    constants = {name: value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str)}
    names = [value for value in constants.values() if "." in value and "/" not in value]
    assert [name for name in names if f"`{name}`" not in page and f"`{name}.<key>`" not in page] == []
    assert len(names) > 100


def test_each_instrument_has_its_name_once() -> None:
    """Two instruments of one name would be one conflict in every SDK."""
    names = [instrument.name for instrument in INSTRUMENTS]
    assert sorted(set(names)) == sorted(names)
