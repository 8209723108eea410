"""docs/behaviours.md lists every behaviour that is promised so far, with the test that holds it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "behaviours_docs.py"


def test_the_page_is_up_to_date() -> None:
    """The script's check finds nothing to change."""
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_behaviour_has_a_line() -> None:
    """Each of the 110 is held by a test, or said to come later, the whole of it or a part."""
    page = (ROOT / "docs" / "behaviours.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ") and line[2].isdigit()]
    later = {int(number[2:]) for number, *_, test in rows if test == "comes later |"}
    held = {int(number[2:]) for number, *_, test in rows if "::test_" in test}
    assert held | later == set(range(1, 111))
    assert later - held == {9, 97, 99, 100, 103, 109}
    assert later & held == {70, 71, 98}
