"""Reads the guides' Markdown: headings, fenced blocks, code and links in the text; and which page translates which."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.program import ROOT

GUIDES: Final = [ROOT / "README.md", ROOT / "README.ru.md", *sorted((ROOT / "docs").glob("*.md"))]
"""The pages whose blocks run."""
PAGES: Final = [*GUIDES, ROOT / "CHANGELOG.md", ROOT / "examples" / "README.md"]
TRANSLATED: Final = [page for page in GUIDES if page.name.endswith(".ru.md")]

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Fenced:
    """A fenced block: its language, what is in it, and the heading that it stands under."""

    language: str
    text: str
    heading: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading with its `#`s, and the text below it without fenced blocks."""

    heading: str
    prose: str


def original(page: Path) -> Path:
    """The page that this one translates; itself if none."""
    return page.with_name(page.name.replace(".ru.md", ".md"))


def fenced(page: Path) -> list[Fenced]:
    """A page's fenced blocks in order."""
    text = page.read_text(encoding="utf-8")
    found = list(_FENCE.finditer(text))
    return [Fenced(match[1], match[2], _last_heading(text[: match.start()])) for match in found]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCE.sub("", page.read_text(encoding="utf-8"))


def sections(page: Path) -> list[Section]:
    """A page's headings in order, each with the text up to the next."""
    parts = re.split(r"^(#+ .+)$", prose(page), flags=re.MULTILINE)
    return [Section(heading, text) for heading, text in zip(parts[1::2], parts[2::2], strict=True)]


def links(text: str) -> list[str]:
    """Where the links and pictures of a text lead, those to other hosts apart."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


def anchors(page: Path) -> set[str]:
    """What a link may have after its `#`: the headings, as code hosts spell them."""
    headings = [section.heading.lstrip("# ").lower() for section in sections(page)]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def _last_heading(above: str) -> str:
    lines = _FENCE.sub("", above).splitlines()
    return [line.lstrip("# ") for line in lines if line.startswith("#")][-1]
