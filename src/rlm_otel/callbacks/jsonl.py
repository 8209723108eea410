"""`JSONLLogger`: everything that happens, one JSON object a line."""

import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Final, Self

from rlm_otel.callbacks.append_file import AppendFile
from rlm_otel.callbacks.arguments import check_function, check_switch, check_whole
from rlm_otel.callbacks.base import BaseCallback
from rlm_otel.content import Policy, Redactor, identifier
from rlm_otel.events import Event, Finished, ModelCall, Retrying, Run, Started, ToolCall
from rlm_otel.messages import prompt_text
from rlm_otel.outcome import Cost, Failure, Reply, RunResult, ToolResult, Unpriced

Fields = dict[str, object]

# JSON allows these as they are; some programs take them for line ends, or for orders to the terminal.
_UNSAFE: Final = re.compile("[\x7f-\x9f\u2028\u2029]")


class JSONLLogger(BaseCallback):
    """Appends to the file `path`, created for its owner only; threads, processes and a log rotation may share it.

    Prompts, answers, tool texts and error messages are written with secrets replaced, then shown to `redact` (None
    drops the text), then cut to `limit` characters; `content=False` leaves them out. Raises OSError where the file
    cannot be written, ValueError for a bad argument. Lines are never held back; `flush()` waits for the disk.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] = "rlm_logs.jsonl",
        *,
        content: bool = True,
        limit: int = 200,
        redact: Callable[[str], str | None] | None = None,
    ) -> None:
        check_switch("content", content)
        check_whole("limit", limit, least=1)
        check_function("redact", redact, "(str) -> str | None")
        self.path = path
        self._policy = Policy("span" if content else "none", Redactor(redact), limit)
        self._file = AppendFile(path)

    def on_event(self, event: Event, /) -> None:
        """Writes the event's line: two for a run that failed by itself."""
        for name, fields in self._lines(event):
            time = datetime.fromtimestamp(event.time_ns / 1e9, UTC).isoformat(timespec="microseconds")
            self._file.append(_encoded({"timestamp": time, "event": name, **fields, **_identity(event)}))

    def flush(self) -> None:
        """Waits until the disk has every line."""
        self._file.sync()

    def close(self) -> None:
        """Closes the file; later events are an error that is logged once."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Inside ------------------------------------------------------------

    def _lines(self, event: Event) -> Iterator[tuple[str, Fields]]:
        match event:
            case Started():
                yield self._start(event)
            case Retrying():
                waits = {"attempt": event.attempt, "max_attempts": event.max_attempts, "delay_s": event.delay_s}
                yield "retry", {**waits, **self._failure(event.failure)}
            case Finished():
                ends = {**self._failure(event.failure), **_ends(event)}
                if event.tells_failure:
                    yield "error", ends
                if not isinstance(event.operation, ModelCall) or event.failure is None:
                    yield self._end(event, ends)

    def _start(self, event: Started) -> tuple[str, Fields]:
        match event.operation:
            case Run() as run:
                return "run_start", self._text("prompt", prompt_text(run.messages))
            case ModelCall() as call:
                return "llm_start", self._text("prompt", prompt_text(call.messages))
            case ToolCall() as tool:
                return "tool_start", {"tool": tool.name, **self._text("input", tool.arguments)}

    def _end(self, event: Finished, ends: Fields) -> tuple[str, Fields]:
        match event.operation:
            case Run():
                result = event.result if isinstance(event.result, RunResult) else RunResult()
                counts = {"inference_calls": result.inference_calls, "tool_calls": result.tool_calls}
                return "run_end", {**self._text("response", result.text), **counts, **ends}
            case ModelCall():
                reply = event.result if isinstance(event.result, Reply) else Reply()
                tokens = event.usage.total_tokens if event.usage else None
                return "llm_end", {"tokens": tokens, **self._text("response", reply.text), **ends, **_reply(reply)}
            case ToolCall() as tool:
                output = event.result.text if isinstance(event.result, ToolResult) else ""
                return "tool_end", {"tool": tool.name, **self._text("output", output), **ends}

    def _text(self, name: str, text: str) -> Fields:
        return _known({name: self._policy.text(text)}) if self._policy.captures else {}

    def _failure(self, failure: Failure | None) -> Fields:
        if failure is None:
            return {}
        text = self._policy.text(failure.message) if self._policy.captures else None
        return _known(
            {
                "error": text or failure.type,
                "error_type": failure.type,
                "status": failure.status,
                "code": identifier(failure.code),
                "request_id": identifier(failure.request_id),
                "retry_after_s": failure.retry_after_s,
            }
        )


def _identity(event: Event) -> Fields:
    origin, operation, link = event.origin, event.operation, event.link
    fields: Fields = {
        "trace_id": link.trace_id if link else None,
        "span_id": link.span_id if link else None,
        "operation_id": origin.id,
        "parent_id": origin.parent_id,
        "run_id": origin.run_id,
        "depth": origin.depth,
        "agent": origin.agent,
        "conversation": origin.conversation,
        "prompt_name": origin.prompt.name if origin.prompt else None,
        "prompt_version": origin.prompt.version if origin.prompt else None,
        "labels": dict(origin.labels) or None,
    }
    match operation:
        case Run():
            fields.update(model=operation.model, provider=operation.provider, workflow=operation.workflow)
        case ModelCall():
            fields.update(model=operation.model, provider=operation.provider, turn=operation.turn)
        case ToolCall():
            fields.update(tool_call_id=operation.call_id, turn=operation.turn)
    return _known(fields)


def _ends(event: Finished) -> Fields:
    usage = _known(asdict(event.usage)) if event.usage else {}
    fields: Fields = {
        "outcome": event.outcome,
        "elapsed_s": event.elapsed_s,
        "first_token_s": event.first_token_s,
        "attempts": event.attempts or None,
        "usage": {name: dict(value) if isinstance(value, tuple) else value for name, value in usage.items()} or None,
        "cost": event.cost.usd if isinstance(event.cost, Cost) else None,
        "cost_source": event.cost.source if isinstance(event.cost, Cost) else None,
        "unpriced": event.cost.reason if isinstance(event.cost, Unpriced) else None,
    }
    return _known(fields)


def _reply(reply: Reply) -> Fields:
    return _known({"response_model": reply.model, "finish_reason": next(iter(reply.finish_reasons), None)})


def _known(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if value is not None and value != ()}


def _encoded(fields: Fields) -> bytes:
    line = _UNSAFE.sub(lambda match: f"\\u{ord(match.group()):04x}", json.dumps(fields, ensure_ascii=False))
    return line.encode("utf-8", "replace")  # a lone surrogate becomes `?`
