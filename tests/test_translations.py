"""A translated guide says what the original says: the same sections, blocks, names and links, in the same order."""

import ast
import re
from pathlib import Path
from typing import Final

import pytest

from tests.pages import PAGES, TRANSLATED, Fenced, fenced, links, original, prose, sections

CYRILLIC: Final = re.compile(r"[а-яё]", re.IGNORECASE)

translated = pytest.mark.parametrize("page", TRANSLATED, ids=lambda page: page.name)


class Blank(ast.NodeTransformer):
    """Takes the text of strings out of a program and keeps it, in order."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        """An f-string's text comes here too; its expressions stay."""
        if not isinstance(node.value, str):
            return node
        self.texts.append(node.value)
        return ast.Constant("")


def code_and_texts(source: str) -> tuple[str, list[str]]:
    """A program without its comments and the text of its strings; and those texts."""
    blank = Blank()
    return ast.unparse(blank.visit(ast.parse(source))), blank.texts


def commands(block: Fenced) -> list[str]:
    """The lines of a shell's block, without comments."""
    return [line.partition(" #")[0].strip() for line in block.text.splitlines()]


def names(text: str) -> list[str]:
    """What stands in a text as code, sorted: another language has another order of words."""
    return sorted(re.findall(r"`([^`]+)`", text))


def test_the_guides_that_are_to_be_translated_are() -> None:
    """The README and the guide to callbacks."""
    assert sorted(page.name for page in TRANSLATED) == ["README.ru.md", "callbacks.ru.md"]


@translated
def test_the_python_blocks_are_the_same(page: Path) -> None:
    """The same code; comments may be translated, and a string is either the same or in Russian."""
    blocks = [
        [code_and_texts(one.text) for one in fenced(it) if one.language == "python"] for it in (original(page), page)
    ]
    assert [code for code, _ in blocks[1]] == [code for code, _ in blocks[0]]
    texts = [[text for _, texts in found for text in texts] for found in blocks]
    assert [ours for theirs, ours in zip(*texts, strict=True) if ours != theirs and not CYRILLIC.search(ours)] == []


@translated
def test_the_other_blocks_are_the_same(page: Path) -> None:
    """In the same order, with the same commands; what a program prints is compared with what it prints."""
    theirs, ours = fenced(original(page)), fenced(page)
    assert [one.language for one in ours] == [one.language for one in theirs]
    assert [commands(one) for one in ours if one.language == "sh"] == [
        commands(one) for one in theirs if one.language == "sh"
    ]


@translated
def test_the_sections_are_the_same(page: Path) -> None:
    """As many, on the same levels, each with the same names, rows and points; and none left in English."""
    shape = [
        [
            (
                one.heading.partition(" ")[0],
                names(one.prose),
                len(re.findall(r"^(?:\||- |\d\. )", one.prose, re.MULTILINE)),
            )
            for one in sections(it)
        ]
        for it in (original(page), page)
    ]
    assert shape[1] == shape[0]
    assert [one.heading for one in sections(page)[1:] if not CYRILLIC.search(one.heading)] == []


@translated
def test_the_links_lead_to_the_same_pages(page: Path) -> None:
    """In the same order, or to that page's translation; each of the two begins with a link to the other."""
    theirs, ours = [
        [link.partition("#")[0].replace(".ru.md", ".md") for link in links(prose(it))] for it in (original(page), page)
    ]
    assert sorted(ours) == sorted(theirs)
    assert links(prose(original(page)))[0] == page.name
    assert links(prose(page))[0] == original(page).name


def test_every_page_is_linked_from_the_readme() -> None:
    """In both languages: a page that nobody links is not found."""
    for readme in ("README.md", "README.ru.md"):
        start = next(page for page in PAGES if page.name == readme and page.parent == PAGES[0].parent)
        linked = {(start.parent / link.partition("#")[0]).resolve() for link in links(prose(start))}
        wanted = {page.resolve() for page in PAGES if page not in TRANSLATED}
        missing = {page for page in wanted if page != original(start) and not _reached(page, linked)}
        assert missing == set()


def _reached(page: Path, linked: set[Path]) -> bool:
    return page in linked or page.with_name(page.name.replace(".md", ".ru.md")) in linked
