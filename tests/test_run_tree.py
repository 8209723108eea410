"""The tree behind the live console: bounded in memory and on the screen, however many sub-calls there are."""

import io

import pytest
from rich.console import Console

from rlm_otel.bracket import Bracket
from rlm_otel.callbacks import ConsoleCallback
from rlm_otel.callbacks.live_tree import live_tree_on
from rlm_otel.callbacks.run_tree import KEPT, Node, RunTree
from rlm_otel.callbacks.terminal import Canvas, can_draw
from rlm_otel.callbacks.tree_table import Row, rows_within, table
from rlm_otel.events import Event
from tests.callback_rig import CHAT, TOOL, Refused, Rig


class Grown:
    """A tree that is told what a rig does, and its clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.tree = RunTree(clock=lambda: self.now)
        self.ended: list[Node] = []
        self.rig = Rig(self)

    def on_event(self, event: Event, /) -> None:
        ended = self.tree.note(event)
        if ended is not None:
            self.ended.append(ended)

    def drawn(self, height: int = 50, *, encoding: str = "utf-8") -> list[str]:
        """Its lines, 70 columns wide and without colours."""
        console = Console(file=io.TextIOWrapper(io.BytesIO(), encoding=encoding), color_system=None, no_color=True)
        canvas = Canvas(console)
        rows = rows_within(self.tree.open_roots(), height)
        return canvas.lines(table(rows, 70, self.now, ascii_only=canvas.ascii_only), 70)


def told(rows: list[Row]) -> list[str]:
    """What rows say, two spaces a level."""
    return [f"{'  ' * len(rails)}{what.name if isinstance(what, Node) else what}" for rails, what in rows]


def refused(rig: Rig, parent: Bracket) -> None:
    """A call that fails; the run goes on."""
    with pytest.raises(Refused):
        rig.call(parent, error=Refused("нет"), usage=None)


def test_ten_lines_a_parent_and_a_count_of_the_others() -> None:
    """What failed and what runs is shown first; the others are counted by their states."""
    grown = Grown()
    with grown.rig.run(agent="кот") as run:
        for number in range(180):
            grown.rig.call(run, seconds=number / 10)
        for _ in range(5):
            refused(grown.rig, run)
        calls = [grown.rig.begin(CHAT, run) for _ in range(12)]
        grown.now = 2.0
        lines = grown.drawn()
        assert lines[0] == "run кот (gpt-4o)  2.0 s  8,100 tokens  $0.0666  running, 185 calls"
        assert len(lines) == 11
        assert lines[1] == "├─ chat gpt-4o    0.0 s                         failed: Refused (429)…"
        assert lines[4] == "├─ chat gpt-4o    2.0 s                         running"
        assert lines[-1] == "└─ … 188 more                                   6 running, 2 failed"
        for call in calls:
            call.finish()
        grown.now = 3.0
    assert [root.name for root in grown.ended] == ["run кот (gpt-4o)"]
    assert grown.tree.open_roots() == []


def test_the_height_is_kept_however_deep_it_gets() -> None:
    """Fewer lines a parent where there is less room."""
    grown = Grown()
    with grown.rig.run() as run:
        for _ in range(20):
            with grown.rig.run(run) as sub:
                for _ in range(20):
                    grown.rig.call(sub)
        heights = {height: len(grown.drawn(height)) for height in (200, 111, 60, 20, 10, 3, 2, 1)}
        assert heights == {200: 101, 111: 101, 60: 50, 20: 10, 10: 10, 3: 2, 2: 2, 1: 1}
        assert told(rows_within(grown.tree.open_roots(), 3)) == ["run (gpt-4o)", "  Hidden(count=20, states='')"]
    with grown.rig.run(), grown.rig.run(), grown.rig.run():
        assert told(rows_within(grown.tree.open_roots(), 2)) == ["run (gpt-4o)", "Hidden(count=2, states='2 running')"]


def test_ten_thousand_sub_calls_leave_few_nodes() -> None:
    """Of those that ended the latest are kept, and as many that failed."""
    grown = Grown()
    with grown.rig.run() as run:
        for _ in range(9_900):
            grown.rig.call(run)
        for _ in range(100):
            refused(grown.rig, run)
        [root] = grown.tree.open_roots()
        assert (len(root.well), len(root.badly), root.branches, root.calls) == (KEPT, KEPT, 10_000, 10_000)
        assert len(grown.drawn()) == 11


def test_a_wait_for_a_retry_counts_down() -> None:
    """Then the call runs again; the run says how many there were."""
    grown = Grown()
    with grown.rig.run() as run:
        call = grown.rig.begin(CHAT, run)
        grown.rig.emitter.retry(call.retrying(1, 3, Refused("нет"), 2.0), None)
        grown.now = 0.5
        waiting = grown.drawn()
        grown.now = 2.5
        again = grown.drawn()
        call.finish()
    assert waiting == [
        "run (gpt-4o)    0.5 s      running, 0 calls, 1 retry",
        "└─ chat gpt-4o  0.5 s      retry 1 of 3 after Refused (429), in 1.5 s",
    ]
    assert again == [
        "run (gpt-4o)    2.5 s      running, 0 calls, 1 retry",
        "└─ chat gpt-4o  2.5 s      running, 1 retry",
    ]


def test_old_terminals_get_plain_lines_of_the_tree() -> None:
    """Letters that the encoding has stay."""
    grown = Grown()
    with grown.rig.run(agent="кот") as run:
        with Bracket(grown.rig.emitter, TOOL, parent=run) as tool:
            for _ in range(11):
                grown.rig.call(tool, seconds=0.5)
            lines = grown.drawn(encoding="cp1251")
    assert [line.split("  ")[0] for line in lines[:2]] == ["run кот (gpt-4o)", "`- tool search"]
    assert lines[2].startswith("   |- chat gpt-4o")
    assert lines[-1] == "   `- ... 2 more"


def test_where_nothing_is_drawn() -> None:
    """In a notebook, in a pipe, on a dumb terminal, and where somebody draws with Rich already."""

    def console(**more: object) -> Console:
        given = {"force_terminal": True, "_environ": {"TERM": "xterm"}, **more}
        return Console(file=io.TextIOWrapper(io.BytesIO()), **given)  # type: ignore[arg-type]  # what Console takes

    class Proxy(io.StringIO):
        rich_proxied_file = None

        def isatty(self) -> bool:
            return True

    assert can_draw(console())
    assert not can_draw(console(force_jupyter=True))
    assert not can_draw(console(force_terminal=False))
    assert not can_draw(console(_environ={"TERM": "dumb"}))
    assert live_tree_on(Proxy()) is None


def test_live_must_be_a_switch() -> None:
    """A word would count as True."""
    with pytest.raises(ValueError) as caught:
        ConsoleCallback(live="no")  # type: ignore[arg-type]  # the point of the test
    assert str(caught.value) == "live='no' must be True or False."
