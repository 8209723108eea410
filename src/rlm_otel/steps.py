"""The steps of one run: ask the model, run the tools it wants, ask again. Pure of I/O: it yields effects."""

import weakref
from collections.abc import Generator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any, Final, cast

from rlm_otel.bracket import Bracket
from rlm_otel.clients import advice
from rlm_otel.content import encodable
from rlm_otel.effects import Close, Connect, Effect, Execute, Reading, Send, Settle, Tell, Wait, aperform, perform
from rlm_otel.emitter import Emitter
from rlm_otel.errors import Leave, LimitReached, NoAnswer, StopRun, TornStream
from rlm_otel.events import ModelCall, Run
from rlm_otel.execution import AsyncQuery, Execution, Query
from rlm_otel.fence import fence
from rlm_otel.messages import Message, ToolRequest
from rlm_otel.outcome import Cost, Reply, RunResult
from rlm_otel.reader import read_cost, read_messages, read_reply, read_request
from rlm_otel.result import Result
from rlm_otel.retries import attempts
from rlm_otel.tools import Tool

Steps = Generator[Effect, Any, Result]

_NO_REPLY: Final = Reply()


@dataclass(slots=True, kw_only=True)
class Task:
    """What one run is to do; not frozen, which would cost each run a microsecond, and nobody else sees it."""

    model: str
    messages: list[dict[str, object]]
    request: Mapping[str, object]
    tools: Mapping[str, Tool]
    name: str | None
    provider: str | None
    max_turns: int
    max_retries: int
    max_concurrency: int
    stream: bool
    """Whether replies are streamed."""
    shown: bool
    """Whether the text is the root's answer, for `stream()` and `on_token`."""
    query: Query
    aquery: AsyncQuery


class Conversation:
    """One run from its prompt to its answer. `result()` tells at any time after its end what it came to."""

    def __init__(self, task: Task, emitter: Emitter, parent: Bracket | None, connect: Connect) -> None:
        self._task = task
        self._connect = connect
        self.open_stream: Any = None
        """The SDK's stream that is being read: whoever ends a dropped run closes it."""
        self._messages = list(task.messages)
        self._seen: tuple[Message, ...] = read_messages(task.messages)
        self._request = read_request(task.request)
        operation = Run(
            messages=self._seen, model=task.model, provider=task.provider, stream=task.stream, request=self._request
        )
        self._run = Bracket(emitter, operation, parent=parent, agent=task.name)

    def steps(self) -> Steps:
        """The run itself; raises what ended it."""
        try:
            with self._run as run:
                client = yield self._connect
                yield from self._turns(client)
                yield Settle(run)
        except StopRun as stop:
            stop.result = self.result()
            raise
        return self.result()

    def result(self) -> Result:
        """What the run came to, or how far it came."""
        run, ended = self._run, self._run.ended
        if ended is None:
            return Result(run_id=run.id)
        said = run.result if isinstance(run.result, RunResult) else RunResult()
        return Result(
            text=said.text,
            outcome=ended.outcome,
            usage=ended.usage,
            cost=ended.cost if isinstance(ended.cost, Cost) else None,
            unpriced_calls=said.unpriced_calls,
            inference_calls=said.inference_calls,
            tool_calls=said.tool_calls,
            finish_reasons=said.finish_reasons,
            elapsed_s=ended.elapsed_s,
            run_id=run.id,
            trace_id=run.link.trace_id if run.link else None,
            span_id=run.link.span_id if run.link else None,
            messages=tuple(self._messages),
            record=ended,
        )

    def _turns(self, client: Any) -> Generator[Effect, Any, None]:
        task = self._task
        for turn in range(1, task.max_turns + 1):
            reply = yield from self._ask(client, turn)
            requests = reply.tool_requests if task.tools else ()
            self._messages.append(_assistant(reply, requests))
            if not requests:
                return
            self._seen = (*self._seen, *read_messages(self._messages[-1:]))
            if turn < task.max_turns:
                yield from self._use_tools(requests, turn)
        msg = f"max_turns={task.max_turns} model calls were made and the model still wants tools; raise max_turns="
        raise LimitReached(msg)

    def _ask(self, client: Any, turn: int) -> Generator[Effect, Any, Reply]:
        task = self._task
        arguments: dict[str, Any] = {**task.request, "model": task.model, "messages": list(self._messages)}
        if turn > 1 and arguments.get("tool_choice") not in ("auto", "none"):
            arguments.pop("tool_choice", None)  # a forced tool is forced once, or the run would never end
        if task.tools:
            arguments["tools"] = [tool.schema() for tool in task.tools.values()]
        if task.stream:
            options = cast("dict[str, object]", task.request.get("stream_options") or {})
            arguments.update(stream=True, stream_options={"include_usage": True, **options})
        call = Bracket(self._run.emitter, self._model_call(client, turn), parent=self._run)
        with call:
            try:
                yield from self._attempts(call, client, arguments)
            except Exception as error:
                _add_advice(error, client, task.model)
                raise
            finally:
                self._run.result = reply = call.result if isinstance(call.result, Reply) else _NO_REPLY
        return reply

    def _attempts(self, call: Bracket, client: Any, arguments: dict[str, Any]) -> Generator[Effect, Any, None]:
        """The logical call: attempts until one succeeds; none is repeated once a chunk was delivered."""
        failed = yield from self._failure(call, client, arguments)
        if failed is None:  # nearly always: then tenacity, which costs as much as a span, is not even asked
            return
        try:
            if not self._task.max_retries:
                raise failed
            yield from self._retries(call, client, arguments, failed)
        finally:
            del failed  # its traceback holds this frame: the texts would stay until the collector comes

    def _retries(
        self, call: Bracket, client: Any, arguments: dict[str, Any], failed: Exception
    ) -> Generator[Effect, Any, None]:
        """The attempts after the first one, which failed."""
        retries = self._task.max_retries
        waits: list[float] = []
        seen = weakref.proxy(call)  # tenacity's state refers to itself: the call would stay until the collector comes
        try:
            for attempt in attempts(retries, may_repeat=lambda: seen.first_chunk_s is None, wait=waits.append):
                if waits:
                    delay_s = waits.pop()
                    spent_s = yield Tell(call, call.retrying(call.attempts, retries, failed, delay_s))
                    yield Wait(max(0.0, delay_s - spent_s))
                    again = yield from self._failure(call, client, arguments)
                    if again is None:
                        return  # before tenacity ties a cycle around the bracket, which would keep all the texts
                    failed = again
                with attempt:
                    raise failed
        finally:
            del failed

    def _failure(
        self, call: Bracket, client: Any, arguments: dict[str, Any]
    ) -> Generator[Effect, Any, Exception | None]:
        """One attempt: why it failed, or None."""
        call.attempts += 1
        try:
            # The raw form, because only it tells the headers of a stream: request id and rate limits.
            raw = yield Send(call, client.chat.completions.with_raw_response.create, arguments)
            response = raw.parse()
            if self._task.stream:
                yield from self._read(call, response, raw.headers)
            else:
                _note_reply(call, response, raw.headers)
        except Exception as error:  # noqa: BLE001 - tenacity decides what becomes of it
            return error
        return None

    def _read(self, call: Bracket, stream: Any, headers: object) -> Generator[Effect, Any, None]:
        reading = Reading(call, stream, headers, shown=self._task.shown)
        self.open_stream = stream
        call.so_far, call.progress = reading.reader.result, reading.reader.pieces
        try:
            yield reading
            self.open_stream = None
            if not reading.reader.complete():
                msg = "the stream ended without a finish reason: the answer is incomplete"
                raise TornStream(msg)
        except StopRun:  # of a hook: nobody reads on
            with suppress(Exception):
                yield Close(stream)
            raise
        except Leave as leave:
            if leave.outcome != "abandoned":
                # Where the consumer raised, its exception is the one to be seen; where it only closed, this one is.
                with suppress(Exception) if leave.error else nullcontext():
                    yield Close(stream)
            raise
        finally:
            with fence("rlm_otel", "reader"):
                call.result, call.usage = reading.reader.result()
                call.reported_cost = reading.reader.reported_cost

    def _use_tools(self, requests: tuple[ToolRequest, ...], turn: int) -> Generator[Effect, Any, None]:
        task = self._task
        known = {
            index: Execution(tool, request, self._run, turn, task.query, task.aquery)
            for index, request in enumerate(requests)
            if (tool := task.tools.get(request.name)) is not None
        }
        texts = dict(
            zip(known, (yield Execute(list(known.values()), task.max_concurrency)) if known else (), strict=True)
        )
        for index, request in enumerate(requests):
            # No span for a name that the model made up: nothing was executed, and names must stay few.
            text = texts.get(index, f"Error: there is no tool {request.name!r}; use one of {', '.join(task.tools)}")
            self._say({"role": "tool", "tool_call_id": request.call_id, "content": text})

    def _model_call(self, client: Any, turn: int) -> ModelCall:
        task, server = self._task, self._connect.clients.server(client)
        return ModelCall(
            provider=task.provider or server.provider,
            model=task.model,
            server_address=server.address,
            server_port=server.port,
            stream=task.stream,
            request=self._request,
            messages=self._seen,
            tools=tuple([tool.definition for tool in task.tools.values()]),
            turn=turn,
        )

    def _say(self, message: dict[str, object]) -> None:
        self._messages.append(message)
        self._seen = (*self._seen, *read_messages([message]))


def drive(steps: Steps, error: BaseException | None = None) -> Result:
    """Does a run's steps in the calling thread; `error` is raised in them first (a `Leave`, to end the run)."""
    answer: object = None
    while True:
        try:
            effect = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as done:
            return cast("Result", done.value)
        finally:
            error = None  # its traceback holds this frame
        answer, error = perform(effect)


async def adrive(steps: Steps, error: BaseException | None = None) -> Result:
    """The same in an event loop."""
    answer: object = None
    while True:
        try:
            effect = steps.send(answer) if error is None else steps.throw(error)
        except StopIteration as done:
            return cast("Result", done.value)
        finally:
            error = None  # its traceback holds this frame
        answer, error = await aperform(effect)


def _note_reply(call: Bracket, response: Any, headers: object) -> None:
    call.result, call.usage = read_reply(response, headers)
    call.reported_cost = read_cost(response)
    if not call.result.messages:
        msg = f"the server answered with a {type(response).__name__} without choices; check base_url="
        raise NoAnswer(msg, response)


def _assistant(reply: Reply, requests: tuple[ToolRequest, ...]) -> dict[str, object]:
    message: dict[str, object] = {"role": "assistant", "content": encodable(reply.text) or (None if requests else "")}
    if requests:
        message["tool_calls"] = [
            {"id": r.call_id, "type": "function", "function": {"name": r.name, "arguments": r.arguments}}
            for r in requests
        ]
    return message


def _add_advice(error: Exception, client: Any, model: str) -> None:
    text = advice(error, client, model)
    if text is not None and text not in getattr(error, "__notes__", ()):
        error.add_note(text)
