"""Drives callbacks through the real emitter and bracket with hand-made operations, a steady clock and numbered ids."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from rlm_otel.bracket import Bracket
from rlm_otel.emitter import Emitter
from rlm_otel.events import ModelCall, Operation, Run, ToolCall
from rlm_otel.messages import Message, Text
from rlm_otel.outcome import Reply, RunResult, ToolResult, Usage
from rlm_otel.testing import StepClock, numbered_ids

PROMPT: Final = (Message("user", (Text("Привет!"),)),)
RUN: Final = Run(messages=PROMPT, model="gpt-4o", provider="openai")
CHAT: Final = ModelCall(provider="openai", model="gpt-4o", messages=PROMPT, turn=1)
TOOL: Final = ToolCall(name="search", arguments='{"q": "кот"}', call_id="call_1", turn=1)
USAGE: Final = Usage(input_tokens=10, output_tokens=35, cache_read_tokens=4, reasoning_tokens=5)


class Refused(Exception):
    """A failure as a vendor's SDK raises it."""

    status_code = 429
    code = "rate_limit_exceeded"
    request_id = "req_1"


class Rig:
    """One emitter; operations take exactly the seconds that a test gives them."""

    def __init__(self, *callbacks: object) -> None:
        self.clock = StepClock(step_s=0)
        self.emitter = Emitter(callbacks, clock=self.clock, make_id=numbered_ids())

    @contextmanager
    def run(self, parent: Bracket | None = None, *, agent: str | None = None, text: str = "Ответ") -> Iterator[Bracket]:
        """A run."""
        with Bracket(self.emitter, RUN, parent=parent, agent=agent) as run:
            yield run
            run.result = RunResult(text=text)

    def call(self, parent: Bracket | None, *, operation: ModelCall = CHAT, **more: Any) -> None:
        """A model call that ends, or raises `error`."""
        with Bracket(self.emitter, operation, parent=parent) as bracket:
            self._finish(bracket, more)

    def tool(self, parent: Bracket | None, *, text: str = "мяу", error: Exception | None = None) -> None:
        """A tool call; an error is handed to the model."""
        with Bracket(self.emitter, TOOL, parent=parent) as bracket:
            bracket.result = ToolResult(text=text)
            if error is not None:
                bracket.fail(error)

    def begin(self, operation: Operation, parent: Bracket | None = None) -> Bracket:
        """An operation that a test ends itself."""
        return Bracket(self.emitter, operation, parent=parent).__enter__()

    def _finish(self, bracket: Bracket, more: dict[str, Any]) -> None:
        for token in more.get("tokens", ()):
            bracket.token(token)
        bracket.attempts = 1
        self.clock.advance(more.get("seconds", 0.0))
        bracket.usage = more.get("usage", USAGE)
        if more.get("error") is not None:
            raise more["error"]
        bracket.result = Reply(
            messages=(Message("assistant", (Text(more.get("text", "Хорошо 🐱")),)),), finish_reasons=("stop",)
        )
