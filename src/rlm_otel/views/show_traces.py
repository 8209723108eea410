"""`rlm-otel traces`: each trace as a tree under a line that says when, who, how long, and where to open it."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TextIO

from rlm_otel.callbacks.printing import plain
from rlm_otel.received import ReceivedSpan
from rlm_otel.views.backend import Backend
from rlm_otel.views.durations import told
from rlm_otel.views.json_text import json_text
from rlm_otel.views.report import Report, duration
from rlm_otel.views.traces import Found, Trace, Wanted


def show(found: Found, jaeger: Backend, out: TextIO) -> None:
    """The trees, the newest last, next to the prompt."""
    report = Report(out)
    for trace in found.traces:
        began = datetime.fromtimestamp(trace.start_ns / 1e9, UTC).astimezone()
        count = f"{len(trace.spans)} span{'s' if len(trace.spans) != 1 else ''}"
        heading = (f"{began:%Y-%m-%d %H:%M:%S}", ", ".join(trace.services), duration(trace.duration_s), count)
        report.line("  ".join([*heading, f"{jaeger.shown}/trace/{trace.trace_id}"]), style="bold")
        report.tree(trace.spans)
        report.line()


def write_json(traces: Iterable[Trace], out: TextIO) -> None:
    """The same with every attribute, for a program to read."""
    out.write(json_text([_trace(trace) for trace in traces], out.encoding) + "\n")


def remarks(found: Found, wanted: Wanted, jaeger: Backend) -> list[str]:
    """What the trees do not say: that there are none, or that not all were looked at."""
    since = told((wanted.end_ns - wanted.start_ns) / 1e9)
    if found.cut:
        return [
            f"Older traces than the newest {found.depth} of each service were not looked at: "
            "a shorter --since, or --service, reaches all of them."
        ]
    if found.traces:
        return []
    if not found.services:
        return [
            f"{jaeger.shown} has no traces of any service. Check that one sends here: run `rlm-otel doctor` there, "
            "or `rlm-otel demo --otlp http://localhost:4318`."
        ]
    who = plain(", ".join(found.services))
    if not wanted.everything:
        return [f"No trace of {who} in the last {since} is like that. Try without a filter, or a longer --since."]
    return [f"No trace of {who} in the last {since}. Try a longer --since; a new trace takes some seconds to arrive."]


def _trace(trace: Trace) -> dict[str, object]:
    return {
        "trace_id": trace.trace_id,
        "start": _time(trace.start_ns),
        "duration_s": trace.duration_s,
        "services": trace.services,
        "spans": [_span(span) for span in sorted(trace.spans, key=lambda span: span.start_ns)],
    }


def _span(span: ReceivedSpan) -> dict[str, object]:
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "kind": span.kind,
        "start": _time(span.start_ns),
        "duration_s": (span.end_ns - span.start_ns) / 1e9,
        "status": span.status,
        "status_message": span.status_message,
        "attributes": span.attributes,
        "events": [{"name": it.name, "time": _time(it.time_ns), "attributes": it.attributes} for it in span.events],
        "resource": span.resource,
        "scope": span.scope,
    }


def _time(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns / 1e9, UTC).isoformat(timespec="microseconds")
