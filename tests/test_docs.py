"""The guides tell the truth: each code block runs alone, in a process of its own, and prints what the page says."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from rlm_otel.callbacks.plan import COMMON, EXTRAS, HOOKS
from rlm_otel.cli import main
from rlm_otel.receiver import Receiver
from rlm_otel.testing import Answer, Failure, Item, Repeat, ScriptedServer, Tokens, Tool
from tests.pages import GUIDES, PAGES, anchors, fenced, links, original, prose
from tests.program import ROOT, Program, Programs

RUN_TESTS: Final = """
if __name__ == "__main__":
    import sys, pytest
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "program.py"]))
"""

Script = tuple[Item | Repeat, ...]
ORDER: Final = (Answer(tool_calls=[Tool("order", {"number": 42})]), Answer("It is on its way."))
HELLO: Final = Answer("Hello!", usage=Tokens(input=12, output=3))
PRIVET: Final = Answer("Привет!", usage=Tokens(input=12, output=3))
SCRIPTS: Final[Mapping[str, Script]] = {
    "Runs and tools": (
        Answer(tool_calls=[Tool("add", {"a": 2, "b": 3})], usage=Tokens(input=15, output=5)),
        Answer("5", usage=Tokens(input=28, output=2)),
    ),
    "A report": (
        Answer(tool_calls=[Tool("add", {"a": 2, "b": 3})], usage=Tokens(input=15, output=5)),
        Answer("5", usage=Tokens(input=28, output=2)),
    ),
    "When a call fails": (Failure(400, message="this prompt is too long"),),
    "Budgets": (Repeat(Answer(tool_calls=[Tool("look", {"page": 1})])),),
    "Streaming": (Answer(chunks=("one ", "two ", "three")),),
    "Retries": (Failure(429, retry_after=0), Failure(500, retry_after=0), HELLO),
}
"""What the model server answers, by the heading that a block stands under; elsewhere it is `HELLO`."""
IN_RUSSIAN: Final[Mapping[str, Script]] = {
    "When a call fails": (Failure(400, message="слишком длинный промпт"),),
    "Streaming": (Answer(chunks=("раз ", "два ", "три")),),
    "Retries": (Failure(429, retry_after=0), Failure(500, retry_after=0), PRIVET),
}
"""What it answers to a translated block, where that is not the same; elsewhere it is `PRIVET`."""
STDERR: Final = {
    "When a hook fails": "Broken.on_llm_end raised ValueError; it is ignored, "
    "and further failures there are only counted"
}
"""The line that the blocks under a heading have on stderr; elsewhere it stays empty."""


@dataclass(frozen=True, slots=True)
class Block:
    """One block of Python, and what the page says that it prints (None = nothing said)."""

    page: Path
    number: int
    heading: str
    """That of the original page, where this one is translated."""
    source: str
    printed: str | None

    @property
    def script(self) -> Script:
        """What the model server answers."""
        if "tools=[order]" in self.source:
            return ORDER
        if self.page != original(self.page):
            return {**SCRIPTS, **IN_RUSSIAN}.get(self.heading, (Repeat(PRIVET),))
        return SCRIPTS.get(self.heading, (Repeat(HELLO),))

    def __str__(self) -> str:
        return f"{self.page.name}-{self.number}-{self.heading.replace(' ', '_')}"


def blocks_of(page: Path) -> list[Block]:
    """A page's Python blocks in order."""
    found, named = fenced(page), fenced(original(page))
    blocks: list[Block] = []
    for place, one in enumerate(found):
        if one.language == "python":
            after = found[place + 1] if place + 1 < len(found) else one
            heading = named[place].heading if place < len(named) else one.heading
            blocks.append(
                Block(page, len(blocks) + 1, heading, one.text, after.text if after.language == "text" else None)
            )
    return blocks


BLOCKS: Final = [block for page in GUIDES for block in blocks_of(page)]


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
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Programs]:
    """What runs them; where the suite has several workers, each runs its own share."""
    with Programs(tmp_path_factory.mktemp("docs")) as runner:
        yield runner


@pytest.mark.programs
@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_runs_alone(block: Block, programs: Programs) -> None:
    """It ends well, prints what the page says (… stands for what differs from run to run) and warns of nothing."""
    with ScriptedServer(block.script) as server, Receiver() as receiver:
        result = programs.run(program_of(block, server, receiver))
    assert (result.code, result.err.partition("\n")[0]) == (0, STDERR.get(block.heading, ""))
    if block.printed is not None:
        pattern = ".*".join(re.escape(part) for part in block.printed.split("…"))
        assert re.fullmatch(pattern, result.out), result.out


@pytest.mark.parametrize(
    ("name", "lead"),
    [("callbacks.md", "Every hook can have these as well:"), ("callbacks.ru.md", "Кроме того, любой хук может взять")],
)
def test_the_table_of_hooks_is_complete(name: str, lead: str) -> None:
    """The guide to callbacks names every hook with its parameters and what it can have besides."""
    text = (ROOT / "docs" / name).read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(on_\w+)` \| (.*?) \| (.*?) ?\| .+ \|$", text, re.MULTILINE)
    assert [(hook, _names(parameters), _names(besides)) for hook, parameters, besides in rows] == [
        (hook, parameters, EXTRAS[hook]) for hook, parameters in HOOKS.items()
    ]
    common = re.search(rf"{lead} (.*?)\.\n", text, re.DOTALL)
    assert common is not None
    assert _names(common[1]) == COMMON


def _names(cell: str) -> tuple[str, ...]:
    return tuple(re.findall(r"`(\w+)`", cell))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file of the repository (a picture too), and to a heading on its page."""
    lost = []
    for link in links(prose(page)):
        path, _, heading = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (heading and heading not in anchors(target)):
            lost.append(link)
    assert lost == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_exists(page: Path) -> None:
    """What a page says to type is a command of `rlm-otel` or a target of the Makefile."""
    shell = "".join(block.text for block in fenced(page) if block.language == "sh")
    typed = "\n".join([shell, *re.findall(r"`([^`]+)`", prose(page))])
    targets = re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    known = {name for target in targets for name in target.split()}
    assert set(re.findall(r"(?:^|[/ ])rlm-otel ([a-z]+)", typed, re.MULTILINE)) <= set(main.commands)
    assert set(re.findall(r"(?:^|[(] ?)make ([a-z-]+)", typed, re.MULTILINE)) <= known
