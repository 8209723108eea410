"""One tool being run, in its bracket: its value becomes text, its exception an error that the model is told."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from functools import partial
from typing import Any

from rlm_otel.beside import beside_loop
from rlm_otel.bracket import Bracket
from rlm_otel.content import encodable
from rlm_otel.errors import StopRun
from rlm_otel.events import ToolCall
from rlm_otel.messages import ToolRequest
from rlm_otel.outcome import ToolResult
from rlm_otel.tools import INJECTED, Tool, text_of

Query = Callable[[Bracket, str], str]
AsyncQuery = Callable[[Bracket, str], Awaitable[str]]


class Execution:
    """One requested tool call. `query` and `aquery` make a sub-call of the run below a bracket."""

    def __init__(
        self, tool: Tool, request: ToolRequest, run: Bracket, turn: int, query: Query, aquery: AsyncQuery
    ) -> None:
        self._tool = tool
        self._query = query
        self._aquery = aquery
        self._arguments = request.arguments
        self._asked: set[Future[str]] = set()
        self._is_cancelled = False
        operation = ToolCall(
            name=tool.name,
            arguments=request.arguments,
            call_id=request.call_id,
            description=tool.description,
            turn=turn,
        )
        self._bracket = Bracket(run.emitter, operation, parent=run)

    @property
    def is_async(self) -> bool:
        """Whether the tool is an `async def`."""
        return self._tool.is_async

    def run(self) -> str:
        """Runs the tool in the calling thread; an async one in an event loop of its own."""
        with self._bracket as bracket, self._caught(), bracket.current():
            if self._tool.is_async:
                self._done(asyncio.run(self._tool.function(**self._read(self._ask_in_loop))))
            else:
                value = self._tool.function(**self._read(self._ask))
                self._done(asyncio.run(value) if inspect.iscoroutine(value) else value)
        return self._text()

    async def arun(self) -> str:
        """Runs the tool from an event loop; a sync one in a thread, with a copy of the context."""
        with self._bracket as bracket, self._caught(), bracket.current(), self._sub_runs_end():
            if self._tool.is_async:
                self._done(await self._tool.function(**self._read(self._ask_in_loop)))
            else:
                arguments = self._read(self._asker_from_thread(asyncio.get_running_loop()))
                value = await beside_loop(partial(self._tool.function, **arguments))
                self._done(
                    await value if inspect.iscoroutine(value) else value
                )  # a decorator may hide that it is async
        return self._text()

    def _read(self, ask: Callable[[str], Any]) -> dict[str, Any]:
        arguments = self._tool.read(self._arguments)
        if self._tool.wants_query:
            arguments[INJECTED] = ask
        return arguments

    @contextmanager
    def _caught(self) -> Iterator[None]:
        try:
            yield
        except StopRun:
            raise
        except Exception as error:  # noqa: BLE001 - the model is told, and the tool's span
            failure = self._bracket.fail(error)
            self._bracket.result = ToolResult(text=f"Error: {type(error).__name__}: {failure.message}")

    def _done(self, value: object) -> None:
        self._bracket.result = ToolResult(text=text_of(value))

    def _text(self) -> str:
        result = self._bracket.result
        return encodable(result.text) if isinstance(result, ToolResult) else ""  # else it could not be sent

    # The three forms of `llm_query`, bound to this tool call by its bracket: bare threads have no context.

    def _ask(self, prompt: str) -> str:
        return self._query(self._bracket, prompt)

    async def _ask_in_loop(self, prompt: str) -> str:
        return await self._aquery(self._bracket, prompt)

    def _asker_from_thread(self, loop: asyncio.AbstractEventLoop) -> Callable[[str], str]:
        def ask(prompt: str) -> str:
            if self._is_cancelled:
                raise CancelledError
            sub_run = asyncio.run_coroutine_threadsafe(self._ask_in_loop(prompt), loop)
            self._asked.add(sub_run)
            try:
                return sub_run.result()
            finally:
                self._asked.discard(sub_run)

        return ask

    @contextmanager
    def _sub_runs_end(self) -> Iterator[None]:
        """A cancelled tool cannot stop its thread, but the sub-runs that it waits for, and those it would begin."""
        try:
            yield
        except asyncio.CancelledError:
            self._is_cancelled = True
            for sub_run in self._asked.copy():
                sub_run.cancel()
            raise
