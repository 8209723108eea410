"""Ends what was dropped: finalizers only put work into a queue, a daemon thread does it.

A finalizer runs wherever the garbage collector happens to start, perhaps inside a lock of the metrics SDK: recording
there would deadlock.
"""

import os
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue

from rlm_otel.fence import fence

Work = Callable[[], object]

_queue: SimpleQueue[Work] = SimpleQueue()
_thread: threading.Thread | None = None
_lock = threading.Lock()
_fork_hook_set = False


def put(work: Work) -> None:
    """Hands work to the thread; safe in a finalizer: takes no lock, wakes nothing that could wait for one."""
    _queue.put(work)


def start() -> None:
    """Makes sure that the thread runs; called before the first finalizer is armed, and anew after a fork."""
    global _thread, _fork_hook_set
    if (_thread is not None and _thread.is_alive()) or sys.is_finalizing():  # then a new one would never begin
        return
    with _lock:
        if not _fork_hook_set:
            os.register_at_fork(after_in_child=_forget)
            _fork_hook_set = True
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_run, args=(_queue,), name="rlm-otel-reaper", daemon=True)
            _thread.start()


def wait(timeout_s: float = 5.0) -> bool:
    """Waits until all that was put before is done; False where that takes longer than `timeout_s` seconds."""
    if _thread is None or not _thread.is_alive():
        return _queue.empty()
    if threading.current_thread() is _thread:  # what ends here may flush
        return True
    done = threading.Event()
    put(done.set)
    return done.wait(timeout_s)


def _run(queue: SimpleQueue[Work]) -> None:
    while True:
        work = queue.get()
        with fence("rlm_otel", "reaper"):
            work()
        del work  # what it holds must not live until the next one comes


def _forget() -> None:
    """In a forked child: the parent's thread is not there, and what it had to do is the parent's."""
    global _thread, _queue, _lock
    _thread, _queue, _lock = None, SimpleQueue(), threading.Lock()
