"""`StreamingCallback` and `RichStreamCallback`: each piece of the answer, and none in the wrong place."""

import io

import pytest
from rich.console import Console

from rlm_otel.callbacks import RichStreamCallback, StreamingCallback
from rlm_otel.callbacks.plan import plan
from rlm_otel.errors import StopRun
from tests.callback_rig import CHAT, Refused, Rig


def console(*, is_terminal: bool, encoding: str = "utf-8") -> tuple[Console, io.BytesIO]:
    """A console of 40 columns, and what it got."""
    got = io.BytesIO()
    file = io.TextIOWrapper(got, encoding=encoding, newline="", write_through=True)
    return Console(file=file, force_terminal=is_terminal, width=40, height=20, _environ={"TERM": "xterm"}), got


def test_function_gets_each_token() -> None:
    """A function of C as well."""
    tokens: list[str] = []
    rig = Rig(StreamingCallback(on_token=tokens.append))
    assert rig.emitter.wants_tokens
    rig.call(None, tokens=["При", "вет"])
    assert tokens == ["При", "вет"]


def test_method_is_not_hidden_by_the_function() -> None:
    """What looks at the class sees the hook."""
    callback = StreamingCallback(on_token=print)
    assert "on_token" not in vars(callback)
    assert set(plan(callback).hooks) == {"on_token"}


def test_subclass_may_skip_the_constructor() -> None:
    """As the tutorial's RichStreamCallback does."""

    class Mine(StreamingCallback):
        def __init__(self) -> None:
            self.buffer = ""

        def on_token(self, token: str) -> None:
            self.buffer += token

    class Silent(StreamingCallback):
        def __init__(self) -> None:
            pass

    mine = Mine()
    Rig(mine, Silent()).call(None, tokens=["a", "б"])
    assert mine.buffer == "aб"


def test_without_a_function_tokens_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """As plain text."""
    Rig(StreamingCallback()).call(None, tokens=["раз\n", "\x1b[2Jдва"])
    assert capsys.readouterr().out == "раз\n\\x1b[2Jдва"


def test_something_that_is_no_function_is_an_error() -> None:
    """At once, not at the first token."""
    with pytest.raises(ValueError) as caught:
        StreamingCallback(on_token="print")  # type: ignore[arg-type]  # the point of the test
    assert str(caught.value) == "on_token='print' cannot be called; pass a function (str) -> None."


# RichStreamCallback ------------------------------------------------------------


def test_rich_prints_plain_text_where_there_is_no_terminal() -> None:
    """Two answers at once do not get mixed."""
    target, got = console(is_terminal=False)
    rig = Rig(RichStreamCallback(console=target))
    first, second = rig.begin(CHAT), rig.begin(CHAT)
    first.token("**раз** ")
    second.token("два\n")
    first.token("\x1b[2J👋")
    second.finish()
    first.finish()
    assert got.getvalue().decode() == "два\n\n**раз** \\x1b[2J👋\n"


def test_rich_needs_no_unicode() -> None:
    """Markdown's lines and bullets are no part of an old encoding."""
    target, got = console(is_terminal=True, encoding="cp1251")
    Rig(RichStreamCallback(console=target)).call(None, tokens=["# Кот 🐱"])
    assert got.getvalue().decode("cp1251") == "# Кот ?\n"


def test_rich_prints_markdown_on_a_terminal_and_lets_go_of_it() -> None:
    """The address of a link is shown; an escape of the model's is text."""
    target, got = console(is_terminal=True)
    Rig(RichStreamCallback(console=target)).call(None, tokens=["**раз** ", "[тут](http://x)", " \x1b]0;a\x07"])
    shown = got.getvalue().decode()
    assert "\x1b[1mраз\x1b[0m" in shown
    assert "http://x" in shown
    assert "\\x1b]0;a\\x07" in shown
    assert "\x1b]" not in shown
    assert "write" not in vars(target.file)


@pytest.mark.parametrize("error", [Refused("нет"), StopRun("хватит"), KeyboardInterrupt()])
def test_rich_stops_on_every_way_out(error: BaseException) -> None:
    """What had come is kept; the next run starts afresh."""
    target, got = console(is_terminal=True)
    callback = RichStreamCallback(console=target)
    rig = Rig(callback)
    with pytest.raises(type(error)), rig.run() as run:
        rig.call(run, tokens=["часть"], error=error)
    shown = got.getvalue().decode()
    assert "часть" in shown
    assert "write" not in vars(target.file)
    rig.call(None, tokens=["ещё"])
    assert "часть" not in got.getvalue().decode()[len(shown) :]


def test_rich_ends_with_the_run_what_no_call_has_ended() -> None:
    """Whoever gives tokens may give them for the run itself."""
    target, got = console(is_terminal=False)
    rig = Rig(RichStreamCallback(console=target))
    with rig.run() as run:
        run.token("ответ")
    assert got.getvalue().decode() == "ответ\n"
