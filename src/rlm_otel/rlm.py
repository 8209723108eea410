"""`RLM`: a small runner on the openai SDK: chat, streams, tools, retries and nested runs, all told to callbacks."""

import contextvars
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from rlm_otel.ambient import as_in, current_operation
from rlm_otel.bracket import Bracket
from rlm_otel.callbacks.base import BaseCallback
from rlm_otel.callbacks.fifo import AsyncHooks
from rlm_otel.clients import Clients
from rlm_otel.clock import SYSTEM_CLOCK, Clock, new_id
from rlm_otel.effects import Connect
from rlm_otel.emitter import Emitter
from rlm_otel.errors import SubRunLimit
from rlm_otel.result import Result
from rlm_otel.steps import Conversation, Task, adrive, drive
from rlm_otel.stream import RunStream
from rlm_otel.sub_runs import query_tool, within_limits
from rlm_otel.tools import Tool, make_tools

if TYPE_CHECKING:
    from openai import AsyncOpenAI, OpenAI

Prompt = str | Sequence[Mapping[str, object]]

DEFAULT_RETRIES = 2


class RLM:
    """Runs prompts on a model and tells callbacks what happens; made by `RLM.from_openai`, for many threads at once.

    Use it in a `with` (or `async with`) to have its connections closed. `callbacks` is a list that may be changed
    between runs. Without any, a run inside another run tells the outer one's.
    """

    def __init__(
        self,
        model: str,
        clients: Clients,
        *,
        callbacks: Iterable[object] = (),
        tools: Iterable[Callable[..., Any]] = (),
        sub_model: str | None = None,
        system_prompt: str | None = None,
        name: str | None = None,
        provider: str | None = None,
        max_retries: int | None = None,
        max_turns: int = 16,
        max_depth: int = 0,
        max_concurrency: int = 8,
        clock: Clock = SYSTEM_CLOCK,
        make_id: Callable[[], str] = new_id,
    ) -> None:
        for argument, value, least in (
            ("max_retries", max_retries, 0),
            ("max_turns", max_turns, 1),
            ("max_depth", max_depth, 0),
            ("max_concurrency", max_concurrency, 1),
        ):
            if value is not None and value < least:
                msg = f"{argument}={value} is too small; give a whole number from {least}"
                raise ValueError(msg)
        self.model = model
        self.callbacks = list(callbacks)
        self._clients = clients
        self._tools = make_tools(tools)
        self._sub_model = sub_model
        self._system_prompt = system_prompt
        self._name = name
        self._provider = provider
        self._max_retries = max_retries
        self._max_turns = max_turns
        self._max_depth = max(max_depth, 1) if sub_model else max_depth
        self._max_concurrency = max_concurrency
        self._clock = clock
        self._make_id = make_id
        Emitter(self.callbacks)  # says at once what is no callback
        asking = [tool.name for tool in self._tools.values() if tool.wants_query]
        if asking and not self._max_depth:
            msg = f"tool {asking[0]} takes llm_query, and sub-calls are not allowed; pass sub_model= or max_depth=1"
            raise ValueError(msg)

    @classmethod
    def from_openai(
        cls,
        model: str,
        *,
        callbacks: Iterable[object] = (),
        tools: Iterable[Callable[..., Any]] = (),
        sub_model: str | None = None,
        base_url: str | None = None,
        api_key: str | None = None,
        client: "OpenAI | None" = None,
        async_client: "AsyncOpenAI | None" = None,
        system_prompt: str | None = None,
        name: str | None = None,
        provider: str | None = None,
        max_retries: int | None = None,
        max_turns: int = 16,
        max_depth: int = 0,
        max_concurrency: int = 8,
        timeout: float | None = None,
    ) -> Self:
        """A runner on OpenAI, or on any server that speaks its API (`base_url`).

        `tools`: named functions, sync or async; a parameter called `llm_query` is given a function that asks a sub-run.
        `sub_model`, `max_depth`: let the model itself make sub-calls (`llm_query` becomes a tool), at most that deep.
        Sub-runs are asked with their prompt alone; the parameters of `run()` are the root's.
        `name`: the agent's name in telemetry. `provider`: the vendor's name there, else read from the host.
        `max_retries`: given, it beats a callback's own `max_retries`, which beats 2. `timeout`: seconds per attempt.
        Raises TypeError or ValueError for arguments that cannot work; a missing key is told at the first call.
        """
        clients = Clients(
            client=client, async_client=async_client, base_url=base_url, api_key=api_key, timeout_s=timeout
        )
        return cls(
            model,
            clients,
            callbacks=callbacks,
            tools=tools,
            sub_model=sub_model,
            system_prompt=system_prompt,
            name=name,
            provider=provider,
            max_retries=max_retries,
            max_turns=max_turns,
            max_depth=max_depth,
            max_concurrency=max_concurrency,
        )

    # Running ------------------------------------------------------------

    def run(self, prompt: Prompt, **request: object) -> Result:
        """Runs to the answer. `prompt`: text, or messages in the OpenAI API's words; `request` goes to the model as is
        (a forced `tool_choice` with the first call only, or the run would never end).

        Streams from the server if a callback wants tokens. Raises what the openai SDK raises, `StopRun` of a callback,
        and `LimitReached` after `max_turns` model calls.
        """
        parent = current_operation()
        emitter = self._emitter(None, parent)
        return drive(self._conversation(emitter, parent, prompt, request, stream=emitter.wants_tokens).steps())

    async def arun(self, prompt: Prompt, **request: object) -> Result:
        """The same without blocking the event loop; ends after the last async hook."""
        hooks, parent = AsyncHooks(), current_operation()
        emitter = self._emitter(hooks, parent)
        conversation = self._conversation(emitter, parent, prompt, request, stream=emitter.wants_tokens)
        try:
            result = await adrive(conversation.steps())
        finally:
            await hooks.drain()
        emitter.check_stop()  # of the last hooks
        return result

    def stream(self, prompt: Prompt, **request: object) -> RunStream:
        """The answer piece by piece: `with rlm.stream(prompt) as stream: for text in stream: ...`; `stream.result`."""
        return RunStream(self._starter(prompt, request, is_async=False), is_async=False)

    def astream(self, prompt: Prompt, **request: object) -> RunStream:
        """The same in an event loop: `async with rlm.astream(prompt) as stream: async for text in stream: ...`."""
        return RunStream(self._starter(prompt, request, is_async=True), is_async=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def close(self) -> None:
        """Closes the connections of the sync client that was built here."""
        self._clients.close()

    async def aclose(self) -> None:
        """Closes the connections of the clients that were built here for this event loop and for sync code."""
        await self._clients.aclose()

    # Inside ------------------------------------------------------------

    def _starter(
        self, prompt: Prompt, request: Mapping[str, object], *, is_async: bool
    ) -> Callable[[], tuple[Conversation, Emitter]]:
        """Begins a streamed run later, in the surroundings (labels, conversation...) of where it was asked for."""
        parent, asked = current_operation(), contextvars.copy_context()

        def start() -> tuple[Conversation, Emitter]:
            emitter = self._emitter(AsyncHooks() if is_async else None, current_operation())
            with as_in(asked):
                return self._conversation(emitter, parent, prompt, request, stream=True), emitter

        return start

    def _emitter(self, async_hooks: AsyncHooks | None, outer: Bracket | None) -> Emitter:
        callbacks = outer.emitter.callbacks if outer is not None and not self.callbacks else self.callbacks
        return Emitter(callbacks, clock=self._clock, make_id=self._make_id, async_hooks=async_hooks)

    def _conversation(
        self,
        emitter: Emitter,
        parent: Bracket | None,
        prompt: Prompt,
        request: Mapping[str, object],
        *,
        stream: bool,
        level: int = 0,
    ) -> Conversation:
        _check_request(request)
        task = Task(
            model=(self._sub_model or self.model) if level else self.model,
            messages=self._messages(prompt),
            request=request,
            tools=self._tools_at(level, is_async=emitter.async_hooks is not None),
            name=self._name,
            provider=self._provider,
            max_turns=self._max_turns,
            max_retries=self._retries(emitter),
            max_concurrency=self._max_concurrency,
            stream=stream,
            shown=stream and not level,
            query=partial(self._query, level),
            aquery=partial(self._aquery, level),
        )
        return Conversation(task, emitter, parent, Connect(self._clients, emitter.async_hooks))

    def _messages(self, prompt: Prompt) -> list[dict[str, object]]:
        said = (
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(message) for message in prompt]
        )
        if not said:
            msg = "the prompt has no messages; give a text, or messages such as [{'role': 'user', 'content': '...'}]"
            raise ValueError(msg)
        system = [{"role": "system", "content": self._system_prompt}] if self._system_prompt else []
        return [*system, *said]

    def _retries(self, emitter: Emitter) -> int:
        if self._max_retries is not None:
            return self._max_retries
        wished = (c.max_retries for c in emitter.callbacks if isinstance(c, BaseCallback) and hasattr(c, "max_retries"))
        return next((n for n in wished if type(n) is int and n >= 0), DEFAULT_RETRIES)

    # Sub-runs ------------------------------------------------------------

    # `level` counts the sub-runs of this runner: a run that is itself inside another runner's begins at 0 as well.

    def _tools_at(self, level: int, *, is_async: bool) -> Mapping[str, Tool]:
        if level >= self._max_depth:
            return self._tools
        query = query_tool(is_async=is_async)
        return {**self._tools, query.name: query}

    def _query(self, level: int, above: Bracket, prompt: str) -> str:
        with within_limits():
            return drive(self._sub_run(level, above, prompt).steps()).text

    async def _aquery(self, level: int, above: Bracket, prompt: str) -> str:
        with within_limits():
            return (await adrive(self._sub_run(level, above, prompt).steps())).text

    def _sub_run(self, level: int, above: Bracket, prompt: str) -> Conversation:
        if level >= self._max_depth:
            msg = f"sub-calls end at depth {self._max_depth}: answer this part without one"
            raise SubRunLimit(msg)
        return self._conversation(above.emitter, above, prompt, {}, stream=False, level=level + 1)


def _check_request(request: Mapping[str, object]) -> None:
    for argument, instead in (
        ("stream", "use stream() or astream()"),
        ("messages", "give them as the prompt"),
        ("tools", "give functions as RLM.from_openai(tools=[...])"),
        ("model", "make an RLM of that model"),
    ):
        if argument in request:
            msg = f"{argument}= cannot be passed to a run: {instead}"
            raise TypeError(msg)
