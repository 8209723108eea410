"""The dashboard for trouble: retries, limits, what hangs, what times out, and whether telemetry itself arrives."""

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.build import panels
from grafana.build.frame import dashboard, row, traces
from grafana.build.health import health_rows
from grafana.build.names import ERROR, KIND, MODEL, OUTCOME, PROVIDER, SERVICE, series
from grafana.build.panels import Column, Panel, Query
from grafana.build.promql import CALLS, RANGE, RATE, exact_rate, or_zero, quantile, ratio, select, total
from grafana.build.units import COUNT, PER_MINUTE, SECONDS, SHARE
from rlm_otel import semconv as sc
from rlm_otel.views.promql import exact_increase

_BY_MODEL: Final = (SERVICE, MODEL)
_MODEL_LEGEND: Final = f"{{{{{MODEL}}}}} · {{{{{SERVICE}}}}}"
_OF_MODEL: Final = {sc.REQUEST_MODEL: MODEL}

OPERATIONS: Final = select(series(sc.OPERATIONS), *CALLS)
FAILED: Final = select(series(sc.OPERATIONS), *CALLS, f'{OUTCOME}="failed"')
ATTEMPTS: Final = select(series(sc.ATTEMPTS), *CALLS)
BAD_ATTEMPTS: Final = select(series(sc.ATTEMPTS), *CALLS, f'{ERROR}!=""')
LIMITED: Final = select(series(sc.ATTEMPTS), *CALLS, f'{ERROR}=~".*(RateLimit|TooManyRequests).*"')
TIMED_OUT: Final = select(series(sc.ATTEMPTS), *CALLS, f'{ERROR}=~"(?i).*(timeout|timed_?out).*"')
ACTIVE: Final = select(series(sc.ACTIVE), *CALLS)
OLDEST: Final = select(series(sc.OLDEST_ACTIVE), *CALLS)
DURATION: Final = select(series(sc.INFERENCE_DURATION, "_bucket"), *CALLS)
FAILED_DURATION: Final = select(series(sc.INFERENCE_DURATION, "_bucket"), *CALLS, f'{ERROR}!=""')
_HEADROOM: Final = f"{select(series(sc.RATELIMIT_REMAINING), *CALLS)} / {select(series(sc.RATELIMIT_LIMIT), *CALLS)}"

_LITTLE_LEFT: Final = ((None, "red"), (0.1, "orange"), (0.25, "green"))
_OLD: Final = ((None, "green"), (120, "orange"), (600, "red"))


def build() -> Dashboard:
    """The dashboard."""
    return dashboard(
        "rlm-otel-reliability",
        "LLM reliability",
        "Retries, rate limits, timeouts and calls that hang; at the bottom, whether telemetry itself arrives.",
        since="now-1h",
        rows=[
            row(
                "Now",
                4,
                *((4, one) for one in (failed(), retries(), limited(), timeouts(), oldest(), headroom())),
            ),
            row("Attempts", 8, (8, bad_attempts()), (8, attempts_per_call()), (8, limited_by_model())),
            row("Limits and outcomes", 8, (8, headroom_by_model()), (8, outcomes()), (8, timeouts_by_model())),
            row("In flight", 8, (8, active()), (8, oldest_by_model()), (8, failed_latency())),
            row("Slowest models", 8, (24, slowest())),
            *health_rows(),
        ],
    )


def failed() -> Panel:
    """Which share went wrong in the end."""
    return panels.stat(
        "Failed calls",
        "Share of the calls that failed after all their retries.",
        SHARE,
        Query(ratio(exact_increase(FAILED, RANGE), exact_increase(OPERATIONS, RANGE)), "failed"),
        steps=panels.BAD_SHARE,
    )


def retries() -> Panel:
    """How often the client tried again."""
    again = f"clamp_min({exact_increase(ATTEMPTS, RANGE)} - {exact_increase(OPERATIONS, RANGE)}, 0)"
    return panels.stat(
        "Retries",
        "Requests sent beyond the first of each call.",
        COUNT,
        Query(again, "retries"),
        steps=panels.BAD_COUNT,
    )


def limited() -> Panel:
    """How often the vendor said 429."""
    return panels.stat(
        "Rate-limited attempts",
        "Requests that the vendor refused for their number or size (429), whether a retry helped or not.",
        COUNT,
        Query(or_zero(exact_increase(LIMITED, RANGE), exact_increase(ATTEMPTS, RANGE)), "429"),
        steps=panels.BAD_COUNT,
    )


def timeouts() -> Panel:
    """How often nobody answered in time."""
    return panels.stat(
        "Timed-out attempts",
        "Requests that the client gave up waiting for.",
        COUNT,
        Query(or_zero(exact_increase(TIMED_OUT, RANGE), exact_increase(ATTEMPTS, RANGE)), "timeouts"),
        steps=panels.BAD_COUNT,
    )


def oldest() -> Panel:
    """What hangs."""
    return panels.stat(
        "Oldest call in flight",
        "How long the oldest model call that has not ended has been running.",
        SECONDS,
        Query(total(OLDEST, how="max"), "oldest"),
        steps=_OLD,
    )


def headroom() -> Panel:
    """How near the limit is."""
    return panels.stat(
        "Least headroom",
        "The smallest share of a rate limit that is left, of all models and kinds, as the vendors last said.",
        SHARE,
        Query(total(_HEADROOM, how="min"), "left"),
        steps=_LITTLE_LEFT,
    )


def bad_attempts() -> Panel:
    """What goes wrong, even where a retry helps."""
    return panels.lines(
        "Failed attempts per minute, by error",
        "Each request that failed, whether it was repeated or not.",
        PER_MINUTE,
        Query(exact_rate(BAD_ATTEMPTS, (ERROR,), seconds=60), f"{{{{{ERROR}}}}}"),
        stacked=True,
    )


def attempts_per_call() -> Panel:
    """How much retrying there is."""
    return panels.lines(
        "Attempts per call, by model",
        "Requests sent for one call; 1 means that nothing was repeated.",
        COUNT,
        Query(
            ratio(exact_increase(ATTEMPTS, RATE, _BY_MODEL), exact_increase(OPERATIONS, RATE, _BY_MODEL)), _MODEL_LEGEND
        ),
        links=traces(_OF_MODEL),
    )


def limited_by_model() -> Panel:
    """Who is limited, since when."""
    return panels.lines(
        "Rate-limited attempts per minute, by model",
        "Requests that the vendor refused for their number or size (429).",
        PER_MINUTE,
        Query(
            or_zero(exact_rate(LIMITED, _BY_MODEL, seconds=60), f"({exact_rate(ATTEMPTS, _BY_MODEL)})"), _MODEL_LEGEND
        ),
        links=traces(_OF_MODEL),
    )


def headroom_by_model() -> Panel:
    """Which limit is near, and whether it is requests or tokens."""
    return panels.lines(
        "Rate-limit headroom",
        "Share of the vendor's limit that is left, as its last answer said; the lowest of all processes.",
        SHARE,
        Query(
            total(_HEADROOM, (PROVIDER, MODEL, KIND), how="min"),
            f"{{{{{MODEL}}}}}, {{{{{KIND}}}}}s · {{{{{PROVIDER}}}}}",
        ),
        top=1,
    )


def outcomes() -> Panel:
    """How calls ended."""
    ended = exact_increase(OPERATIONS, RATE, (OUTCOME,))
    share = f"{ended} / on () group_left () ({exact_increase(OPERATIONS, RATE)} > 0)"
    return panels.lines(
        "Outcomes",
        "Which share of the calls was completed, closed by its reader, abandoned, cancelled, or failed.",
        SHARE,
        Query(share, f"{{{{{OUTCOME}}}}}"),
        stacked=True,
        colors=panels.OUTCOMES,
        top=1,
    )


def timeouts_by_model() -> Panel:
    """Who does not answer, since when."""
    return panels.lines(
        "Timed-out attempts per minute, by model",
        "Requests that the client gave up waiting for.",
        PER_MINUTE,
        Query(
            or_zero(exact_rate(TIMED_OUT, _BY_MODEL, seconds=60), f"({exact_rate(ATTEMPTS, _BY_MODEL)})"), _MODEL_LEGEND
        ),
        links=traces(_OF_MODEL, failed=True),
    )


def active() -> Panel:
    """How much is going on."""
    return panels.lines(
        "Calls in flight, by model",
        "Model calls that have begun and not ended. A process that was killed is counted for five minutes more.",
        COUNT,
        Query(total(ACTIVE, _BY_MODEL), _MODEL_LEGEND),
    )


def oldest_by_model() -> Panel:
    """Which model hangs."""
    return panels.lines(
        "Oldest call in flight, by model",
        "A line that rises straight is a call that hangs.",
        SECONDS,
        Query(total(OLDEST, _BY_MODEL, how="max"), _MODEL_LEGEND),
    )


def failed_latency() -> Panel:
    """How long failures take, and one such trace."""
    return panels.lines(
        "Latency of failed calls, p95 by error",
        "How long callers waited for a failure. Each dot is one failed call: it leads to its trace.",
        SECONDS,
        Query(
            quantile(0.95, FAILED_DURATION, RATE, (SERVICE, ERROR)),
            f"{{{{{ERROR}}}}} · {{{{{SERVICE}}}}}",
            exemplar=True,
        ),
        links=traces({sc.ERROR_TYPE: ERROR}, failed=True),
    )


def slowest() -> Panel:
    """Where the time goes."""
    by = (SERVICE, PROVIDER, MODEL)
    everything = exact_increase(OPERATIONS, RANGE, by)
    attempts = exact_increase(ATTEMPTS, RANGE, by)
    return panels.table(
        "Slowest models",
        "The slowest first; all figures are of the whole time range. A click on a name leads to such traces in Jaeger.",
        {SERVICE: "Service", PROVIDER: "Provider", MODEL: "Model"},
        Column("p95", SECONDS, quantile(0.95, DURATION, RANGE, by)),
        Column("p99", SECONDS, quantile(0.99, DURATION, RANGE, by)),
        Column("Calls", COUNT, everything),
        Column("Failed", SHARE, ratio(exact_increase(FAILED, RANGE, by), everything), panels.BAD_SHARE),
        Column("Attempts per call", COUNT, ratio(attempts, everything)),
        Column("429", COUNT, or_zero(exact_increase(LIMITED, RANGE, by), attempts), panels.BAD_COUNT),
        Column("Timeouts", COUNT, or_zero(exact_increase(TIMED_OUT, RANGE, by), attempts), panels.BAD_COUNT),
        sort="p95",
        links=traces(_OF_MODEL, place="__data.fields"),
    )
