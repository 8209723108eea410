"""What runs now, as trees, and the latest of what has ended in them: bounded, however many sub-calls there are."""

import itertools
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from rlm_otel.callbacks.lock import ForkLock
from rlm_otel.callbacks.wording import name_of, reason
from rlm_otel.events import Event, Finished, ModelCall, Retrying, Run, Started
from rlm_otel.outcome import Cost, Outcome, Unpriced

KEPT: Final = 10
"""How many branches of a parent are remembered once they have ended; as many of those that failed."""


def _few() -> "deque[Node]":
    return deque(maxlen=KEPT)


@dataclass(slots=True, eq=False)
class Node:
    """One operation; its figures are sums over all that is below it, up to now."""

    number: int
    """In the order of their beginnings."""
    name: str
    is_run: bool
    parent: "Node | None"
    began: float
    outcome: Outcome | None = None
    """None while it runs."""
    why: str = ""
    elapsed_s: float = 0.0
    calls: int = 0
    retries: int = 0
    tokens: int | None = None
    usd: float | None = None
    unpriced: int = 0
    retry: str = ""
    """Which retry it waits for, until `retry_at`."""
    retry_at: float = 0.0
    running: dict[str, "Node"] = field(default_factory=dict)
    well: "deque[Node]" = field(default_factory=_few)
    badly: "deque[Node]" = field(default_factory=_few)
    ended_well: int = 0
    ended_badly: int = 0

    @property
    def branches(self) -> int:
        """How many there were, and are."""
        return len(self.running) + self.ended_well + self.ended_badly

    def some(self, most: int) -> "list[Node]":
        """So many branches at most, in the order in which they began: what runs, what failed, and the latest."""
        failed = list(self.badly)[-max(1, most // 3) :] if most else []
        running = list(itertools.islice(self.running.values(), most - len(failed)))
        left = most - len(failed) - len(running)
        chosen = failed + running + (list(self.well)[-left:] if left > 0 else [])
        spare = most - len(chosen)
        more = list(self.badly)[: len(self.badly) - len(failed)]
        return sorted(chosen + (more[-spare:] if spare > 0 else []), key=lambda node: node.number)

    def above(self) -> "Iterator[Node]":
        """Itself and all that it is in."""
        node: Node | None = self
        while node is not None:
            yield node
            node = node.parent


class RunTree:
    """All open operations of any number of runs, under any number of threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.lock = ForkLock()
        """Held for as long as the tree is looked at; never while anything is written to a terminal."""
        self.roots: dict[str, Node] = {}
        self._open: dict[str, Node] = {}
        self._numbers = itertools.count()

    def knows(self, event: Event) -> bool:
        """Whether it is of an operation that is open here, or begins inside of one."""
        return event.id in self._open or (isinstance(event, Started) and event.parent_id in self._open)

    def open_roots(self) -> list[Node]:
        """The roots that are open, in the order in which they began."""
        with self.lock:
            return list(self.roots.values())

    def note(self, event: Event) -> Node | None:
        """Takes note of an event; returns the root that it has ended."""
        with self.lock:
            match event:
                case Started():
                    self._start(event)
                case Retrying():
                    self._retry(event)
                case Finished():
                    return self._finish(event)
        return None

    def forget(self) -> None:
        """Drops all."""
        with self.lock:
            self.roots.clear()
            self._open.clear()

    def _start(self, event: Started) -> None:
        parent = self._open.get(event.parent_id) if event.parent_id else None
        name = name_of(event.operation, event.agent)
        is_run = isinstance(event.operation, Run)
        node = Node(next(self._numbers), name, is_run, parent, self.clock())
        self._open[event.id] = node
        (self.roots if parent is None else parent.running)[event.id] = node

    def _retry(self, event: Retrying) -> None:
        node = self._open.get(event.id)
        if node is None:
            return
        node.retry = (
            f"retry {event.attempt} of {event.max_attempts} after {reason(event.failure, in_full=False, short=True)}"
        )
        node.retry_at = self.clock() + event.delay_s
        for one in node.above():
            one.retries += 1

    def _finish(self, event: Finished) -> Node | None:
        node = self._open.pop(event.id, None)
        if node is None:
            return None
        node.outcome, node.elapsed_s = event.outcome, event.elapsed_s
        if event.passage != "passing":  # else it is told below, where it came from
            node.why = reason(event.failure, short=True)
        if isinstance(event.operation, ModelCall):
            _add(node, event)
        if node.parent is None:
            return self.roots.pop(event.id)
        parent = node.parent
        parent.running.pop(event.id, None)
        if event.outcome == "failed":
            parent.badly.append(node)
            parent.ended_badly += 1
        else:
            parent.well.append(node)
            parent.ended_well += 1
        return None


def _add(call: Node, event: Finished) -> None:
    """A call's figures, to it and to all that it is in."""
    used = event.usage.total_tokens if event.usage is not None else None
    usd = event.cost.usd if isinstance(event.cost, Cost) else None
    for node in call.above():
        node.calls += 1
        node.unpriced += isinstance(event.cost, Unpriced)
        if used is not None:
            node.tokens = (node.tokens or 0) + used
        if usd is not None:
            node.usd = (node.usd or 0.0) + usd
