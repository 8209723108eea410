"""The handle of what is observed: to end it."""

from types import TracebackType
from typing import Any, Self

from rlm_otel.adapters.openai.observer import Observer


class Handle:
    """What `instrument_openai` returns: `undo()` ends the observing, as leaving it as a `with` block does."""

    def __init__(self, observer: Observer | None = None) -> None:
        self._observer = observer

    def undo(self) -> None:
        """Observes no further call; one that is under way is seen to its end. A second time does nothing."""
        if self._observer is not None:
            self._observer.active = False
            self._restore()

    def _restore(self) -> None:
        """Puts back what was there before."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.undo()


class ClientHandle(Handle):
    """One client is observed, and the copies that it makes of itself."""

    def __init__(self, observer: Observer, client: Any, base: type) -> None:
        super().__init__(observer)
        self._client = client
        self._base = base
        self._observed: type = type(client)

    def _restore(self) -> None:
        if type(self._client) is self._observed:  # else somebody put another class over ours, which is quiet now
            self._client.__class__ = self._base
