"""Writes docs/behaviours.md from the names and docstrings of the tests; `--check` only compares."""

import ast
import re
import sys
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "behaviours.md"
NAME: Final = re.compile(r"test_s(\d+)_\w+")

CHAPTERS: Final = (
    (1, "Tokens and cost"),
    (16, "Streams"),
    (36, "Time to the first token"),
    (41, "Errors and cancellation"),
    (53, "Retries"),
    (57, "Raw responses and arguments"),
    (65, "Content"),
    (75, "Context and parents"),
    (83, "Metrics"),
    (89, "Isolation"),
    (92, "Callbacks"),
    (98, "Delivery"),
    (105, "Runs and nesting"),
)

INTRO: Final = """\
# Behaviours

What the package does when things go well and when they do not, each line held by the tests named beside it. The numbers
are those of the list of behaviours that we build against. A number that is missing here comes later.
Generated from the tests by `scripts/behaviours_docs.py`; run it after a change.
"""


class Behaviour(NamedTuple):
    """One test that is named after its number."""

    number: int
    test: str
    says: str


def behaviours() -> list[Behaviour]:
    """All of them, by number and then in the order of the tests."""
    found = []
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (match := NAME.fullmatch(node.name)):
                says = " ".join((ast.get_docstring(node) or "").split())
                found.append(Behaviour(int(match[1]), f"{path.stem}::{node.name}", says))
    return sorted(found, key=lambda behaviour: behaviour.number)


def page() -> str:
    """The page's text."""
    lines = [INTRO]
    chapters = list(CHAPTERS)
    for behaviour in behaviours():
        while chapters and chapters[0][0] <= behaviour.number:
            title = chapters.pop(0)[1]
            if chapters and chapters[0][0] <= behaviour.number:
                continue
            lines.append(f"\n## {title}\n\n| # | behaviour | test |\n|--:|---|---|")
        lines.append(f"| {behaviour.number} | {behaviour.says.replace('|', '/')} | `{behaviour.test}` |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes the page, or with `--check` compares it."""
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        print("docs/behaviours.md is stale: run scripts/behaviours_docs.py", file=sys.stderr)
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
