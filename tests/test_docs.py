"""The guides tell the truth: each code block runs alone, in a process of its own, and prints what the page says."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from rlm_otel.callbacks.plan import COMMON, EXTRAS, HOOKS
from rlm_otel.receiver import Receiver
from rlm_otel.testing import Answer, Failure, Item, Repeat, ScriptedServer, Tokens, Tool
from tests.program import ROOT, ForkedPrograms, Program

PAGES: Final = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
RUN_TESTS: Final = """
if __name__ == "__main__":
    import sys, pytest
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "program.py"]))
"""

ORDER: Final = (Answer(tool_calls=[Tool("order", {"number": 42})]), Answer("It is on its way."))
HELLO: Final = Answer("Hello!", usage=Tokens(input=12, output=3))
SCRIPTS: Final[Mapping[str, tuple[Item | Repeat, ...]]] = {
    "Runs and tools": (
        Answer(tool_calls=[Tool("add", {"a": 2, "b": 3})], usage=Tokens(input=15, output=5)),
        Answer("5", usage=Tokens(input=28, output=2)),
    ),
    "When a call fails": (Failure(400, message="this prompt is too long"),),
    "Budgets": (Repeat(Answer(tool_calls=[Tool("look", {"page": 1})])),),
    "Streaming": (Answer(chunks=("one ", "two ", "three")),),
    "Retries": (Failure(429, retry_after=0), Failure(500, retry_after=0), HELLO),
}
"""What the model server answers, by the heading that a block stands under; elsewhere it is `HELLO`."""
STDERR: Final = {
    "When a hook fails": "Broken.on_llm_end raised ValueError; it is ignored, "
    "and further failures there are only counted"
}
"""The line that the blocks under a heading have on stderr; elsewhere it stays empty."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block of Python, and what the page says that it prints (None = nothing said)."""

    page: str
    number: int
    heading: str
    source: str
    printed: str | None

    @property
    def script(self) -> tuple[Item | Repeat, ...]:
        """What the model server answers."""
        return ORDER if "tools=[order]" in self.source else SCRIPTS.get(self.heading, (Repeat(HELLO),))

    def __str__(self) -> str:
        return f"{self.page}-{self.number}-{self.heading.replace(' ', '_')}"


def blocks_of(page: Path) -> list[Block]:
    """A page's Python blocks in order."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", text, re.DOTALL | re.MULTILINE)
    return [
        Block(page.name, number, _heading(text[: match.start()]), match[1], match[2])
        for number, match in enumerate(found, start=1)
    ]


def _heading(above: str) -> str:
    prose = re.sub(r"^```.*?^```", "", above, flags=re.DOTALL | re.MULTILINE)
    return [line.lstrip("# ") for line in prose.splitlines() if line.startswith("#")][-1]


BLOCKS: Final = [block for page in PAGES for block in blocks_of(page)]


def program_of(block: Block, server: ScriptedServer, receiver: Receiver) -> Program:
    """The block as a program; one that has tests runs them."""
    environ = {
        "OPENAI_BASE_URL": server.base_url,
        "OPENAI_API_KEY": "any",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
    }
    source = f"{block.source}{RUN_TESTS}" if "def test_" in block.source else block.source
    return Program(source=source, environ=environ)


@pytest.fixture(scope="module")
def forked() -> Iterator[ForkedPrograms]:
    """Runs the blocks of this worker."""
    with ForkedPrograms() as programs:
        yield programs


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_runs_alone(block: Block, forked: ForkedPrograms, tmp_path: Path) -> None:
    """It ends well, prints what the page says (… stands for what differs from run to run) and warns of nothing."""
    with Receiver() as receiver, ScriptedServer(block.script) as server:
        result = forked.run(program_of(block, server, receiver), tmp_path / "block")
    assert (result.code, result.err.partition("\n")[0]) == (0, STDERR.get(block.heading, ""))
    if block.printed is not None:
        pattern = ".*".join(re.escape(part) for part in block.printed.split("…"))
        assert re.fullmatch(pattern, result.out), result.out


def test_the_table_of_hooks_is_complete() -> None:
    """docs/callbacks.md names every hook with its parameters and what it can have besides."""
    text = (ROOT / "docs" / "callbacks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(on_\w+)` \| (.*?) \| (.*?) ?\| .+ \|$", text, re.MULTILINE)
    assert [(hook, _names(parameters), _names(besides)) for hook, parameters, besides in rows] == [
        (hook, parameters, EXTRAS[hook]) for hook, parameters in HOOKS.items()
    ]
    common = re.search(r"Every hook can have these as well: (.*?)\.\n", text, re.DOTALL)
    assert common is not None
    assert _names(common[1]) == COMMON


def _names(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`(\w+)`", cell))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file of the repository (a picture too), and to a heading on its page."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    lost = []
    for link in links:
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (heading and heading not in anchors(target)):
            lost.append(link)
    assert lost == []


def anchors(page: Path) -> set[str]:
    """What a link may have after its `#`: the headings, as code hosts spell them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
