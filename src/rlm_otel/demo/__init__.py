"""`rlm-otel demo`: model calls that really happen, as telemetry that really travels, shown as it arrived."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TextIO

import openai

from rlm_otel import OTelCallback, StopRun, TornStream
from rlm_otel import semconv as sc
from rlm_otel.callbacks.printing import plain
from rlm_otel.demo.calls import call_local_model, call_model, call_script
from rlm_otel.demo.delivery import Delivered, Delivery, Embedded, Emitted, Remote, Wire
from rlm_otel.demo.progress import working
from rlm_otel.local_llm import LocalModelError, LocalModelMissing, require_packages
from rlm_otel.views.figures import Tokens, is_model_call, tokens
from rlm_otel.views.report import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What the command line asked for."""

    llm: Literal["scripted", "local"] = "scripted"
    model: str | None = None
    """A real model, at `base_url` or at OpenAI, instead of `llm`."""
    base_url: str | None = None
    api_key: str | None = None
    otlp: str | None = None
    """A collector to send to; None = a receiver in this process."""
    protocol: Wire | None = None


def show(choice: Choice, *, out: TextIO, err: TextIO, environ: Mapping[str, str]) -> int:
    """Run the demo; 0 if all that was emitted arrived, 1 if not or if the model could not be called, 2 without a model.

    `environ` is where `OTEL_*` is read for a collector.
    """
    try:
        if choice.llm == "local":
            require_packages()
        return _show(choice, out, err, environ)
    except LocalModelMissing as error:
        print(error, file=err)
        return 2
    except LocalModelError as error:
        print(error, file=err)
    except (openai.OpenAIError, StopRun, TornStream) as error:
        print(_one_line(error), file=err)
    return 1


def _show(choice: Choice, out: TextIO, err: TextIO, environ: Mapping[str, str]) -> int:
    delivery: Delivery = (
        Embedded(choice.protocol) if choice.otlp is None else Remote(choice.otlp, choice.protocol, environ)
    )
    emitted = Emitted()
    try:
        counted = _call(choice, [OTelCallback(delivery.telemetry), emitted], err)
    finally:
        with working("sending what is left", err):
            delivered = delivery.finish(emitted.count)
    report = Report(out)
    report.tree(delivered.spans)
    report.line()
    report.models(delivered.spans)
    report.line()
    agreed = _conclude(report, delivered, counted)
    report.line()
    for line in _look_next(delivered.trace_id):
        report.line(line)
    return 0 if agreed else 1


def _call(choice: Choice, callbacks: list[object], err: TextIO) -> Tokens | None:
    """Make the calls; returns what the server counted, where it can be asked."""
    if choice.llm == "local":
        return call_local_model(callbacks, err)
    if choice.model is not None:
        call_model(callbacks, err, model=choice.model, base_url=choice.base_url, api_key=choice.api_key)
    else:
        call_script(callbacks, err)
    return None


def _conclude(report: Report, delivered: Delivered, counted: Tokens | None) -> bool:
    """Say whether the figures agree; whether they do."""
    agreed = True
    if counted is not None:
        completed = (span for span in delivered.spans if span.attributes[sc.RLM_OUTCOME] == "completed")
        seen = tokens(filter(is_model_call, completed))
        pairs = {
            "input": (seen.input, counted.input),
            "cached": (seen.cached, counted.cached),
            "output": (seen.output, counted.output),
        }
        for what, (ours, theirs) in pairs.items():
            relation = "=" if ours == theirs else "but"
            report.line(
                f"{what} tokens of completed calls: {ours} on spans {relation} {theirs} by the server's counters"
            )
        agreed = all(ours == theirs for ours, theirs in pairs.values())
    report.line(delivered.line, style="bold")
    return delivered.complete and agreed


def _look_next(trace_id: str | None) -> tuple[str, ...]:
    """Where to go on, in three lines."""
    there = "run `rlm-otel demo --otlp http://localhost:4318`"
    if trace_id is not None:
        there = f"look for trace {trace_id}"
    return (
        "In your service:  RLM.from_openai(model, callbacks=[OTelCallback()])",
        f"In your backend:  {there}; the service is rlm-otel-demo",
        "If nothing comes: rlm-otel doctor",
    )


def _one_line(error: Exception) -> str:
    """What to do about it, where the error carries advice; else what it says."""
    said = next(iter(getattr(error, "__notes__", ())), None) or f"{type(error).__name__}: {error}"
    return plain(" ".join(said.split()))
