"""A live console and what else is on its terminal: foreign text, other runs, streams, half lines, forks."""

from pathlib import Path
from typing import Final

import pytest

from tests.program import Program, run_program
from tests.test_console_live import name_in
from tests.window import Window

pytestmark = pytest.mark.programs

BEGIN: Final = """
import contextlib, io, logging, os, pathlib, sys, threading, time
import rlm_otel
from rlm_otel.callbacks import ConsoleCallback, RichStreamCallback, StreamingCallback

def wait_for(name):
    while not pathlib.Path(name).exists():
        time.sleep(0.01)

def call(**more):
    return rlm_otel.llm_call(provider="openai", model="gpt-4o", **more)

def drawn():
    time.sleep(0.5)  # several times as long as it takes until the tree is drawn anew

"""

HOSTILE: Final = """
HOSTILE = "\\x1b[2J\\x1b[31m[bold red]x[/bold red]\\r\\n\\x9b1A" + "w" * 10_000 + "\\x1b]0;title"
print("above")
with rlm_otel.run("run", callbacks=[ConsoleCallback(), RichStreamCallback()]):
    with contextlib.suppress(ValueError), rlm_otel.tool("search") as tool:
        tool.result(HOSTILE)
        raise ValueError(HOSTILE)
    with rlm_otel.tool(HOSTILE) as tool:
        tool.result(HOSTILE)
    with call(stream=True) as answer:
        answer.chunk(HOSTILE)
        drawn()
        wait_for("go")
        answer.finish(finish_reason="stop")
print("below")
"""


def test_hostile_text_has_its_own_line_and_no_more(tmp_path: Path) -> None:
    """Control characters, markup, ten thousand columns and an unfinished escape sequence, of tools and of a model."""
    with Window(BEGIN + HOSTILE, tmp_path, columns=90, lines=12) as window:
        screen = window.until(lambda screen: any("running" in line for line in screen))
        (tmp_path / "go").touch()
        assert window.until_it_ends() == 0
        everything = [line.rstrip() for line in window.everything.split("\n")]
        styled, is_sane, title = window.everything_styled, window.is_sane, window.title
    assert len(screen) <= 12
    answer = [line for line in everything if line.startswith(("\\x1b", "\\x9b", "ww")) or line.endswith("title")]
    tree = everything[1 + len(answer) : -2]
    assert everything[0] == "above"
    assert answer[0].startswith(r"\x1b[2J\x1b[31m[bold red]x[/bold red]\r")
    assert answer[-1].endswith(r"\x1b]0;title")
    assert sum(line.count("w") for line in answer) == 10_000
    assert [name_in(line) for line in tree[:2]] == ["run run", "├─ tool search"]
    assert tree[2].startswith(r"├─ tool \x1b[2J\x1b[31m[bold red]x[/")
    assert [len(line) <= 89 for line in tree] == [True] * 4
    assert everything[-2:] == ["below", "left with 0"]
    assert ("\x1b[1;31m" in styled, is_sane, "title" in title) == (False, True, False)


SHARED: Final = """
def work(number):
    callbacks = [ConsoleCallback(), RichStreamCallback()]
    with rlm_otel.run(f"number {number}", callbacks=callbacks), call(stream=True) as answer:
        for piece in ("**An", "swer** ", f"of {number}"):
            answer.chunk(piece)
        wait_for(f"go {number}")
        answer.finish(finish_reason="stop")

threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("end", "write" in vars(sys.stdout), "write" in vars(sys.stderr))
"""


def test_runs_with_callbacks_of_their_own_share_the_display(tmp_path: Path) -> None:
    """Trees and answers of all, one below the other; each stays once it ended."""
    with Window(BEGIN + SHARED, tmp_path) as window:
        screen = window.until(
            lambda screen: (
                sum("running" in line for line in screen) == 6 and sum("Answer" in line for line in screen) == 3
            )
        )
        (tmp_path / "go 1").touch()
        later = window.until(lambda screen: sum("running" in line for line in screen) == 4)
        for number in (0, 2):
            (tmp_path / f"go {number}").touch()
        window.until_it_ends()
        everything, is_sane = window.everything.split("\n"), window.is_sane
    assert sorted(name_in(line) for line in screen) == sorted(
        [*(f"run number {n}" for n in range(3)), *["└─ chat gpt-4o"] * 3, *(f"Answer of {n}" for n in range(3))]
    )
    assert [name_in(line) for line in later[:3]] == ["Answer of 1", "run number 1", "└─ chat gpt-4o"]
    counts = [sum(line.startswith(text) for line in everything) for text in ("Answer of", "run number", "└─ chat")]
    assert counts == [3, 3, 3]
    assert [line for line in everything if "running" in line] == []
    assert (everything[-2], is_sane) == ("end False False", True)


STREAMED: Final = """
with rlm_otel.run("run", callbacks=[ConsoleCallback(), StreamingCallback()]), call(stream=True) as answer:
    drawn()
    answer.chunk("half a ")
    drawn()
    wait_for("go")
    answer.chunk("line\\nand more")
    drawn()
    answer.finish(finish_reason="stop")
print("end")
"""


def test_half_a_line_stays_as_it_is(tmp_path: Path) -> None:
    """The tree makes room for a line that has no end yet, and for what a prompt wants to be typed."""
    with Window(BEGIN + STREAMED, tmp_path) as window:
        window.until(lambda screen: "running" in screen[-1])
        assert window.until(lambda screen: screen[0].startswith("half a")) == ["half a"]
        (tmp_path / "go").touch()
        window.until_it_ends()
        screen = window.screen
    assert screen[:2] == ["half a line", "and more"]
    assert [name_in(line) for line in screen[2:4]] == ["run run", "└─ chat gpt-4o"]
    assert screen[4:] == ["end", "left with 0"]


PRINTS: Final = """
saved, log = sys.stdout, logging.StreamHandler()
logging.getLogger("mine").addHandler(log)
with rlm_otel.run("run", callbacks=[ConsoleCallback()]), call() as made:
    drawn()
    print("one", file=saved)
    logging.getLogger("mine").warning("two")
    with contextlib.redirect_stdout(io.StringIO()) as kept:
        print("kept")
        drawn()
    sys.stderr.writelines(["thr", "ee\\n"])
    print("four\\nfive", flush=True)
    if os.fork() == 0:
        drawn()
        os._exit(0 if "write" not in vars(sys.stdout) else 1)
    status = os.wait()[1]
    made.finish("ok", finish_reason="stop")
print(repr(kept.getvalue()), status, sys.stdout is saved)
"""


def test_every_way_to_print_is_seen(tmp_path: Path) -> None:
    """By a file that was kept, by logging, while stdout is another; and a forked child draws nothing."""
    with Window(BEGIN + PRINTS, tmp_path) as window:
        window.until_it_ends()
        everything = window.everything.split("\n")
    assert everything[:5] == ["one", "two", "three", "four", "five"]
    assert [name_in(line) for line in everything[5:7]] == ["run run", "└─ chat gpt-4o"]
    assert everything[7:] == ["'kept\\n' 0 True", "left with 0"]


RESIZED: Final = """
for number in range(8):
    print("before", number)
with rlm_otel.run("run", callbacks=[ConsoleCallback()]), call():
    wait_for("go")
    print("inside")
"""


def test_a_window_that_changes_loses_no_print(tmp_path: Path) -> None:
    """Made narrower than the tree, and lower: lines of the tree may be left behind, lines of the program stay."""
    with Window(BEGIN + RESIZED, tmp_path, columns=100, lines=16) as window:
        window.until(lambda screen: "running" in screen[-1])
        window.resize(40, 9)
        window.until(lambda screen: len(screen) == 9 and all(len(line) <= 40 for line in screen))
        window.resize(120, 20)
        (tmp_path / "go").touch()
        window.until_it_ends()
        everything, is_sane = [line.rstrip() for line in window.everything.split("\n")], window.is_sane
    assert [line for line in everything if line.startswith(("before", "inside"))] == [
        *(f"before {number}" for number in range(8)),
        "inside",
    ]
    assert (name_in(everything[-3]), is_sane) == ("run run", True)


STUCK: Final = """
class Stuck(io.StringIO):
    encoding = "utf-8"
    moves = threading.Event()
    writes = threading.Event()
    def isatty(self):
        return True
    def write(self, text):
        self.writes.set()
        self.moves.wait()
        return super().write(text)

stuck = Stuck()
with rlm_otel.run("run", callbacks=[ConsoleCallback(file=stuck)]):
    stuck.writes.wait()
    for number in range(1000):
        with call() as one:
            one.finish("ok", finish_reason="stop")
    print("1000 calls were made")
    stuck.moves.set()
print("1000 calls" in stuck.getvalue())
"""


def test_events_do_not_wait_for_the_terminal(tmp_path: Path) -> None:
    """A terminal that takes nothing holds up the end of the run alone."""
    ended = run_program(Program(source=BEGIN + STUCK, environ={"TERM": "xterm"}), tmp_path)
    assert (ended.code, ended.out, ended.err) == (0, "1000 calls were made\nTrue\n", "")
