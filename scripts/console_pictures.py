"""Writes docs/pictures/console-*.svg and report.svg: what a real run looks like in a terminal, while it runs and after.

Needs tmux. The model server is a scripted one; everything else is as in a program of yours.
"""

import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from screenshot import WIDTH, picture  # noqa: E402 - after the line above

from tests.window import Window  # noqa: E402

PICTURES: Final = ROOT / "docs" / "pictures"
PROGRAM: Final = """
import pathlib, random, time
import rich
from rlm_otel import TracedThreadPoolExecutor
from rlm_otel.callbacks import ConsoleCallback, RichStreamCallback
from rlm_otel.testing import Answer, Failure, ScriptedServer, Tokens, Tool, scripted_rlm

numbers, refused = random.Random(4), set()

def respond(request):
    used = Tokens(input=400 + numbers.randrange(900), output=40 + numbers.randrange(200))
    if not request.prompt.startswith("page"):
        asked = any(message["role"] == "tool" for message in request.body["messages"])
        if asked:
            findings = ("## Findings\\n\\n", "* the **bridge** is closed\\n", "* the *tram* runs")
            return Answer(chunks=findings, usage=used)
        return Answer(tool_calls=[Tool("read_pages")], usage=used, delay_s=0.4)
    number = int(request.prompt.split()[1])
    if number in (41, 55) and number not in refused:
        refused.add(number)
        return Failure(429, retry_after=2 + number / 20, message="slow down")
    if number in (6, 23):
        return Failure(400, message="this page is empty")
    return Answer("read", usage=used, delay_s=0.3 + numbers.random())

def read_pages(llm_query) -> str:
    def ask(number):
        try:
            return llm_query(f"page {number}")
        except Exception:
            return "empty"
    with TracedThreadPoolExecutor(16) as pool:
        for number, text in enumerate(pool.map(ask, range(200))):
            if number % 20 == 0:
                print(f"page {number}: {text}")
    return "all pages"

with ScriptedServer(respond=respond) as server:
    callbacks = [ConsoleCallback(), RichStreamCallback()]
    rlm = scripted_rlm(
        server, callbacks=callbacks, tools=[read_pages], sub_model="gpt-4o-mini", name="researcher"
    )
    result = rlm.run("What is new in town?")
pathlib.Path("ended").touch()
while not pathlib.Path("go").exists():
    time.sleep(0.05)
print("\\x1b[2J\\x1b[H", end="")
rich.print(result.report())
"""


def main() -> None:
    """Runs the program once and takes three pictures of its window."""
    with tempfile.TemporaryDirectory() as folder, Window(PROGRAM, Path(folder), columns=WIDTH, lines=32) as window:
        window.until(lambda screen: any(" more " in line and "page 40" in "".join(screen) for line in screen))
        _write("console-live", window.screen_styled, "while it runs")
        window.until(lambda _: (Path(folder) / "ended").exists())
        _write("console-ended", window.screen_styled, "once it ended")
        (Path(folder) / "go").touch()
        window.until_it_ends()
        report, _, _ = window.screen_styled.partition("left with")
        _write("report", report, "rich.print(result.report())")


def _write(name: str, text: str, title: str) -> None:
    (PICTURES / f"{name}.svg").write_text(picture(text, name, title), encoding="utf-8")


if __name__ == "__main__":
    main()
