"""A listener that keeps every event, for tests of what happened rather than of what was emitted."""

from typing import Final, TypeVar

from rlm_otel.events import Chunk, Event, Finished, ModelCall, Retrying, Run, Started, ToolCall

E = TypeVar("E", Started, Chunk, Retrying, Finished)


class Recorder:
    """Give it as a callback; `events` has what happened, in order. `chunks=True` asks for pieces of answers as well.

    The runner streams from the server as soon as some callback wants chunks.
    """

    def __init__(self, *, chunks: bool = False) -> None:
        self.events: Final[list[Event]] = []
        self.chunks: Final = chunks

    def on_event(self, event: Event, /) -> None:
        """Keeps an event."""
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one kind: `recorder.of(Finished)`."""
        return [event for event in list(self.events) if isinstance(event, kind)]

    def outline(self) -> str:
        """One line an event, two spaces of indent for each operation that it is inside of."""
        return "\n".join(self._line(event) for event in list(self.events))

    def _line(self, event: Event) -> str:
        parents = {e.id: e.parent_id for e in list(self.events)}
        indent, above = "", event.parent_id
        while above in parents:
            indent, above = indent + "  ", parents[above]
        return indent + _what(event)


def _what(event: Event) -> str:
    name = f"{_subject(event)} {type(event).__name__.lower()}"
    match event:
        case Chunk():
            return f"{name} {event.text!r}"
        case Retrying():
            return f"{name} {event.attempt}/{event.max_attempts} !{event.failure.type}"
        case Finished(failure=failure, outcome="failed") if failure is not None:
            return f"{name} !{failure.type}"
        case Finished(outcome=outcome) if outcome != "completed":
            return f"{name} ({outcome})"
    return name


def _subject(event: Event) -> str:
    match event.operation:
        case Run():
            return f"run {event.agent}" if event.agent else "run"
        case ModelCall(name=name, model=model):
            return f"{name} {model}"
        case ToolCall(name=name):
            return f"tool {name}"
