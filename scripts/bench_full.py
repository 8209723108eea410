"""B1f for `bench.py`: the very spans and records that we emit, by hand with the public OpenTelemetry API."""
# ruff: noqa: D102 - `ByHand` says what the methods are

import time
import traceback
from collections import Counter
from collections.abc import Iterable
from typing import Any

from bench_server import CHUNKS, Prompt
from bench_ways import DEFINITIONS_JSON, ByHand, Call, Rig, prompt_json, text_json
from openai import RateLimitError
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.trace import SpanKind, Status, StatusCode

from rlm_otel.instruments import CALLS, LEVELS, RUN_SECONDS, SECONDS, TOKENS

_INPUT_USD, _OUTPUT_USD = 0.15e-6, 0.6e-6


class Full(ByHand):
    """A run around a model call: two spans, fourteen records or more, and what is in flight."""

    def __init__(self, rig: Rig, content: str) -> None:
        super().__init__(rig, content)
        self.open: dict[int, tuple[str, float]] = {}
        self.seen: dict[str, Context] = {}
        meter, inference, own, agent = self.meter, "gen_ai.client.inference", "rlm.client", "gen_ai.invoke_agent"

        def histogram(name: str, unit: str, buckets: tuple[float, ...]) -> Any:
            return meter.create_histogram(name, unit, explicit_bucket_boundaries_advisory=buckets).record

        self.duration = histogram(f"{inference}.duration", "s", SECONDS)
        self.first_chunk = histogram(f"{inference}.time_to_first_chunk", "s", SECONDS)
        self.input = meter.create_counter(f"{inference}.usage.input_tokens", "{token}").add
        self.output = meter.create_counter(f"{inference}.usage.output_tokens", "{token}").add
        self.call_input = histogram(f"{inference}.operation.input_tokens", "{token}", TOKENS)
        self.call_output = histogram(f"{inference}.operation.output_tokens", "{token}", TOKENS)
        self.operations = meter.create_counter(f"{own}.operations", "{call}").add
        self.attempts = meter.create_counter(f"{own}.attempts", "{attempt}").add
        self.first_token = histogram(f"{own}.time_to_first_token", "s", SECONDS)
        self.cost = meter.create_counter(f"{own}.cost", "{USD}").add
        self.remaining = meter.create_gauge(f"{own}.ratelimit.remaining", "{item}").set
        self.limit = meter.create_gauge(f"{own}.ratelimit.limit", "{item}").set
        self.run_duration = histogram(f"{agent}.duration", "s", RUN_SECONDS)
        self.run_calls = histogram(f"{agent}.inference_calls", "{inference_call}", CALLS)
        self.run_tools = histogram(f"{agent}.tool_calls", "{tool_call}", CALLS)
        self.depth = histogram("rlm.run.depth", "{level}", LEVELS)
        meter.create_observable_up_down_counter(f"{own}.active", [self.active], "{call}")
        meter.create_observable_gauge(f"{own}.oldest_active", [self.oldest], "s")

    def active(self, _: CallbackOptions) -> Iterable[Observation]:
        """Calls in flight, by model."""
        counts = Counter(dict.fromkeys(self.seen, 0))
        counts.update(model for model, _began in list(self.open.values()))
        return [Observation(count, _asked(model), self.seen[model]) for model, count in counts.items()]

    def oldest(self, _: CallbackOptions) -> Iterable[Observation]:
        """Age of the oldest, by model."""
        now = time.perf_counter()
        ages = dict.fromkeys(self.seen, 0.0)
        for model, began in list(self.open.values()):
            ages[model] = max(ages[model], now - began)
        return [Observation(age, _asked(model), self.seen[model]) for model, age in ages.items()]

    def begin(self, prompt: Prompt, model: str, *, streamed: bool) -> Call:
        about_run: dict[str, Any] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "bench",
            "gen_ai.request.model": model,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.max_tokens": CHUNKS,
            "rlm.depth": 0,
        }
        about_call: dict[str, Any] = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": model,
            "server.address": "api.openai.com",
            "server.port": 443,
            "rlm.turn": 1,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.max_tokens": CHUNKS,
            "openai.api.type": "chat_completions",
            "rlm.depth": 0,
        }
        if streamed:
            about_call["gen_ai.request.stream"] = True
        if self.content:
            about_run["gen_ai.input.messages"] = about_call["gen_ai.input.messages"] = prompt_json(prompt)
            if not isinstance(prompt, str):
                about_call["gen_ai.tool.definitions"] = DEFINITIONS_JSON
        run = self.tracer.start_span("invoke_agent bench", attributes=about_run)
        run_context = trace.set_span_in_context(run)
        chat = self.tracer.start_span(f"chat {model}", run_context, SpanKind.CLIENT, about_call)
        call = Call(model, streamed, chat, trace.set_span_in_context(chat), run, run_context)
        self.open[id(call)] = (model, call.began)
        self.seen[model] = call.context
        return call

    def end(self, call: Call, answer: Any, reason: str, headers: Any) -> None:
        elapsed, usage = time.perf_counter() - call.began, answer.usage
        sent, got = usage.prompt_tokens, usage.completion_tokens
        usd = sent * _INPUT_USD + got * _OUTPUT_USD
        requests_left, requests = _whole(headers, "remaining-requests"), _whole(headers, "limit-requests")
        tokens_left, tokens = _whole(headers, "remaining-tokens"), _whole(headers, "limit-tokens")
        both: dict[str, Any] = {
            "rlm.outcome": "completed",
            "gen_ai.response.finish_reasons": (reason,),
            "gen_ai.usage.input_tokens": sent,
            "gen_ai.usage.output_tokens": got,
            "rlm.cost.amount": usd,
            "rlm.cost.currency": "USD",
            "rlm.cost.source": "local",
        }
        if self.content:
            both["gen_ai.output.messages"] = text_json("assistant", call.text)
        about_call = {
            **both,
            "gen_ai.response.model": answer.model,
            "rlm.request.id": headers.get("x-request-id"),
            "rlm.ratelimit.request.remaining": requests_left,
            "rlm.ratelimit.request.limit": requests,
            "rlm.ratelimit.token.remaining": tokens_left,
            "rlm.ratelimit.token.limit": tokens,
            "gen_ai.response.id": answer.id,
            "openai.response.service_tier": answer.service_tier,
            "openai.response.system_fingerprint": answer.system_fingerprint,
        }
        if call.streamed:
            about_call["gen_ai.response.time_to_first_chunk"] = call.first_chunk
            about_call["rlm.time_to_first_token"] = about_call["rlm.time_to_first_visible"] = call.first_token
            about_call["rlm.tokens_per_second"] = (got - 1) / (elapsed - call.first_token)
        call.chat.set_attributes(about_call)
        call.chat.end()
        own = {**_asked(call.model), "gen_ai.response.model": answer.model}
        who = {**own, "server.address": "api.openai.com", "server.port": 443}
        counted = {**who, "openai.response.service_tier": answer.service_tier}
        context = call.context
        self.duration(elapsed, counted, context)
        self.input(sent, {**counted, "gen_ai.token.modality": "unknown"}, context)
        self.output(got, {**counted, "gen_ai.token.modality": "unknown"}, context)
        self.call_input(sent, counted, context)
        self.call_output(got, counted, context)
        self.operations(1, {**own, "rlm.outcome": "completed"}, context)
        self.attempts(1, own, context)
        if call.streamed:
            self.first_chunk(call.first_chunk, who, context)
            self.first_token(call.first_token, own, context)
        self.cost(usd, {**own, "rlm.cost.source": "local"}, context)
        self.remaining(requests_left, {**own, "rlm.ratelimit.kind": "request"}, context)
        self.limit(requests, {**own, "rlm.ratelimit.kind": "request"}, context)
        self.remaining(tokens_left, {**own, "rlm.ratelimit.kind": "token"}, context)
        self.limit(tokens, {**own, "rlm.ratelimit.kind": "token"}, context)
        del self.open[id(call)]
        self.end_run(call, {**both, "rlm.run.inference_calls": 1, "rlm.run.tool_calls": 0}, {})

    def fail(self, call: Call, error: RateLimitError) -> None:
        elapsed, kind = time.perf_counter() - call.began, "openai.RateLimitError"
        request_id = error.response.headers.get("x-request-id")
        text = f"{kind}, HTTP {error.status_code}, code {error.code}, request {request_id}"
        raised = {"exception.type": kind}
        if self.content:
            text = error.message
            outside = error.__traceback__.tb_next if error.__traceback__ else None  # as ours: not its own frame
            raised["exception.stacktrace"] = "".join(traceback.format_exception(type(error), error, outside))
        raised["exception.message"] = text
        both: dict[str, Any] = {"rlm.outcome": "failed", "error.type": kind}
        about_call = {
            **both,
            "rlm.http.status_code": error.status_code,
            "rlm.error.code": error.code or "",
            "rlm.request.id": request_id or "",
        }
        status = Status(StatusCode.ERROR, text)
        call.chat.set_attributes(about_call)
        call.chat.set_status(status)
        call.chat.add_event("exception", raised)
        call.chat.end()
        own = _asked(call.model)
        failed = {**own, "error.type": kind}
        self.duration(elapsed, {**failed, "server.address": "api.openai.com", "server.port": 443}, call.context)
        self.operations(1, {**own, "rlm.outcome": "failed"}, call.context)
        self.attempts(1, failed, call.context)
        del self.open[id(call)]
        call.run.set_status(status)
        self.end_run(call, {**both, "rlm.run.inference_calls": 1, "rlm.run.tool_calls": 0}, {"error.type": kind})

    def end_run(self, call: Call, attributes: dict[str, Any], failure: dict[str, str]) -> None:
        """Ends the run's span and records it."""
        call.run.set_attributes(attributes)
        call.run.end()
        who, agent = {"gen_ai.agent.name": "bench", "gen_ai.request.model": call.model}, {"gen_ai.agent.name": "bench"}
        self.run_duration(time.perf_counter() - call.began, {**who, **failure}, call.run_context)
        self.run_calls(1, agent, call.run_context)
        self.run_tools(0, agent, call.run_context)
        self.depth(0, who, call.run_context)


def _asked(model: str) -> dict[str, str]:
    return {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": model}


def _whole(headers: Any, what: str) -> int:
    return int(headers.get(f"x-ratelimit-{what}"))
