"""The exceptions of this package: what stops a run, and what a stream without an end is."""

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlm_otel.outcome import Outcome
    from rlm_otel.result import Result


class StopRun(Exception):
    """Raise it in a hook or a tool to stop the run: it passes every fence and is never handed to the model.

    `result` holds what the run had come to (a `rlm_otel.Result`), set when it leaves `run()`. The run ends `closed`.
    """

    result: "Result | None" = None


class LimitReached(StopRun):
    """A limit of the runner was reached (`max_turns`). The run's outcome is `failed`."""


class BudgetExceeded(LimitReached):
    """A `BudgetCallback` refused to go on: tokens, cost, calls or depth. The run's outcome is `failed`."""


class SubRunLimit(Exception):
    """A sub-call was asked for below `max_depth`, or made `max_turns` calls; the model is told so as a tool's error."""


class NoAnswer(Exception):
    """A server said 200 and gave no answer: a login page, an error in the body. `reply` is what the SDK made of it."""

    def __init__(self, message: str, reply: object) -> None:
        super().__init__(message)
        self.reply = reply


class FailedReply(Exception):
    """A server said 200, and in its reply that the answer failed (the Responses API does). `code` is the vendor's."""

    def __init__(self, message: str, reply: object, *, code: str | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.reply = reply
        self.code = code
        self.request_id = request_id


class TornStream(Exception):
    """A stream ended without a finish reason: the answer is cut, although the transport ended cleanly."""


class Leave(BaseException):
    """Internal: thrown into a run's steps when its consumer goes away; each bracket ends by what it says."""

    def __init__(self, outcome: "Outcome", error: BaseException | None = None) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.error = error


def weakly(error: BaseException) -> Callable[[], BaseException | None]:
    """Without what its traceback holds: a tool may survive thousands of failed sub-runs."""
    try:
        return weakref.ref(error)
    except TypeError:  # the built-in ones allow no weak references
        return lambda: error
