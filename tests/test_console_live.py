"""`ConsoleCallback` in a real terminal: the tree stays in the window, and nothing that the program prints is lost."""

import re
from pathlib import Path
from typing import Final

import pytest

from tests.program import Program, run_program
from tests.window import Window

pytestmark = pytest.mark.programs

SCAN: Final = """
import logging, pathlib, time
from rlm_otel import RLM, TracedThreadPoolExecutor
from rlm_otel.callbacks import ConsoleCallback
from rlm_otel.testing import Answer, Failure, ScriptedServer, Tool, scripted_rlm

PARTS, HALF = 200, 120
logging.basicConfig(format="%(levelname)s %(message)s")

def respond(request):
    words = request.prompt.split()
    if words[0] == "scan":
        return Answer(tool_calls=[Tool("read")])
    if words[0] != "part":
        return Answer("done")
    number = int(words[1])
    while number >= HALF and not pathlib.Path("go").exists():
        time.sleep(0.02)
    return Failure(400, message="no such part") if number % 50 == 7 else Answer("fine")

def read(llm_query) -> str:
    def ask(number):
        try:
            return llm_query(f"part {number}")
        except Exception as error:
            return type(error).__name__
    with TracedThreadPoolExecutor(50) as pool:
        for number, answer in enumerate(pool.map(ask, range(PARTS))):
            print("part", number, end=" ")
            print(answer)
            if number % 50 == 9:
                logging.warning("after %d", number)
    return "read"

print("begun: ", end="")
with ScriptedServer(respond=respond) as server:
    callbacks = [ConsoleCallback()]
    with scripted_rlm(server, callbacks=callbacks, tools=[read], sub_model="gpt-4o-mini", name="scanner") as rlm:
        print(rlm.run("scan"))
"""
"""A run whose tool asks 200 sub-runs in 50 threads; from the 121st on they wait for a file named `go`."""


def tree_in(screen: list[str]) -> list[str]:
    """The lines of the tree."""
    first = next(index for index, line in enumerate(screen) if line.startswith("run scanner"))
    return screen[first:]


def name_in(line: str) -> str:
    """A line of the tree without its figures."""
    return re.split(r"  +\d", line)[0].rstrip()


def test_two_hundred_sub_calls_in_fifty_threads(tmp_path: Path) -> None:
    """The tree keeps to the window while they run, and in the end all that was printed is there, once and in order."""
    with Window(SCAN, tmp_path, columns=110, lines=28) as window:
        screen = window.until(lambda screen: any("running, 121 calls" in line for line in screen))
        tree = tree_in(screen)
        assert len(screen) <= 28
        assert name_in(tree[0]) == "run scanner (gpt-4o)"
        assert [name_in(line) for line in tree[1:3]] == ["├─ chat gpt-4o", "└─ tool read"]
        assert re.fullmatch(r"   └─ … 161 more +44 running", tree[-1])
        assert sum(line.startswith(("   ├─", "   └─")) for line in tree) == 10
        (tmp_path / "go").touch()
        assert window.until_it_ends() == 0
        everything = [line.rstrip() for line in window.everything.split("\n")]
        assert window.is_sane
    numbers = range(200)
    printed = [f"part {number} {'BadRequestError' if number % 50 == 7 else 'fine'}" for number in numbers]
    for number in (159, 109, 59, 9):
        printed.insert(number + 1, f"WARNING after {number}")
    assert everything[0] == "begun:"
    assert everything[1 : 1 + len(printed)] == printed
    last = everything[1 + len(printed) :]
    assert re.search(r"completed, 202 calls$", last[0])
    assert last[-4].endswith(" 1 failed")
    assert name_in(last[-4]) == "│  └─ … 191 more"
    assert name_in(last[-3]) == "└─ chat gpt-4o"
    assert last[-2:] == ["done", "left with 0"]
    assert [line for line in everything if "running" in line] == []


WAITING: Final = """
import sys, time
import rlm_otel
from rlm_otel.callbacks import ConsoleCallback

console = ConsoleCallback()
with rlm_otel.run("waits", callbacks=[console]):
    print("inside")
    with rlm_otel.llm_call(provider="openai", model="gpt-4o") as call:
        {work}
print("after")
"""


def waiting(work: str) -> str:
    """A program whose one call does this."""
    return WAITING.format(work=work)


def test_ctrl_c_leaves_a_sane_terminal(tmp_path: Path) -> None:
    """The tree says what was cancelled, the traceback follows it, and what is typed next is seen."""
    with Window(waiting("time.sleep(60)"), tmp_path) as window:
        window.until(lambda screen: "running" in screen[-1] and "chat gpt-4o" in screen[-1])
        window.press("C-c")
        code = window.until_it_ends()
        window.press("typed", "Enter")
        screen = window.until(lambda screen: screen[-2:] == ["typed", "typed"])
        assert window.is_sane
    assert code == 130
    assert screen[0] == "inside"
    assert re.fullmatch(r"run waits +\d\.\d s +cancelled, 1 call, 1 unpriced", screen[1])
    assert re.fullmatch(r"└─ chat gpt-4o +\d\.\d s +cancelled, unpriced: KeyboardInterrupt", screen[2])
    assert screen[3].startswith("Traceback")
    assert screen[-4:] == ["KeyboardInterrupt", "left with 130", "typed", "typed"]


@pytest.mark.parametrize(
    ("raised", "state"),
    [
        ("raise rlm_otel.StopRun('enough')", "closed, unpriced"),
        ("raise ValueError('no')", "failed: ValueError: no"),
        ("sys.exit(3)", "cancelled, unpriced: SystemExit: 3"),
    ],
)
def test_every_way_out_ends_the_tree(tmp_path: Path, raised: str, state: str) -> None:
    """It stays with what it came to; the terminal is the program's again."""
    with Window(waiting(f"time.sleep(0.5); {raised}"), tmp_path) as window:
        window.until_it_ends()
        screen = window.screen
        assert window.is_sane
    assert screen[0] == "inside"
    assert re.fullmatch(rf"└─ chat gpt-4o +0\.5 s +{re.escape(state)}", screen[2])
    assert "after" not in screen


def test_a_killed_program_leaves_a_sane_terminal(tmp_path: Path) -> None:
    """Nothing has to be put back: the cursor was never hidden."""
    with Window(waiting("import os; time.sleep(0.5); os.kill(os.getpid(), 9)"), tmp_path) as window:
        window.until_it_ends()
        assert window.is_sane


@pytest.mark.parametrize(
    ("columns", "environ"),
    [(50, {}), (100, {"TERM": "dumb"}), (100, {"NO_COLOR": "1"})],
    ids=["narrow", "dumb", "plain"],
)
def test_lines_where_a_tree_cannot_be(tmp_path: Path, columns: int, environ: dict[str, str]) -> None:
    """In a narrow window, on a dumb terminal, and where nobody wants colours."""
    done = "call.finish('ok', finish_reason='stop')"
    with Window(waiting(done), tmp_path, columns=columns, environ=environ) as window:
        assert window.until_it_ends() == 0
        lines = window.everything.split("\n")
        styled = window.everything_styled
    assert lines[:3] == ["run waits ...", "inside", "  chat gpt-4o ..."]
    assert re.fullmatch(r"  chat gpt-4o: 0\.\d\d s, cost unknown \(tokens not reported\)", lines[3])
    assert lines[5:] == ["after", "left with 0"]
    assert "\x1b" not in styled


def test_pipe_gets_lines_even_where_colours_are_forced(tmp_path: Path) -> None:
    """What reads the pipe is no terminal."""
    program = Program(source=waiting("call.finish('ok')"), environ={"FORCE_COLOR": "1", "TERM": "xterm"})
    ended = run_program(program, tmp_path)
    assert (ended.code, "\x1b" in ended.out, ended.out.splitlines()[0]) == (0, False, "run waits ...")
    assert "write" not in ended.err
