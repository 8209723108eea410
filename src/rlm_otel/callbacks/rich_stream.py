"""`RichStreamCallback`: answers as Markdown on the terminal, drawn anew while they arrive."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO, cast

from rlm_otel.callbacks.lock import ForkLock
from rlm_otel.callbacks.printing import plain, write_line
from rlm_otel.callbacks.streaming import StreamingCallback
from rlm_otel.callbacks.terminal import Canvas, can_draw, display_on

if TYPE_CHECKING:
    from rich.console import Console
    from rich.markdown import Markdown


@dataclass(slots=True)
class _Answer:
    run_id: object
    pieces: list[str] = field(default_factory=list)
    seen: int = 0
    """How many of the pieces are in `lines`, which were drawn `width` columns wide."""
    width: int = 0
    lines: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return plain("".join(self.pieces), lines=True)


class RichStreamCallback(StreamingCallback):
    """Shows the answers of any number of runs while they arrive; each is printed for good when it ends.

    An answer that is higher than the window shows its latest lines. Where the output is no terminal, or one that is not
    Unicode, an answer is printed as plain text when it ends.
    """

    def __init__(self, *, console: "Console | None" = None) -> None:
        from rich.console import Console  # its import takes a tenth of a second

        self._console = console or Console()
        is_terminal = console is not None or self._console.file.isatty()  # Rich takes FORCE_COLOR for a terminal
        is_drawn = is_terminal and can_draw(self._console) and self._console.encoding.startswith("utf")
        self._display = display_on(self._console) if is_drawn else None
        self._canvas = Canvas(self._console)
        self._answers: dict[str, _Answer] = {}
        self._lock = ForkLock()

    def on_token(self, token: str, **kwargs: object) -> None:
        """Adds to the answer."""
        key = str(kwargs.get("operation_id"))
        with self._lock:
            answer = self._answers.get(key)
            if answer is not None:
                answer.pieces.append(token)
                return
            self._answers[key] = _Answer(kwargs.get("run_id"), [token])
        if self._display is not None:
            self._display.add(self)

    def on_llm_end(self, response: object, **kwargs: object) -> None:
        """Prints the answer for good."""
        self._end(str(kwargs.get("operation_id")))

    def on_error(self, error: BaseException, **kwargs: object) -> None:
        """Prints what had come."""
        self._end(str(kwargs.get("operation_id")))

    def on_run_end(self, result: object, **kwargs: object) -> None:
        """Prints whatever of this run is still open."""
        run_id = kwargs.get("operation_id")
        for key, answer in list(self._answers.items()):
            if answer.run_id == run_id:
                self._end(key)

    def _end(self, key: str) -> None:
        with self._lock:
            answer = self._answers.pop(key, None)
        if answer is None:
            return
        if self._display is None:
            write_line(answer.text, cast(TextIO, self._console.file))
            return
        lines: list[str] = []
        try:
            lines = self._canvas.lines(_markdown(answer.text), self._console.width)
        finally:
            self._display.say("".join(f"{line}\n" for line in lines), self)

    # What is drawn ------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether no answer is arriving."""
        return not self._answers

    def lines(self, width: int, height: int) -> list[str]:
        """The latest lines of each answer; the older ones leave room for the newer ones."""
        answers = list(self._answers.values())[-height:]
        lines: list[str] = []
        for place, answer in enumerate(answers):
            most = (height - len(lines)) // (len(answers) - place)
            lines += self._lines_of(answer, width)[-most:]
        return lines

    def forget(self) -> None:
        """In a forked child."""
        self._answers.clear()

    def _lines_of(self, answer: _Answer, width: int) -> list[str]:
        seen = len(answer.pieces)
        if (seen, width) != (answer.seen, answer.width):
            answer.lines = self._canvas.lines(_markdown(answer.text), width)
            answer.seen, answer.width = seen, width
        return answer.lines


def _markdown(text: str) -> "Markdown":
    from rich.markdown import Markdown

    return Markdown(text, hyperlinks=False)  # a link's address is shown, not hidden behind its words
