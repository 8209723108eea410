"""What callbacks print: the tutorial's lines, on any terminal, with foreign text made harmless."""

import contextlib
import io
import sys

import pytest

import rlm_otel
from rlm_otel.callbacks import ConsoleCallback, RetryHandler, SimpleLogger, StreamingCallback
from rlm_otel.callbacks.printing import plain, write_line
from rlm_otel.events import ModelCall
from rlm_otel.outcome import Cost
from tests.callback_rig import CHAT, USAGE, Refused, Rig


class Terminal:
    """A text file in memory with an encoding of its own."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self._bytes = io.BytesIO()
        self.file = io.TextIOWrapper(self._bytes, encoding=encoding, newline="")

    @property
    def text(self) -> str:
        return self._bytes.getvalue().decode(self.file.encoding)

    @property
    def lines(self) -> list[str]:
        return self.text.splitlines()


def test_simple_logger_prints_the_tutorials_lines_in_russian(capsys: pytest.CaptureFixture[str]) -> None:
    """The lines that the tutorial shows below its code."""
    rig = Rig(SimpleLogger(language="ru"))
    with rig.run() as run:
        rig.call(run)
    with pytest.raises(Refused):
        rig.call(None, error=Refused("слишком часто"))
    assert capsys.readouterr().out.splitlines() == [
        "📤 Отправка промпта (7 символов)",
        "📥 Получено (45 токенов)",
        "📤 Отправка промпта (7 символов)",
        "❌ Ошибка: слишком часто",
    ]


def test_simple_logger_speaks_english_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    """A vendor that counts no tokens is not shown as 0 tokens."""
    rig = Rig(SimpleLogger())
    rig.call(None)
    rig.call(None, usage=None)
    assert capsys.readouterr().out.splitlines() == [
        "📤 Sending prompt (7 characters)",
        "📥 Received (45 tokens)",
        "📤 Sending prompt (7 characters)",
        "📥 Received (tokens not reported)",
    ]


def test_unknown_language_is_an_error() -> None:
    """It names those that are known."""
    with pytest.raises(ValueError) as caught:
        SimpleLogger(language="de")  # type: ignore[arg-type]  # the point of the test
    assert str(caught.value) == "language='de' is not known; use one of: en, ru."


def test_cyrillic_prints_where_emoji_cannot() -> None:
    """What the terminal does not have becomes a question mark, the rest stays."""
    rig = Rig(SimpleLogger(language="ru"), StreamingCallback())
    terminal = Terminal("cp1251")
    with contextlib.redirect_stdout(terminal.file):
        rig.call(None, tokens=["Привет ", "🐱!\n"])
    assert terminal.lines == ["? Отправка промпта (7 символов)", "Привет ?!", "? Получено (45 токенов)"]


def test_process_without_stdout_prints_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service of the operating system may have none."""
    monkeypatch.setattr(sys, "stdout", None)
    write_line("никому")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mкрасный\x07", r"\x1b[31mкрасный\x07"),
        ("две\r\nстроки\t", r"две\r\nстроки\t"),
        ("\x9b2J", r"\x9b2J"),
        ("abc\u202ecba\u2069", r"abc\u202ecba\u2069"),
        ("\ud83d", r"\ud83d"),
        ("[bold]👩\u200d🚀[/bold]", "[bold]👩\u200d🚀[/bold]"),
    ],
)
def test_control_characters_are_spelled_out(text: str, shown: str) -> None:
    """Nothing that a model writes moves the cursor, changes a colour or reorders text."""
    assert plain(text) == shown


def test_errors_show_neither_escapes_nor_keys(capsys: pytest.CaptureFixture[str]) -> None:
    """Error text is foreign text."""
    rig = Rig(SimpleLogger(), RetryHandler())
    with pytest.raises(Refused):
        rig.call(None, error=Refused("bad key sk-abcdefgh12345678\x1b[2J"))
    assert capsys.readouterr().out.splitlines() == [
        "📤 Sending prompt (7 characters)",
        r"❌ Error: bad key [redacted]\x1b[2J",
        r"❌ Final error after 0 retries: bad key [redacted]\x1b[2J",
    ]


# ConsoleCallback ------------------------------------------------------------


def test_console_tells_an_errors_text_once() -> None:
    """Where it arose; the levels that it leaves show its class."""
    terminal = Terminal()
    rig = Rig(ConsoleCallback(file=terminal.file))
    with pytest.raises(Refused), rig.run() as run, rig.run(run) as sub:
        rig.call(sub, usage=None, error=Refused("занято"))
    name = "tests.callback_rig.Refused (429)"
    assert terminal.lines[3:] == [
        f"    chat gpt-4o: 0.00 s, failed: {name}: занято",
        f"  run (gpt-4o): 0.00 s, 1 call, 0 tools, failed: {name}",
        f"run (gpt-4o): 0.00 s, 0 calls, 0 tools, failed: {name}",
    ]


def test_console_shows_the_tree_of_a_run() -> None:
    """Indented by depth; each end says what is known."""
    terminal = Terminal()
    rig = Rig(ConsoleCallback(file=terminal.file))
    with rig.run(agent="кот") as run:
        rig.call(run, seconds=0.5)
        with rig.run(run) as sub:
            rig.tool(sub, error=ValueError("нет такого города"))
    assert terminal.lines == [
        "run кот (gpt-4o) ...",
        "  chat gpt-4o ...",
        "  chat gpt-4o: 0.50 s, 10 in (4 cached) + 35 out (5 reasoning) tokens, $0.000370",
        "  run (gpt-4o) ...",
        "    tool search ...",
        "    tool search: 0.00 s, failed: ValueError: нет такого города",
        "  run (gpt-4o): 0.00 s, 0 calls, 1 tool",
        "run кот (gpt-4o): 0.50 s, 1 call, 0 tools, 10 in (4 cached) + 35 out (5 reasoning) tokens, $0.000370",
    ]


def test_s105_console_names_a_workflow() -> None:
    """It is no agent, and may have no name."""
    terminal = Terminal()
    for name in ("ночь", None):
        with rlm_otel.run(name, workflow=True, callbacks=[ConsoleCallback(file=terminal.file)]):
            pass
    said = [line.partition(":")[0] for line in terminal.lines]
    assert said == ["workflow ночь ...", "workflow ночь", "workflow ...", "workflow"]


def test_console_shows_retries_failures_and_unknown_costs() -> None:
    """Of the failure its class, status and text."""
    terminal = Terminal("cp1251")
    rig = Rig(ConsoleCallback(file=terminal.file))
    call = rig.begin(ModelCall(provider="openai", model="мой-🐱"))
    rig.emitter.retry(call.retrying(1, 3, Refused("a\nb"), 0.25), None)
    call.attempts = 2
    call.finish(Refused("x" * 300))
    rig.call(None, operation=ModelCall(provider="openai", model="local"))
    assert terminal.lines == [
        "chat мой-? ...",
        r"chat мой-?: retry 1 of 3 in 0.25 s after tests.callback_rig.Refused (429): a\nb",
        f"chat мой-?: 0.00 s, 2 attempts, failed: tests.callback_rig.Refused (429): {'x' * 197}...",
        "chat local ...",
        "chat local: 0.00 s, 10 in (4 cached) + 35 out (5 reasoning) tokens, cost unknown (no price)",
    ]


def test_console_shows_costs_of_dollars_shortly() -> None:
    """Four digits are enough there."""
    terminal = Terminal()
    rig = Rig(ConsoleCallback(file=terminal.file))
    call = rig.begin(CHAT)
    call.usage, call.reported_cost = USAGE, 1.23456
    call.finish()
    assert call.ended is not None
    assert call.ended.cost == Cost(1.23456, "provider")
    assert terminal.lines[-1] == "chat gpt-4o: 0.00 s, 10 in (4 cached) + 35 out (5 reasoning) tokens, $1.2346"
