"""Threads that know where they were started: the current operation, labels and the application's context go along."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class TracedThreadPoolExecutor(ThreadPoolExecutor):
    """A `ThreadPoolExecutor` whose work belongs to the operation in which it was submitted.

    Each piece of work runs in a copy of the context of its `submit` or `map`, with its labels, its conversation and the
    spans of the application.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Schedules `fn(*args, **kwargs)`, as `ThreadPoolExecutor.submit`."""
        return super().submit(partial(contextvars.copy_context().run, fn), *args, **kwargs)


def run_in_executor(
    executor: Executor | None, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
) -> asyncio.Future[T]:
    """`loop.run_in_executor` with the context going along: `await rlm_otel.run_in_executor(None, work, 1)`.

    Keyword arguments may be given too. Raises TypeError for processes: to those a carrier goes (`inject`, `extract`).
    """
    if isinstance(executor, ProcessPoolExecutor):
        msg = "a context goes to threads, not to processes; pass inject() along and use extract() there"
        raise TypeError(msg)
    work = partial(contextvars.copy_context().run, function, *args, **kwargs)
    return asyncio.get_running_loop().run_in_executor(executor, work)
