"""The bracket around one operation: the same `with` in sync and async code, one `Finished` on every way out."""

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rlm_otel import sums
from rlm_otel.ambient import current_bracket, current_labels
from rlm_otel.callbacks import hooks
from rlm_otel.emitter import Emitter
from rlm_otel.errors import StopRun
from rlm_otel.events import (
    Chunk,
    Cost,
    Failure,
    Finished,
    Link,
    ModelCall,
    Operation,
    Origin,
    Reply,
    Retrying,
    Run,
    RunResult,
    Started,
    ToolCall,
    ToolResult,
    Unpriced,
    Usage,
)
from rlm_otel.fence import fence
from rlm_otel.reader import read_failure


class Bracket:
    """One operation from start to end. The producer sets `result`, `usage` and the stream's times before it leaves.

    Leaving without an exception is `completed`; the exception decides otherwise and always goes on. Entering raises
    what a start hook raised (`StopRun`): the operation then has not begun and only its end hooks are called; a run
    always begins.
    """

    def __init__(
        self, emitter: Emitter, operation: Operation, *, parent: "Bracket | None" = None, agent: str | None = None
    ) -> None:
        self.emitter = emitter
        self.operation = operation
        self.parent = parent
        is_run = isinstance(operation, Run)
        self.id = emitter.make_id()
        self.run: Bracket | None = self if is_run else parent.run if parent else None
        """The enclosing run; a run's is itself."""
        above = parent.origin if parent else None
        self.origin: Origin = Origin(
            id=self.id,
            parent_id=above.id if above else None,
            root_id=above.root_id if above else self.id,
            run_id=self.id if is_run else above.run_id if above else None,
            depth=(above.depth + is_run) if above else 0,
            agent=agent if is_run else above.agent if above else None,
            conversation=above.conversation if above else None,
            labels=current_labels.get() or (above.labels if above else ()),
        )
        self.link: Link | None = None
        self.result: Reply | ToolResult | RunResult | None = None
        self.usage: Usage | None = None
        self.reported_cost: float | None = None
        self.attempts = 0
        self.first_chunk_s: float | None = None
        self.first_token_s: float | None = None
        self.first_visible_s: float | None = None
        self.chunk_gaps_s: list[float] = []
        self.finished: Finished | None = None
        """How it ended, once it has."""
        self._failure: Failure | None = None
        self._raised_below: list[BaseException] = []
        self._children: list[sums.Child] = []
        self._open: list[None] = []  # its one item is popped by whoever ends the operation: atomic without a lock
        self._wall_ns = 0
        self._start_ns = 0

    # Start and end ------------------------------------------------------------

    def __enter__(self) -> Self:
        if not isinstance(self.operation, Run):
            self.emitter.check_stop()
        refused = self._call_start_hooks()
        self._wall_ns, self._start_ns = self.emitter.clock.wall_ns(), self.emitter.clock.monotonic_ns()
        if refused is not None and not isinstance(self.operation, Run):
            self._call_end_hooks(self._finished(refused, self._start_ns), refused)  # hooks alone: it never began
            raise refused
        tracing = self.emitter.tracing
        if tracing is not None:
            with fence(type(tracing).__name__, "begin"):  # the SDK lets exceptions of span processors through
                self.link = tracing.begin(self._started())
        self._open.append(None)
        self.emitter.tell(self._started())
        if refused is not None:
            self.finish(refused)
            raise refused
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.finish(error)
        except StopRun:
            if error is None:  # what is already leaving goes on
                raise

    def current(self) -> AbstractContextManager[None]:
        """Makes the operation current for one piece of work (a call, a chunk, a tool), never across a yield."""
        return _Current(self)

    def fail(self, error: BaseException) -> None:
        """Notes a failure that does not leave: a tool's error goes to the model."""
        self._failure = read_failure(error)

    def elapsed_s(self, now_ns: int) -> float:
        """Seconds from the start to a reading of the monotonic clock."""
        return (now_ns - self._start_ns) / 1e9

    # What happens between ------------------------------------------------------------

    def token(self, text: str) -> None:
        """A piece of the answer arrived and some callback wants tokens."""
        now = self.emitter.clock.monotonic_ns()
        self.emitter.token(
            Chunk(
                origin=self.origin,
                time_ns=self._wall_ns + now - self._start_ns,
                monotonic_ns=now,
                operation=self.operation,
                link=self.link,
                text=text,
            ),
            self.run,
        )

    def retrying(self, attempt: int, max_attempts: int, error: BaseException, delay_s: float) -> Retrying:
        """The event of a failed attempt; its time is now, before anyone is told."""
        now = self.emitter.clock.monotonic_ns()
        return Retrying(
            origin=self.origin,
            time_ns=self._wall_ns + now - self._start_ns,
            monotonic_ns=now,
            operation=self.operation,
            link=self.link,
            attempt=attempt,
            max_attempts=max_attempts,
            failure=read_failure(error),
            delay_s=delay_s,
        )

    def finish(self, error: BaseException | None = None) -> None:
        """Ends the operation: clock, listeners, then hooks. The first to come ends it, later ones do nothing."""
        try:
            self._open.pop()
        except IndexError:
            return
        now = self.emitter.clock.monotonic_ns()
        finished = self._finished(error, now)
        above = self.parent.run if self.parent is not None else None
        if above is not None:
            unpriced = finished.result.unpriced_calls if isinstance(finished.result, RunResult) else 0
            above._children.append(sums.Child(type(self.operation), finished.usage, finished.cost, unpriced))
        self.finished = finished
        self.emitter.tell(finished)
        self._call_end_hooks(finished, error)

    # Inside ------------------------------------------------------------

    def _started(self) -> Started:
        return Started(
            origin=self.origin,
            time_ns=self._wall_ns,
            monotonic_ns=self._start_ns,
            operation=self.operation,
            link=self.link,
            parent=self.parent.link if self.parent else None,
        )

    def _finished(self, error: BaseException | None, now: int) -> Finished:
        outcome, failure = sums.verdict(error, self._failure)
        usage, result = self.usage, self.result
        cost: Cost | Unpriced | None = None
        if isinstance(self.operation, Run):
            usage, cost, result = sums.total(self._children, result if isinstance(result, RunResult) else RunResult())
        elif isinstance(self.operation, ModelCall) and (usage or outcome != "failed" or self.first_chunk_s is not None):
            # What was refused before anything was generated costs nothing, and is not counted as unpriced.
            reply = result if isinstance(result, Reply) else Reply()
            cost = sums.price(self.emitter.prices, self.operation, reply, usage, self.reported_cost)
        return Finished(
            origin=self.origin,
            time_ns=self._wall_ns + now - self._start_ns,
            monotonic_ns=now,
            operation=self.operation,
            link=self.link,
            elapsed_s=(now - self._start_ns) / 1e9,
            outcome=outcome,
            failure=failure,
            result=result,
            usage=usage,
            cost=cost,
            attempts=self.attempts,
            first_chunk_s=self.first_chunk_s,
            first_token_s=self.first_token_s,
            first_visible_s=self.first_visible_s,
            chunk_gaps_s=self.chunk_gaps_s,
        )

    # Hooks ------------------------------------------------------------

    def _scope(self) -> "Bracket | None":
        """What is current while a hook runs: the enclosing run, never the operation itself."""
        return self.parent if isinstance(self.operation, Run) else self.run

    def _call_start_hooks(self) -> BaseException | None:
        name = hooks.start_hook(self.operation)
        if not self.emitter.has(name):
            return None
        try:
            self.emitter.call(name, hooks.start_payload(self._started()), self._scope())
        except BaseException as error:  # noqa: BLE001 - raised once those that were told are told of the end
            return error
        return None

    def _call_end_hooks(self, finished: Finished, error: BaseException | None) -> None:
        name = hooks.end_hook(finished)
        stop: StopRun | None = None
        if self._is_new(finished, error) and self.emitter.has("on_error"):
            try:
                self.emitter.call("on_error", hooks.error_payload(finished), self._scope())
            except StopRun as raised:
                stop = raised
        if name is not None and self.emitter.has(name):
            self.emitter.call(name, hooks.end_payload(finished), self._scope())
        if stop is not None:
            raise stop

    def _is_new(self, finished: Finished, error: BaseException | None) -> bool:
        """Whether a failure arose here: what came from below was told there, a tool's is told by `on_tool_end`."""
        failure = finished.failure
        if failure is None or failure.exception is None:
            return False
        exception = failure.exception
        if error is not None and self.parent is not None:
            self.parent._raised_below.append(exception)
        told = any(exception is other for other in self._raised_below)
        return not told and not isinstance(self.operation, ToolCall)


class _Current:
    """Sets our context variable and the tracing's for one piece of work."""

    __slots__ = ("_bracket", "_managers", "_token")

    def __init__(self, bracket: Bracket) -> None:
        self._bracket = bracket

    def __enter__(self) -> None:
        bracket = self._bracket
        self._token = current_bracket.set(bracket)
        self._managers: list[AbstractContextManager[object]] = []
        tracing = bracket.emitter.tracing
        if tracing is None or bracket.link is None:
            return
        with fence(type(tracing).__name__, "current"):
            self._managers.append(tracing.current(bracket.link))
            if isinstance(bracket.operation, ModelCall):
                self._managers.append(tracing.suppressed())
            for manager in self._managers:
                manager.__enter__()

    def __exit__(self, *_: object) -> None:
        for manager in reversed(self._managers):
            manager.__exit__(None, None, None)
        current_bracket.reset(self._token)
