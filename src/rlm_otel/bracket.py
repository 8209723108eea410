"""The bracket around one operation: the same `with` in sync and async code, one `Finished` on every way out."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rlm_otel import sums
from rlm_otel.ambient import current_conversation, current_prompt, is_suppressed, labels_inside, remote_parent
from rlm_otel.callbacks import hooks
from rlm_otel.current import Current
from rlm_otel.emitter import Emitter
from rlm_otel.errors import Leave, StopRun
from rlm_otel.events import Chunk, Finished, Link, ModelCall, Operation, Origin, Retrying, Run, Started, ToolCall
from rlm_otel.fence import fence
from rlm_otel.live import table
from rlm_otel.outcome import Cost, Failure, Passage, Reply, RunResult, ToolResult, Unpriced, Usage
from rlm_otel.reader import read_failure
from rlm_otel.records import Record, record
from rlm_otel.rising import Risen, Told, passage, risen, told_inside
from rlm_otel.tallies import kept


class Bracket:
    """One operation from start to end. The producer sets `result`, `usage` and the stream's times before it leaves.

    Leaving without an exception is `completed`; the exception decides otherwise and always goes on. Entering raises
    what a start hook raised (`StopRun`): the operation then has not begun and only its end hooks are called; a run
    always begins.
    """

    # What most operations never change costs them nothing here.
    link: Link | None = None
    result: Reply | ToolResult | RunResult | None = None
    """Of a run: its latest reply."""
    usage: Usage | None = None
    reported_cost: float | None = None
    so_far: Callable[[], tuple[Reply, Usage | None]] | None = None
    """Of a stream that is being read: its reply until now."""
    progress: Callable[[], int] | None = None
    """Of a stream that is being read: how many pieces came until now."""
    waits: table.Waits | None = None
    """Set by the latest attempt that failed and is repeated."""
    attempts: int = 0
    first_chunk_s: float | None = None
    first_token_s: float | None = None
    first_visible_s: float | None = None
    ended: Record | None = None
    """How it ended, once it has: not the failure, whose traceback holds the bracket, which would then hold itself."""
    left_behind: Current | None = None
    """Set where it is over and still current somewhere: what takes it back."""
    begun_here: bool = False
    """Whether the application's own code begins it inside of its parent, so that spans of its own may be between."""
    _failure: Failure | None = None
    _begun: bool = False
    _wall_ns: int = 0
    start_ns: int = 0
    """When it began, by the monotonic clock."""

    def __init__(
        self, emitter: Emitter, operation: Operation, *, parent: "Bracket | None" = None, agent: str | None = None
    ) -> None:
        if is_suppressed.get():
            emitter, parent = emitter.silenced(), parent if parent and parent.emitter.silent else None
        self.emitter: Emitter = emitter
        self.operation: Operation = operation
        self.parent = parent
        self._remote = remote_parent.get() if parent is None else None
        self._is_run = is_run = isinstance(operation, Run)
        self.id = emitter.make_id()
        # A run does not refer to itself: that cycle would keep all its texts until the garbage collector comes.
        self._enclosing: Bracket | None = parent.run if parent and not is_run else None
        above = parent.origin if parent else None
        self.origin: Origin = Origin(
            id=self.id,
            parent_id=above.id if above else None,
            root_id=above.root_id if above else self.id,
            run_id=self.id if is_run else above.run_id if above else None,
            depth=(above.depth + is_run) if above else 0,
            agent=agent if is_run else above.agent if above else None,
            conversation=current_conversation.get() or (above.conversation if above else None),
            labels=labels_inside(above.labels if above else ()),
            prompt=current_prompt.get() or (above.prompt if above else None),
        )
        self.chunk_gaps_s: list[float] = []
        self._risen: list[Risen] = []
        self.children: list[Record] = []
        """Of a run: what has ended below it."""
        self._open: list[None] = []  # its one item is popped by whoever ends the operation: atomic without a lock

    @property
    def run(self) -> "Bracket | None":
        """The enclosing run; a run's is itself."""
        return self if self._is_run else self._enclosing

    # Start and end ------------------------------------------------------------

    def __enter__(self) -> Self:
        if not self._is_run:
            self.emitter.check_stop()
        refused = self._call_start_hooks()
        self._wall_ns, self.start_ns = self.emitter.clock.wall_ns(), self.emitter.clock.monotonic_ns()
        if refused is not None and not self._is_run:
            self._call_end_hooks(self._finished(refused, self.start_ns))  # hooks alone: it never began
            raise refused
        tracing = self.emitter.tracing
        if tracing is not None:
            before = sys.exception()
            try:
                self.link = tracing.begin(self._started())
            except Exception:  # the SDK lets those of span processors through
                with fence(type(tracing).__name__, "begin", before=before):
                    raise
        self._open.append(None)
        table.put(self)
        self._begun = True
        try:
            if self.emitter.start_listeners:
                self.emitter.tell_start(self._started())
            if refused is not None:
                raise refused
        except BaseException as error:  # no `__exit__` comes after this
            self.finish(error)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.finish(error)
        except Exception as raised:
            # What is already leaving goes on; a strict hook's exception may replace another one, but no cancellation.
            if error is None or (isinstance(error, Exception) and not isinstance(raised, StopRun)):
                raise

    def current(self) -> AbstractContextManager[None]:
        """Makes the operation current for one piece of work (a call, a chunk, a tool), never across a yield."""
        return Current(self)

    def fail(self, error: BaseException) -> Failure:
        """Notes a failure that does not leave: a tool's error goes to the model."""
        self._failure = read_failure(error)
        return self._failure

    def peek(self) -> Finished:
        """How it would end if it were abandoned now."""
        if self.so_far is not None:
            self.result, self.usage = self.so_far()
        return self._finished(Leave("abandoned"), self.emitter.clock.monotonic_ns())

    def elapsed_s(self, now_ns: int) -> float:
        """Seconds from the start to a reading of the monotonic clock."""
        return (now_ns - self.start_ns) / 1e9

    # What happens between ------------------------------------------------------------

    def token(self, text: str) -> None:
        """A piece of the answer arrived and some callback wants tokens."""
        now = self.emitter.clock.monotonic_ns()
        self.emitter.token(
            Chunk(
                origin=self.origin,
                time_ns=self._wall_ns + now - self.start_ns,
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
        failure = read_failure(error)
        self.waits = table.Waits(attempt, now + round(delay_s * 1e9), failure.status)
        return Retrying(
            origin=self.origin,
            time_ns=self._wall_ns + now - self.start_ns,
            monotonic_ns=now,
            operation=self.operation,
            link=self.link,
            attempt=attempt,
            max_attempts=max_attempts,
            failure=failure,
            delay_s=delay_s,
        )

    def finish(self, error: BaseException | None = None) -> None:
        """Ends the operation: clock, listeners, then hooks. The first to come ends it, later ones do nothing."""
        if (finished := self.end(error)) is not None:
            self.announce(finished)

    def end(self, error: BaseException | None = None) -> Finished | None:
        """The first half: nobody is told yet, and no lock is taken, so that a finalizer may do it."""
        try:
            self._open.pop()
        except IndexError:
            return None
        table.take(self)
        finished = self._finished(error, self.emitter.clock.monotonic_ns())
        above = self.parent.run if self.parent is not None else None
        self.ended, self.result = record(finished), finished.result
        if above is not None:
            above.children.append(self.ended)
        self._failure = None
        return finished

    def announce(self, finished: Finished) -> None:
        """The second half: listeners, then hooks."""
        try:
            self.emitter.tell(finished)
        finally:
            self._call_end_hooks(finished)

    # Inside ------------------------------------------------------------

    def _started(self) -> Started:
        return Started(
            origin=self.origin,
            time_ns=self._wall_ns,
            monotonic_ns=self.start_ns,
            operation=self.operation,
            link=self.link,
            parent=self.parent.link if self.parent else self._remote,
            begun_here=self.begun_here,
            peek=self.peek,
        )

    def _finished(self, error: BaseException | None, now: int) -> Finished:
        outcome, failure = sums.verdict(error, self._failure, self._risen)
        way, tells = self._rises(failure, error)
        usage, result = self.usage, self.result
        cost: Cost | Unpriced | None = None
        if self._is_run:
            said = result if isinstance(result, Reply | RunResult) else RunResult()
            usage, cost, result = sums.total(self.children, said, kept(self.children, self.origin, self.start_ns, now))
        elif isinstance(self.operation, ModelCall) and (usage or outcome != "failed" or self.first_chunk_s is not None):
            # What was refused before anything was generated costs nothing, and is not counted as unpriced.
            reply = result if isinstance(result, Reply) else Reply()
            with fence("rlm_otel", "price"):
                cost = sums.price(self.emitter.prices, self.operation, reply, usage, self.reported_cost)
        return Finished(
            origin=self.origin,
            time_ns=self._wall_ns + now - self.start_ns,
            monotonic_ns=now,
            operation=self.operation,
            link=self.link,
            elapsed_s=(now - self.start_ns) / 1e9,
            outcome=outcome,
            failure=failure,
            passage=way,
            tells_failure=tells,
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
        return self.parent if self._is_run else self._enclosing

    def _call_start_hooks(self) -> BaseException | None:
        if not self.emitter.has_hooks or not self.emitter.has(hooks.start_hook(self.operation)):
            return None
        try:
            self.emitter.call_start(self._started(), self._scope())
        except BaseException as error:  # noqa: BLE001 - raised once those that were told are told of the end
            return error
        return None

    def _call_end_hooks(self, finished: Finished) -> None:
        if self.emitter.has_hooks:
            self.emitter.call_end(finished, self._scope(), is_for_on_error=self._is_for_on_error(finished))

    def _rises(self, failure: Failure | None, error: BaseException | None) -> tuple[Passage, bool]:
        """How this operation stands to its failure, and whether it is the one that tells listeners of it."""
        if failure is None:
            return "new", False
        exception, leaves = failure.exception, error is not None
        told = told_inside(self._risen, exception)
        tells = not isinstance(self.operation, ToolCall) and (leaves or exception is None)
        if exception is not None and leaves and self.parent is not None:
            now_told = Told(self._begun, told.listeners or (tells and self._begun), told.hooks or tells)
            self.parent._risen.append(risen(exception, failure, now_told))
        return passage(told, exception, leaves=leaves), tells and not told.listeners

    def _is_for_on_error(self, finished: Finished) -> bool:
        """Whether hooks are to be told here: the failure leaves a run or call, and no hook was told of it inside."""
        failure = finished.failure
        if failure is None or finished.passage == "handled" or isinstance(self.operation, ToolCall):
            return False
        return not told_inside(self._risen, failure.exception).hooks
