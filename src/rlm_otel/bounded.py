"""Work that may hang (an export to a dead collector), and a caller that waits only so long for it."""

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from queue import SimpleQueue

Job = Callable[[], object]


def side_by_side(jobs: Sequence[Job], timeout_s: float) -> bool:
    """Run each job on a daemon thread of its own; whether all ended in time."""
    deadline = time.monotonic() + timeout_s
    threads = [threading.Thread(target=job, name="rlm-otel-bounded", daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline - time.monotonic(), 0))
    return not any(thread.is_alive() for thread in threads)


class Standby:
    """A thread kept for the interpreter's exit: from Python 3.12 on none can be started there."""

    def __init__(self) -> None:
        self._start()
        if hasattr(os, "register_at_fork"):
            again = weakref.WeakMethod(self._start)
            os.register_at_fork(after_in_child=lambda: (start := again()) and start())

    def run(self, job: Job, timeout_s: float) -> bool:
        """Run the job on the thread; whether it ended in time."""
        done = threading.Event()
        self._jobs.put((job, done))
        return done.wait(timeout_s)

    def stop(self) -> None:
        """Let the thread end once it is idle."""
        self._jobs.put(None)

    def _start(self) -> None:
        self._jobs: SimpleQueue[tuple[Job, threading.Event] | None] = SimpleQueue()
        threading.Thread(target=_work, args=(self._jobs,), name="rlm-otel-standby", daemon=True).start()


def _work(jobs: "SimpleQueue[tuple[Job, threading.Event] | None]") -> None:
    while entry := jobs.get():
        job, done = entry
        try:
            job()
        finally:
            done.set()
