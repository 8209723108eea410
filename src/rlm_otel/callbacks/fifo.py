"""Async hooks of async runs: each callback has a queue, drained in order by one task of the run's event loop."""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable

from rlm_otel.ambient import running_hooks
from rlm_otel.fence import fence

Call = Callable[[], Awaitable[object]]


class AsyncHooks:
    """The queues of one async run, its sub-runs included. Made in the loop's thread; may be fed from any."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._queues: dict[int, deque[tuple[str, str, bool, Call]]] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self.stop: Exception | None = None
        """The first `StopRun` of an async hook, or exception of a strict one; it takes effect before the next call."""

    def put(self, callback: object, name: str, hook: str, strict: bool, call: Call) -> None:
        """Queues one hook of a callback behind its earlier ones."""
        if threading.get_ident() == self._thread:
            self._put(callback, (name, hook, strict, call))
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._put, callback, (name, hook, strict, call))

    def _put(self, callback: object, item: tuple[str, str, bool, Call]) -> None:
        self._queues.setdefault(id(callback), deque()).append(item)
        if id(callback) not in self._tasks:
            self._tasks[id(callback)] = self._loop.create_task(self._work(callback))

    async def _work(self, callback: object) -> None:
        running_hooks.set((*running_hooks.get(), callback))  # the task has a context of its own
        queue = self._queues[id(callback)]
        try:
            while queue:
                name, hook, strict, call = queue.popleft()
                try:
                    with fence(name, hook, strict=strict):
                        await call()
                except Exception as error:  # noqa: BLE001 - what the fence lets pass is raised by the run
                    self.stop = self.stop or error
        finally:
            del self._tasks[id(callback)]

    async def begin(self) -> None:
        """Lets queued hooks run up to where they first wait: one that stops the run at once comes in time."""
        if self._tasks:
            await asyncio.sleep(0)

    async def drain(self) -> None:
        """Waits until all queued hooks have run."""
        while self._tasks:
            # Not `gather`: cancelled, it would cancel the hooks, and with them whoever else of the run waits for them.
            await asyncio.wait(list(self._tasks.values()))
