"""Runs a sync function beside an event loop, in a thread of its own."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

R = TypeVar("R")


async def beside_loop(function: Callable[[], R]) -> R:
    """Calls it in a new thread, with a copy of the context; raises what it raises.

    Not in the loop's pool: tools that wait for tools of their sub-runs would fill it, and wait for ever.
    """
    pool = ThreadPoolExecutor(1, "rlm-otel-beside")
    try:
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(pool, context.run, _call, function)
    finally:
        pool.shutdown(wait=False)


def _call(function: Callable[[], R]) -> R:
    try:
        return function()
    except StopIteration as error:  # no future carries it: whoever waits would wait for ever
        raise RuntimeError("StopIteration") from error
