"""The dashboard for a person on call: which model is slow, failing or expensive, and since when."""

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.build import names, panels
from grafana.build.frame import dashboard, row, traces
from grafana.build.names import MODEL, OUTCOME, PROVIDER, SERVICE, series
from grafana.build.panels import Column, Panel, Query
from grafana.build.promql import CALLS, RANGE, RATE, exact_rate, or_zero, quantile, ratio, select
from grafana.build.units import COUNT, DOLLARS, PER_MINUTE, SECONDS, SHARE
from rlm_otel import semconv as sc
from rlm_otel.views.promql import exact_increase

_BY_MODEL: Final = (SERVICE, MODEL)
_MODEL_LEGEND: Final = f"{{{{{MODEL}}}}} · {{{{{SERVICE}}}}}"
_OF_MODEL: Final = {sc.REQUEST_MODEL: MODEL}

OPERATIONS: Final = select(series(sc.OPERATIONS), *CALLS)
FAILED: Final = select(series(sc.OPERATIONS), *CALLS, f'{OUTCOME}="failed"')
DURATION: Final = select(series(sc.INFERENCE_DURATION, "_bucket"), *CALLS)
FIRST_TOKEN: Final = select(series(sc.FIRST_TOKEN, "_bucket"), *CALLS)
FIRST_CHUNK: Final = select(series(sc.INFERENCE_FIRST_CHUNK, "_bucket"), *CALLS)
TOKENS_IN: Final = select(series(sc.INPUT_TOKENS), *CALLS)
TOKENS_OUT: Final = select(series(sc.OUTPUT_TOKENS), *CALLS)
CACHED: Final = select(series(sc.CACHE_READ_TOKENS), *CALLS)
COST: Final = select(series(sc.COST), *CALLS)
UNPRICED: Final = select(series(sc.UNPRICED), *CALLS)
# Only calls that succeeded have both a duration and all their tokens.
_WORKING: Final = select(series(sc.INFERENCE_DURATION, "_sum"), *CALLS, f'{names.ERROR}=""')


def build() -> Dashboard:
    """The dashboard."""
    return dashboard(
        "rlm-otel-llm-overview",
        "LLM overview",
        "Which model is slow, failing or expensive, and since when. A dot in a latency panel is a call: it leads to "
        "its trace; a line's menu leads to such traces in Jaeger.",
        since="now-1h",
        rows=[
            row("Now", 4, *((4, panel) for panel in (calls(), failed(), slow(), tokens(), cost(), unpriced()))),
            row("Calls and errors", 8, (8, calls_by_model()), (8, errors_by_model()), (8, outcomes())),
            row("Latency", 8, (8, latency()), (8, latency_by_model()), (8, first_token())),
            row("Tokens", 8, (8, tokens_by_kind()), (8, tokens_per_second()), (8, cached())),
            row("Money and size", 8, (8, cost_by_model()), (8, tokens_per_call()), (8, first_token_by_model())),
            row("Models", 8, (24, models())),
            row("Latency of each model", 8, (24, latency_map())),
        ],
    )


def calls() -> Panel:
    """How many."""
    return panels.stat(
        "Calls",
        "Model calls that ended in the time range, however they ended; retries of a call are not counted.",
        COUNT,
        Query(exact_increase(OPERATIONS, RANGE), "calls"),
    )


def failed() -> Panel:
    """Which share went wrong."""
    return panels.stat(
        "Failed calls",
        "Share of the calls that failed after all their retries. A reader that stopped early, or a cancellation by the "
        "application, is no failure.",
        SHARE,
        Query(ratio(exact_increase(FAILED, RANGE), exact_increase(OPERATIONS, RANGE)), "failed"),
        steps=panels.BAD_SHARE,
    )


def slow() -> Panel:
    """How long most took."""
    return panels.stat(
        "Latency, p95",
        "19 of 20 calls were faster than this, retries and waits between them included.",
        SECONDS,
        Query(quantile(0.95, DURATION, RANGE), "p95"),
    )


def tokens() -> Panel:
    """How much text."""
    both = f"{exact_increase(TOKENS_IN, RANGE)} + {exact_increase(TOKENS_OUT, RANGE)}"
    return panels.stat("Tokens", "Tokens in and out, as the vendors reported them.", COUNT, Query(both, "tokens"))


def cost() -> Panel:
    """How much money."""
    return panels.stat(
        "Cost",
        "What the priced calls cost. Look at the unpriced calls beside it: they cost something too.",
        DOLLARS,
        Query(exact_increase(COST, RANGE), "cost"),
    )


def unpriced() -> Panel:
    """How much the cost leaves out."""
    return panels.stat(
        "Unpriced calls",
        "Calls that the cost leaves out: no usage was reported, or there is no price for the model.",
        COUNT,
        Query(or_zero(exact_increase(UNPRICED, RANGE), exact_increase(OPERATIONS, RANGE)), "unpriced"),
        steps=panels.BAD_COUNT,
    )


def calls_by_model() -> Panel:
    """Traffic."""
    return panels.lines(
        "Calls per minute, by model",
        "Model calls that ended, by the model asked for.",
        PER_MINUTE,
        Query(exact_rate(OPERATIONS, _BY_MODEL, seconds=60), _MODEL_LEGEND),
        links=traces(_OF_MODEL),
    )


def errors_by_model() -> Panel:
    """What fails, since when."""
    return panels.lines(
        "Failed calls, by model",
        "Share of the calls that failed after all their retries.",
        SHARE,
        Query(
            ratio(exact_increase(FAILED, RATE, _BY_MODEL), exact_increase(OPERATIONS, RATE, _BY_MODEL)), _MODEL_LEGEND
        ),
        links=traces(_OF_MODEL, failed=True),
    )


def outcomes() -> Panel:
    """How calls ended."""
    return panels.lines(
        "Outcomes",
        "How calls ended, per minute: completed, closed by their reader, abandoned, cancelled by the application, or "
        "failed.",
        PER_MINUTE,
        Query(exact_rate(OPERATIONS, (OUTCOME,), seconds=60), f"{{{{{OUTCOME}}}}}"),
        stacked=True,
        colors=panels.OUTCOMES,
    )


def latency() -> Panel:
    """The usual and the unusual call."""
    return panels.lines(
        "Latency",
        "Of all chosen models together, retries included. Each dot is one call: it leads to its trace.",
        SECONDS,
        *(Query(quantile(q, DURATION, RATE), f"p{q * 100:.0f}", exemplar=q == 0.99) for q in (0.5, 0.95, 0.99)),
    )


def latency_by_model() -> Panel:
    """Which model is slow, since when."""
    return panels.lines(
        "Latency, p95 by model",
        "19 of 20 calls were faster than this. Each dot is one call: it leads to its trace.",
        SECONDS,
        Query(quantile(0.95, DURATION, RATE, _BY_MODEL), _MODEL_LEGEND, exemplar=True),
        links=traces(_OF_MODEL),
    )


def first_token() -> Panel:
    """How long a reader waits for something."""
    return panels.lines(
        "Time to first token",
        "Of streamed calls: until the first generated text, reasoning or tool call; beside it until the first chunk, "
        "which often is empty.",
        SECONDS,
        Query(quantile(0.5, FIRST_TOKEN, RATE), "first token, p50"),
        Query(quantile(0.95, FIRST_TOKEN, RATE), "first token, p95", exemplar=True),
        Query(quantile(0.95, FIRST_CHUNK, RATE), "first chunk, p95"),
    )


def first_token_by_model() -> Panel:
    """Which model keeps its readers waiting."""
    return panels.lines(
        "Time to first token, p95 by model",
        "Of streamed calls: until the first generated text, reasoning or tool call.",
        SECONDS,
        Query(quantile(0.95, FIRST_TOKEN, RATE, _BY_MODEL), _MODEL_LEGEND, exemplar=True),
        links=traces(_OF_MODEL),
    )


def tokens_by_kind() -> Panel:
    """What the tokens are."""
    parts = {  # of those above; not counted at all while there are none
        "in, from the cache": sc.CACHE_READ_TOKENS,
        "in, to the cache": sc.CACHE_WRITE_TOKENS,
        "out, reasoning": sc.REASONING_TOKENS,
    }
    sent = exact_rate(TOKENS_IN, seconds=60)
    return panels.lines(
        "Tokens per minute, by kind",
        "Cached tokens are a part of those that went in, reasoning a part of those that came out.",
        PER_MINUTE,
        Query(sent, "in"),
        Query(exact_rate(TOKENS_OUT, seconds=60), "out"),
        *(
            Query(or_zero(exact_rate(select(series(name), *CALLS), seconds=60), sent), kind)
            for kind, name in parts.items()
        ),
    )


def tokens_per_second() -> Panel:
    """How fast a model writes."""
    written = exact_increase(TOKENS_OUT, RATE, _BY_MODEL)
    return panels.lines(
        "Output tokens per second, by model",
        "Tokens out for each second that calls took, the wait for the first token included; failed calls left out.",
        COUNT,
        Query(ratio(written, exact_increase(_WORKING, RATE, _BY_MODEL), fill=False), _MODEL_LEGEND),
        links=traces(_OF_MODEL),
    )


def cached() -> Panel:
    """Whether prompts hit the vendor's cache."""
    return panels.lines(
        "Cached share of input tokens, by model",
        "Which share of the tokens that went in came from the vendor's cache, and so was cheaper.",
        SHARE,
        Query(
            ratio(exact_increase(CACHED, RATE, _BY_MODEL), exact_increase(TOKENS_IN, RATE, _BY_MODEL)), _MODEL_LEGEND
        ),
        top=1,
    )


def cost_by_model() -> Panel:
    """Which model is expensive, since when."""
    return panels.lines(
        "Cost per hour, by model",
        "What an hour at this pace costs; unpriced calls are left out.",
        DOLLARS,
        Query(exact_rate(COST, _BY_MODEL, seconds=3600), _MODEL_LEGEND),
        links=traces(_OF_MODEL),
    )


def tokens_per_call() -> Panel:
    """Whether prompts grow."""
    sizes = {"in": sc.CALL_INPUT_TOKENS, "out": sc.CALL_OUTPUT_TOKENS}
    return panels.lines(
        "Tokens per call",
        "Sizes of single calls; the buckets are wide (powers of 4), so read them as orders of magnitude.",
        COUNT,
        *(
            Query(quantile(q, select(series(name, "_bucket"), *CALLS), RATE), f"{way}, p{q * 100:.0f}", q == 0.95)
            for way, name in sizes.items()
            for q in (0.5, 0.95)
        ),
    )


def models() -> Panel:
    """Everything at once, a line a model."""
    by = (SERVICE, PROVIDER, MODEL)
    everything = exact_increase(OPERATIONS, RANGE, by)
    sent = exact_increase(TOKENS_IN, RANGE, by)
    return panels.table(
        "Models",
        "All figures are of the whole time range. A click on a name leads to such traces in Jaeger.",
        {SERVICE: "Service", PROVIDER: "Provider", MODEL: "Model"},
        Column("Calls", COUNT, everything),
        Column("Failed", SHARE, ratio(exact_increase(FAILED, RANGE, by), everything), panels.BAD_SHARE),
        *(Column(f"p{q * 100:.0f}", SECONDS, quantile(q, DURATION, RANGE, by)) for q in (0.5, 0.95, 0.99)),
        Column("First token, p95", SECONDS, quantile(0.95, FIRST_TOKEN, RANGE, by)),
        Column("Tokens in", COUNT, sent),
        Column("Tokens out", COUNT, exact_increase(TOKENS_OUT, RANGE, by)),
        Column("Cached", SHARE, ratio(exact_increase(CACHED, RANGE, by), sent)),
        Column("Cost", DOLLARS, exact_increase(COST, RANGE, by)),
        Column("Unpriced calls", COUNT, or_zero(exact_increase(UNPRICED, RANGE, by), everything), panels.BAD_COUNT),
        sort="Calls",
        links=traces(_OF_MODEL, place="__data.fields"),
    )


def latency_map() -> Panel:
    """Two modes, or one that drifts: what quantiles hide."""
    return panels.heatmap(
        "Latency, $model",
        "How many calls took how long. Each dot is one call: it leads to its trace.",
        SECONDS,
        Query(exact_increase(DURATION, RATE, ("le",)), "{{le}}", exemplar=True),
        repeat="model",
    )
