"""docs/behaviours.md lists every behaviour that is promised so far, with the test that holds it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "behaviours_docs.py"
PROMISED = {
    *(1, 2, 3, 5, 8, 10, 12, 13),
    *range(16, 23),
    *(25, 26, 27, 28, 30, 32, 33),
    *range(36, 50),
    *range(52, 57),
    *(65, 66, 68, 69, 72, 73),
    *(76, 77, 78, 80, *range(82, 87), 88, 89),
    *range(91, 97),
    *(105, 106, 110),
}


def test_the_page_is_up_to_date() -> None:
    """The script's check finds nothing to change."""
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_promised_behaviour_has_a_line() -> None:
    """No number of the promised ones is missing."""
    page = (ROOT / "docs" / "behaviours.md").read_text(encoding="utf-8")
    numbers = {int(line.split("|")[1]) for line in page.splitlines() if line.startswith("| ") and line[2].isdigit()}
    assert PROMISED - numbers == set()
