"""Whether telemetry itself arrives: what the callbacks, the collector and Jaeger say about themselves."""

from typing import Final

from grafana.build import panels
from grafana.build.frame import Row, row
from grafana.build.names import REASON, series
from grafana.build.panels import Panel, Query
from grafana.build.promql import RATE, SCOPE, exact_rate, or_zero, select, total
from grafana.build.units import COUNT, SHARE
from rlm_otel import semconv as sc
from rlm_otel.views.promql import exact_increase, label

_SIGNALS: Final = {"spans": "spans", "metric points": "metric_points"}
_OURS: Final = select(series(sc.OPERATIONS), *SCOPE)


def health_rows() -> list[Row]:
    """The rows at the bottom of the dashboard."""
    return [
        row("Telemetry: is it complete?", 8, (6, targets()), (6, alerts()), (6, dropped()), (6, callback_failures())),
        row("Collector", 8, (8, exported()), (8, lost()), (8, queue())),
    ]


def own(name: str, *matchers: str) -> str:
    """A counter of the collector or of Jaeger: some versions end its name in `_total`, some do not."""
    return select("", f'__name__=~"{name}(_total)?"', *matchers)


def targets() -> Panel:
    """Which of the stack's programs answers."""
    return panels.lines(
        "Programs that answer",
        "1: Prometheus could read the program's own metrics; 0: it is down or unreachable.",
        COUNT,
        Query(total("up", ("job",), how="min"), "{{job}}"),
        top=1,
    )


def alerts() -> Panel:
    """What Prometheus complains about."""
    return panels.lines(
        "Alerts",
        "Alerts of Prometheus that are firing or about to; `none` stands for a quiet system.",
        COUNT,
        Query(
            'sum by (alertname, alertstate) (ALERTS) or label_replace(vector(0), "alertname", "none", "", "")',
            "{{alertname}} {{alertstate}}",
        ),
    )


def dropped() -> Panel:
    """What the application itself dropped."""
    lost = exact_increase(select(series(sc.DROPPED), *SCOPE), RATE, (REASON,))
    return panels.lines(
        "Dropped by the application",
        "Spans, measurements and records that the callback dropped, by reason: its bounds were reached.",
        COUNT,
        Query(_or_nothing(lost, REASON), f"{{{{{REASON}}}}}"),
    )


def callback_failures() -> Panel:
    """Which callback of the application's breaks."""
    by = tuple(map(label, (sc.RLM_CALLBACK, sc.RLM_HOOK)))
    failures = exact_increase(select(series(sc.CALLBACK_FAILURES), *SCOPE), RATE, by)
    return panels.lines(
        "Failing callbacks",
        "Exceptions raised by callbacks. They harm nobody but the callback: the log has the first of each kind.",
        COUNT,
        Query(_or_nothing(failures, by[0]), "".join(f"{{{{{name}}}}} " for name in by).strip()),
    )


def exported() -> Panel:
    """What arrives."""
    return panels.lines(
        "Sent on by the collector, per second",
        "Spans to Jaeger, metric points to Prometheus.",
        COUNT,
        *(
            Query(exact_rate(_exporter("sent", signal), ("exporter",)), f"{name} → {{{{exporter}}}}")
            for name, signal in _SIGNALS.items()
        ),
    )


def lost() -> Panel:
    """What does not arrive."""
    troubles = {"send_failed": "refused", "enqueue_failed": "queue full"}
    refused = own("otelcol_receiver_refused_spans")
    accepted = exact_increase(own("otelcol_receiver_accepted_spans"), RATE, ("receiver",))
    return panels.lines(
        "Refused or lost in the collector",
        "Spans and metric points that a back end did not accept or the queue had no room for, and spans that the "
        "collector refused to take (the sender may try again).",
        COUNT,
        *(
            Query(
                or_zero(
                    exact_increase(_exporter(trouble, signal), RATE, ("exporter",)),
                    exact_increase(_exporter("sent", signal), RATE, ("exporter",)),
                ),
                f"{name} → {{{{exporter}}}}, {text}",
            )
            for trouble, text in troubles.items()
            for name, signal in _SIGNALS.items()
        ),
        Query(or_zero(exact_increase(refused, RATE, ("receiver",)), accepted), "spans not taken by {{receiver}}"),
    )


def queue() -> Panel:
    """Whether a back end is away."""
    filled = "otelcol_exporter_queue_size / otelcol_exporter_queue_capacity"
    return panels.lines(
        "Queues of the collector",
        "How full they are. A queue that grows means that its back end is slow or away; what is in it is not lost.",
        SHARE,
        Query(total(filled, ("exporter",), how="max"), "{{exporter}}"),
        top=1,
    )


def _exporter(event: str, signal: str) -> str:
    return own(f"otelcol_exporter_{event}_{signal}")


def _or_nothing(expr: str, by: str) -> str:
    # A counter without an event does not exist: 0 for as long as the application says anything at all.
    quiet = or_zero(expr, total(_OURS))
    return f'label_replace({quiet}, "{by}", "none", "{by}", "")'
