"""Where a failure arose: what a run or tool fails with has mostly been told by a call below it."""

from dataclasses import dataclass, field

from rlm_otel.events import Finished, Run, Started


@dataclass(frozen=True, slots=True)
class _OpenRun:
    root_id: str
    told: list[BaseException] = field(default_factory=list)


class Arisen:
    """Tells a listener which failures are new, by the rule of `on_error` (which is never for a tool's).

    Holds what is known of open runs only. Safe under threads without a lock: each step on the dict or a list is atomic.
    """

    def __init__(self) -> None:
        self._open: dict[str, _OpenRun] = {}

    def start(self, event: Started) -> None:
        """Notes a run that began."""
        if isinstance(event.operation, Run):
            self._open[event.id] = _OpenRun(event.root_id)

    def finish(self, event: Finished) -> bool:
        """Whether the operation ended with a failure that no operation below it has ended with."""
        runs = [run for run in list(self._open.values()) if run.root_id == event.root_id]
        self._open.pop(event.id, None)
        if event.failure is None or event.failure.exception is None:
            return event.failure is not None
        exception = event.failure.exception
        is_told = any(exception is told for run in runs for told in run.told)
        for run in runs:
            run.told.append(exception)
        return not is_told
