"""Sub-calls of a run: the tool by which a model makes them itself, and what their limits are to the run above."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from rlm_otel.errors import BudgetExceeded, LimitReached, SubRunLimit
from rlm_otel.tools import Tool, make_tool


@cache  # it is offered by each run that may go deeper
def query_tool(*, is_async: bool) -> Tool:
    """The tool `llm_query`; in an async run as a coroutine function, so that no thread waits for a sub-run."""
    return make_tool(_allm_query if is_async else _llm_query)


@contextmanager
def within_limits() -> Iterator[None]:
    """Turns the end of a sub-run at `max_turns` into an error for the model: the run above goes on."""
    try:
        yield
    except BudgetExceeded:
        raise
    except LimitReached as error:
        raise SubRunLimit(str(error)) from None


def _llm_query(prompt: str, llm_query: Callable[[str], str]) -> str:
    """Ask a language model a question of its own; it sees only this prompt. Returns its answer."""
    return llm_query(prompt)


async def _allm_query(prompt: str, llm_query: Callable[[str], Any]) -> Any:
    """Ask a language model a question of its own; it sees only this prompt. Returns its answer."""
    return await llm_query(prompt)


_llm_query.__name__ = _allm_query.__name__ = "llm_query"
