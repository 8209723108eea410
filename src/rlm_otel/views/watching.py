"""`rlm-otel ps` on a terminal, once or each second, and in a pipe."""

import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from typing import Final, TextIO

from rlm_otel.views.json_text import json_text
from rlm_otel.views.processes import Process, processes
from rlm_otel.views.show_processes import fitted, lines, records

_EACH_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """What to look at, and how it is shown."""

    out: TextIO
    environ: Mapping[str, str]
    _: KW_ONLY
    as_json: bool
    everything: bool

    def text(self, found: list[Process], *, width: int | None, height: int | None = None) -> str:
        """All of it as text, within a terminal's width and height where there is one."""
        if self.as_json:
            return json_text(records(found), self.out.encoding)
        encoding = (self.out.encoding or "utf-8").lower()
        shown = [
            fitted(line, width) for line in lines(found, everything=self.everything, ascii_only="utf" not in encoding)
        ]
        if height is not None and len(shown) > height:
            shown[height - 1 :] = [f"… {len(shown) - height + 1} more lines"]
        return "\n".join(shown)


def look_once(look: Look) -> None:
    """Shows what is open now."""
    width = shutil.get_terminal_size().columns if look.out.isatty() else None
    look.out.write(look.text(processes(look.environ), width=width) + "\n")


def look_until_told(look: Look) -> None:
    """Shows it again each second, until Ctrl-C; on a terminal in place, in a pipe one below the other."""
    with suppress(KeyboardInterrupt):
        if look.out.isatty() and not look.as_json:
            _in_place(look)
        else:
            gone: dict[int, Process] = {}
            while True:
                look.out.write(look.text(_with_the_gone(look, gone), width=None) + "\n\n")
                look.out.flush()
                time.sleep(_EACH_S)


def _in_place(look: Look) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    gone: dict[int, Process] = {}
    console = Console(file=look.out, highlight=False, markup=False, emoji=False)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            size = console.size
            shown = look.text(_with_the_gone(look, gone), width=size.width, height=size.height)
            live.update(Text(shown, no_wrap=True), refresh=True)
            time.sleep(_EACH_S)


def _with_the_gone(look: Look, gone: dict[int, Process]) -> list[Process]:
    """What is found now, and what was gone when it was looked at before: that is told once by its entry alone."""
    found = processes(look.environ)
    gone.update({process.pid: process for process in found if process.state == "gone"})
    others = [process for process in found if process.pid not in gone]
    return sorted([*others, *gone.values()], key=lambda process: process.pid)
