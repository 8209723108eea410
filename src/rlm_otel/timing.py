"""When the chunks of a stream came: noted on its call, once a chunk."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rlm_otel.bracket import Bracket


class Seen(Protocol):
    """What the reader of a stream has seen so far."""

    @property
    def generated(self) -> bool:
        """Whether there was any text, reasoning or piece of a tool call."""

    @property
    def visible(self) -> bool:
        """Whether there was any text of the answer."""


class StreamTimes:
    """Notes when the first chunk, the first generated piece and the first text came, and, if asked, each gap."""

    __slots__ = ("_call", "_gaps", "_last_ns", "wanted")

    def __init__(self, call: "Bracket") -> None:
        self.wanted = True
        """Whether there is anything left to note."""
        self._call = call
        self._gaps = call.emitter.chunk_times
        self._last_ns = 0

    def note(self, seen: Seen) -> None:
        """A chunk has just been read."""
        call, now_ns = self._call, self._call.emitter.clock.monotonic_ns()
        elapsed_s = call.elapsed_s(now_ns)
        if call.first_chunk_s is None:
            call.first_chunk_s = elapsed_s
        elif self._gaps:
            call.chunk_gaps_s.append((now_ns - self._last_ns) / 1e9)
        self._last_ns = now_ns
        if call.first_token_s is None and seen.generated:
            call.first_token_s = elapsed_s
        if seen.visible and call.first_visible_s is None:
            call.first_visible_s = elapsed_s
            self.wanted = self._gaps
