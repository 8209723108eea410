"""Writes docs/demo.svg: what `rlm-otel demo` prints, as a picture; or of any other command that is imported here."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

PICTURE: Final = Path(__file__).parents[1] / "docs" / "demo.svg"
WIDTH: Final = 100
COMMAND: Final = "import sys; from rlm_otel.cli import main; main(sys.argv[1:])"


def output(*arguments: str) -> str:
    """What `rlm-otel` prints on a terminal that has colours; progress lines are left out."""
    terminal = {"FORCE_COLOR": "1", "COLUMNS": str(WIDTH), "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", COMMAND, *arguments], env={**os.environ, **terminal}, stdout=subprocess.PIPE, check=True
    )
    return done.stdout.decode()


def picture(text: str, command: str, title: str | None = None) -> str:
    """The text as an SVG that needs no font from elsewhere; its title is the command's, unless another is given."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=WIDTH, file=nowhere, force_terminal=True)
        console.print(Text.from_ansi(text.strip("\n")))
        template = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
        return console.export_svg(title=title or f"rlm-otel {command}", code_format=template, unique_id=command)


if __name__ == "__main__":
    PICTURE.write_text(picture(output("demo"), "demo"), encoding="utf-8")
