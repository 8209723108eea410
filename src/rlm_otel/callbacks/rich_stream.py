"""`RichStreamCallback`: answers as Markdown on the terminal, drawn anew while they arrive."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TextIO, cast

from rlm_otel.callbacks.lock import ForkLock
from rlm_otel.callbacks.printing import plain, write_line
from rlm_otel.callbacks.streaming import StreamingCallback

if TYPE_CHECKING:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.markdown import Markdown


@dataclass(frozen=True, slots=True)
class _Answer:
    run_id: object
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return plain("".join(self.pieces), lines=True)


class RichStreamCallback(StreamingCallback):
    """Shows the answers of any number of runs while they arrive; each is printed for good when it ends.

    Where the output is no terminal, or one that is not Unicode, an answer is printed as plain text when it ends.
    """

    def __init__(self, *, console: "Console | None" = None) -> None:
        from rich.console import Console  # its import takes a tenth of a second

        self._console = console or Console()
        self._is_drawn = self._console.is_terminal and self._console.encoding.startswith("utf")
        self._answers: dict[str, _Answer] = {}
        self._live: Live | None = None
        # Taken before the one of Live, whose drawing thread holds its own while it calls _drawing: that takes none.
        self._lock = ForkLock()

    def on_token(self, token: str, **kwargs: object) -> None:
        """Adds to the answer."""
        key = str(kwargs.get("operation_id"))
        with self._lock:
            self._answers.setdefault(key, _Answer(kwargs.get("run_id"))).pieces.append(token)
            if self._is_drawn and self._live is None:
                self._live = self._started()

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

    # Inside ------------------------------------------------------------

    def _started(self) -> "Live":
        from rich.live import Live

        # Transient: what is drawn is cut at the height of the terminal, what is printed in the end is not.
        live = Live(console=self._console, get_renderable=self._drawing, refresh_per_second=10, transient=True)
        live.start()
        return live

    def _end(self, key: str) -> None:
        with self._lock:
            answer = self._answers.pop(key, None)
            if answer is None:
                return
            try:
                if self._is_drawn:
                    self._console.print(_markdown(answer.text))
                else:
                    write_line(answer.text, cast(TextIO, self._console.file))
            finally:
                if self._live is not None and not self._answers:
                    live, self._live = self._live, None
                    live.stop()

    def _drawing(self) -> "Group":
        from rich.console import Group

        return Group(*(_markdown(answer.text) for answer in list(self._answers.values())))


def _markdown(text: str) -> "Markdown":
    from rich.markdown import Markdown

    return Markdown(text, hyperlinks=False)  # a link's address is shown, not hidden behind its words
