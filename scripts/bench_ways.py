"""The same call in four ways for `bench.py`: unobserved (B0), by our runner, and by hand (B1c here, B1f next door)."""
# ruff: noqa: D102 - `Way` says what the methods are

import json
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

from bench_server import ASYNC_CLIENT, CHUNKS, CLIENT, DEFINITIONS, MODEL, REFUSED, TOOLS, Prompt, arguments
from openai import RateLimitError
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import SpanKind, Status, StatusCode

from rlm_otel import RLM, OTelCallback
from rlm_otel.instruments import SECONDS, TOKENS

PROMPT: Final = "Привет! Tell me in a few words what a span is. " * 4
LIMIT_CHARS: Final = 32_768
_now: Final = time.perf_counter


class Rig:
    """Providers as a service has them."""

    def __init__(self, processor: SpanProcessor) -> None:
        self.reader = InMemoryMetricReader()
        self.tracers = TracerProvider(shutdown_on_exit=False)
        self.tracers.add_span_processor(processor)
        self.meters = MeterProvider([self.reader], shutdown_on_exit=False)


class Way(Protocol):
    """One way to make a call; each raises what the SDK raises."""

    def chat(self, prompt: Prompt, model: str) -> None:
        """A plain call."""

    def stream(self, count: int) -> None:
        """A stream of so many chunks, read to its end."""

    async def achat(self) -> None:
        """A plain call in an event loop."""


class Plain:
    """B0: nobody looks."""

    def chat(self, prompt: Prompt, model: str) -> None:
        sent = arguments(prompt, model, CHUNKS, stream=False)
        CLIENT.chat.completions.with_raw_response.create(**sent).parse()

    def stream(self, count: int) -> None:
        sent = arguments(PROMPT, MODEL, count, stream=True)
        for chunk in CLIENT.chat.completions.with_raw_response.create(**sent).parse():
            _ = chunk.choices[0].delta.content if chunk.choices else None

    async def achat(self) -> None:
        sent = arguments(PROMPT, MODEL, CHUNKS, stream=False)
        (await ASYNC_CLIENT.chat.completions.with_raw_response.create(**sent)).parse()


class Ours:
    """`RLM.run` with an `OTelCallback`, or without any callback (no rig)."""

    def __init__(self, rig: Rig | None, content: str) -> None:
        callbacks = (
            [OTelCallback(tracer_provider=rig.tracers, meter_provider=rig.meters, content=content)] if rig else []
        )
        make = partial(
            RLM.from_openai,
            client=CLIENT,
            async_client=ASYNC_CLIENT,
            callbacks=callbacks,
            max_retries=0,
            name="bench",
        )
        self._runners = {model: make(model) for model in (MODEL, REFUSED)}
        self._with_tools = make(MODEL, tools=TOOLS)

    def chat(self, prompt: Prompt, model: str) -> None:
        runner = self._runners[model] if isinstance(prompt, str) else self._with_tools
        runner.run(prompt, temperature=0.5, max_tokens=CHUNKS)

    def stream(self, count: int) -> None:
        for _ in self._runners[MODEL].stream(PROMPT, temperature=0.5, max_tokens=count):
            pass

    async def achat(self) -> None:
        await self._runners[MODEL].arun(PROMPT, temperature=0.5, max_tokens=CHUNKS)


# By hand: literals throughout, since a hand-written program has no constants of ours --------------------------------


@dataclass(slots=True)
class Call:
    """What the hand-written code keeps between the start of a call and its end."""

    model: str
    streamed: bool
    chat: trace.Span
    context: Context
    run: trace.Span = trace.INVALID_SPAN
    run_context: Context = field(default_factory=Context)
    began: float = field(default_factory=_now)
    first_chunk: float = 0.0
    first_token: float = 0.0
    text: str = ""


class ByHand:
    """Calls with something around them; the two kinds below say what."""

    def __init__(self, rig: Rig, content: str) -> None:
        self.tracer = rig.tracers.get_tracer("by-hand")
        self.meter = rig.meters.get_meter("by-hand")
        self.content = content == "span"

    def begin(self, prompt: Prompt, model: str, *, streamed: bool) -> Call:
        """Starts the spans."""
        raise NotImplementedError

    def end(self, call: Call, answer: Any, reason: str, headers: Any) -> None:
        """Ends the spans and records; `answer`: the reply, or a stream's last chunk, which has the same fields."""
        raise NotImplementedError

    def fail(self, call: Call, error: RateLimitError) -> None:
        """The same for a call that failed."""
        raise NotImplementedError

    def chat(self, prompt: Prompt, model: str) -> None:
        call = self.begin(prompt, model, streamed=False)
        try:
            with trace.use_span(call.chat, record_exception=False, set_status_on_exception=False):
                sent = arguments(prompt, model, CHUNKS, stream=False)
                raw = CLIENT.chat.completions.with_raw_response.create(**sent)
            answer = raw.parse()
        except RateLimitError as error:
            self.fail(call, error)
            raise
        call.text = answer.choices[0].message.content or ""
        self.end(call, answer, answer.choices[0].finish_reason, raw.headers)

    async def achat(self) -> None:
        call = self.begin(PROMPT, MODEL, streamed=False)
        with trace.use_span(call.chat, record_exception=False, set_status_on_exception=False):
            sent = arguments(PROMPT, MODEL, CHUNKS, stream=False)
            raw = await ASYNC_CLIENT.chat.completions.with_raw_response.create(**sent)
        answer = raw.parse()
        call.text = answer.choices[0].message.content or ""
        self.end(call, answer, answer.choices[0].finish_reason, raw.headers)

    def stream(self, count: int) -> None:
        call = self.begin(PROMPT, MODEL, streamed=True)
        with trace.use_span(call.chat, record_exception=False, set_status_on_exception=False):
            raw = CLIENT.chat.completions.with_raw_response.create(**arguments(PROMPT, MODEL, count, stream=True))
            texts: list[str] = []
            reason = ""
            for chunk in raw.parse():
                if not call.first_chunk:
                    call.first_chunk = _now() - call.began
                if chunk.choices:
                    choice = chunk.choices[0]
                    if said := choice.delta.content:
                        if not texts:
                            call.first_token = _now() - call.began
                        texts.append(said)
                    reason = choice.finish_reason or reason
        call.text = "".join(texts)
        self.end(call, chunk, reason, raw.headers)


def prompt_json(prompt: Prompt) -> str:
    """A prompt as the conventions write it."""
    if isinstance(prompt, str):
        return text_json("user", prompt)
    said = [{"role": message["role"], "parts": _parts(message)} for message in prompt]
    return _json(said)


def text_json(role: str, text: str) -> str:
    """One message of text as the conventions write it, cut."""
    return _json([{"role": role, "parts": [{"type": "text", "content": text[:LIMIT_CHARS]}]}])


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    if message["role"] == "tool":
        return [{"type": "tool_call_response", "id": message["tool_call_id"], "response": message["content"]}]
    parts = [{"type": "text", "content": message["content"]}] if message["content"] else []
    for call in message.get("tool_calls", ()):
        wanted = json.loads(call["function"]["arguments"])
        parts.append({"type": "tool_call", "id": call["id"], "name": call["function"]["name"], "arguments": wanted})
    return parts


_json: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_TOOLS: Final[list[Any]] = [tool["function"] for tool in DEFINITIONS]
DEFINITIONS_JSON: Final = _json(
    [{"type": "function", "name": it["name"], "description": it["description"]} for it in _TOOLS]
)
"""The tools that are offered with a history: they never change, so a hand-written program writes them once."""


class Least(ByHand):
    """B1c: one span with ten attributes, the duration and the tokens."""

    def __init__(self, rig: Rig, content: str) -> None:
        super().__init__(rig, content)
        histogram = self.meter.create_histogram
        self._duration = histogram("duration", "s", explicit_bucket_boundaries_advisory=SECONDS)
        self._first_chunk = histogram("first_chunk", "s", explicit_bucket_boundaries_advisory=SECONDS)
        self._input = histogram("input_tokens", "{token}", explicit_bucket_boundaries_advisory=TOKENS)
        self._output = histogram("output_tokens", "{token}", explicit_bucket_boundaries_advisory=TOKENS)

    def begin(self, prompt: Prompt, model: str, *, streamed: bool) -> Call:
        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": model,
            "gen_ai.request.temperature": 0.5,
            "server.address": "api.openai.com",
        }
        if self.content:
            attributes["gen_ai.input.messages"] = prompt_json(prompt)
        span = self.tracer.start_span(f"chat {model}", kind=SpanKind.CLIENT, attributes=attributes)
        return Call(model, streamed, span, trace.set_span_in_context(span))

    def end(self, call: Call, answer: Any, reason: str, headers: Any) -> None:  # noqa: ARG002
        elapsed, usage = _now() - call.began, answer.usage
        attributes = {
            "gen_ai.response.id": answer.id,
            "gen_ai.response.model": answer.model,
            "gen_ai.response.finish_reasons": (reason,),
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
        }
        if self.content:
            attributes["gen_ai.output.messages"] = text_json("assistant", call.text)
        call.chat.set_attributes(attributes)
        call.chat.end()
        who = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": call.model,
            "gen_ai.response.model": answer.model,
        }
        self._duration.record(elapsed, who, call.context)
        self._input.record(usage.prompt_tokens, who, call.context)
        self._output.record(usage.completion_tokens, who, call.context)
        if call.streamed:
            self._first_chunk.record(call.first_chunk, who, call.context)

    def fail(self, call: Call, error: RateLimitError) -> None:
        kind = type(error).__name__
        call.chat.set_attribute("error.type", kind)
        call.chat.set_status(Status(StatusCode.ERROR, str(error)))
        call.chat.end()
        who = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": call.model}
        self._duration.record(_now() - call.began, {**who, "error.type": kind}, call.context)
