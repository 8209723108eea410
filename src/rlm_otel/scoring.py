"""`feedback`: what the application, a judge or a user thinks of a reply, linked to the run that gave it."""

import math
from contextlib import suppress

from rlm_otel.block import Callbacks
from rlm_otel.events import Link
from rlm_otel.observing import emitter_for
from rlm_otel.outcome import Score
from rlm_otel.w3c import is_trace_id, link_from


def feedback(
    trace_id_or_result: object,
    name: str,
    value: float | None = None,
    *,
    label: str | None = None,
    explanation: str | None = None,
    callbacks: Callbacks = None,
) -> None:
    """Records a score: `rlm_otel.feedback(result, "thumbs", 1, label="up")`, now or days later.

    The first argument is a `Result`, the object of a `run`, `tool` or `llm_call`, a `traceparent`, or a trace id of 32
    hex digits. `value` is on a scale of yours (True is 1), `label` one of few words; one of the two is needed.
    `explanation` is content. It becomes the event `gen_ai.evaluation.result` where logs are recorded, else a span
    `rlm.feedback` in the trace; and the metric `rlm.feedback`, where OpenTelemetry allows no negative numbers: use a
    scale from 0 up to see all there. Raises TypeError for what makes no sense.
    `callbacks`: as in `run`.
    """
    link = _link(trace_id_or_result)
    texts: tuple[tuple[str, object], ...] = (("label", label), ("explanation", explanation))
    for what, text in texts:
        if text is not None and (not isinstance(text, str) or not text):
            msg = f"feedback({what}={text!r}): give a text with something in it, or leave it out"
            raise TypeError(msg)
    score = Score(name=_name(name), value=_number(value), label=label, explanation=explanation)
    if score.value is None and label is None:
        msg = f"feedback({name!r}) has neither a value nor a label; give one of them"
        raise TypeError(msg)
    emitter_for(callbacks).feedback(link, score)


def _link(subject: object) -> Link | None:
    """The span that is judged; without a span id where only the trace is known, None where nothing made spans."""
    if isinstance(subject, str):
        text = subject.strip().lower()
        link = Link(text, "") if is_trace_id(text) else link_from(text)
        if link is None:
            msg = f"feedback({subject!r}): no trace id of 32 hex digits, no traceparent; give a Result, or one of these"
            raise TypeError(msg)
        return link
    if not hasattr(subject, "trace_id") or not hasattr(subject, "span_id"):
        msg = f"feedback({subject!r}): give a Result, a block of run(), a trace id or a traceparent"
        raise TypeError(msg)
    trace_id, span_id = subject.trace_id, subject.span_id
    return Link(trace_id, span_id or "") if trace_id else None


def _name(name: object) -> str:
    if not isinstance(name, str) or not name:
        msg = f"feedback(name={name!r}): give a text that says what is judged, such as 'thumbs'"
        raise TypeError(msg)
    return name


def _number(value: object) -> float | None:
    if value is None:
        return None
    number = math.inf
    if isinstance(value, int | float):
        with suppress(OverflowError):  # an int beyond all floats
            number = float(value)
    if not math.isfinite(number):
        msg = f"feedback(value={value!r}): give a finite number, or True and False"
        raise TypeError(msg)
    return number
