"""The dashboard for a person who builds agents: runs, their shape, and the tools that they use."""

from typing import Final

from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.build import names, panels
from grafana.build.frame import dashboard, row, traces
from grafana.build.names import AGENT, MODEL, SERVICE, TOOL, series
from grafana.build.panels import Column, Panel, Query
from grafana.build.promql import CALLS, RANGE, RATE, RUNS, exact_rate, quantile, ratio, select
from grafana.build.units import COUNT, PER_MINUTE, SECONDS, SHARE
from rlm_otel import semconv as sc
from rlm_otel.views.promql import exact_increase

_BY_AGENT: Final = (SERVICE, AGENT)
_BY_TOOL: Final = (SERVICE, TOOL)
_AGENT_LEGEND: Final = f"{{{{{AGENT}}}}} · {{{{{SERVICE}}}}}"
_TOOL_LEGEND: Final = f"{{{{{TOOL}}}}} · {{{{{SERVICE}}}}}"
_OF_AGENT: Final = {sc.AGENT_NAME: AGENT}
_OF_TOOL: Final = {sc.TOOL_NAME: TOOL}
_ERROR: Final = f'{names.ERROR}!=""'

RUN_COUNT: Final = select(series(sc.AGENT_DURATION, "_count"), *RUNS)
RUN_FAILED: Final = select(series(sc.AGENT_DURATION, "_count"), *RUNS, _ERROR)
RUN_DURATION: Final = select(series(sc.AGENT_DURATION, "_bucket"), *RUNS)
TOOL_COUNT: Final = select(series(sc.TOOL_DURATION, "_count"), *RUNS)
TOOL_FAILED: Final = select(series(sc.TOOL_DURATION, "_count"), *RUNS, _ERROR)
TOOL_DURATION: Final = select(series(sc.TOOL_DURATION, "_bucket"), *RUNS)
DEPTH: Final = select(series(sc.RUN_DEPTH, "_bucket"), *RUNS)
DEPTH_COUNT: Final = select(series(sc.RUN_DEPTH, "_count"), *RUNS)
# The bucket of root runs; how its bound is written depends on the route that the metric took.
_ROOTS: Final = select(series(sc.RUN_DEPTH, "_bucket"), *RUNS, 'le=~"0|0.0"')


def build() -> Dashboard:
    """The dashboard."""
    return dashboard(
        "rlm-otel-runs-tools",
        "Runs and tools",
        "How long runs take, what they are made of, how deep they nest, and how their tools do.",
        since="now-1h",
        rows=[
            row(
                "Now",
                4,
                *((4, one) for one in (runs(), failed_runs(), slow_run(), calls_per_run(), nested(), failed_tools())),
            ),
            row("Runs", 8, (8, run_duration()), (8, run_duration_by_agent()), (8, run_map())),
            row("What runs are made of", 8, (8, calls_by_agent()), (8, tool_calls_by_agent()), (8, models_used())),
            row("Nesting", 8, (12, depths()), (12, nested_share())),
            row("Tools", 8, (8, tool_calls()), (8, tool_latency()), (8, tool_errors())),
            row("Agents and tools", 8, (12, agents()), (12, tools())),
        ],
        more=("agent",),
    )


def runs() -> Panel:
    """How many."""
    return panels.stat(
        "Runs",
        "Runs that ended in the time range, sub-runs included.",
        COUNT,
        Query(exact_increase(RUN_COUNT, RANGE), "runs"),
    )


def failed_runs() -> Panel:
    """Which share went wrong."""
    return panels.stat(
        "Failed runs",
        "Share of the runs that ended with an exception, cancellation included.",
        SHARE,
        Query(ratio(exact_increase(RUN_FAILED, RANGE), exact_increase(RUN_COUNT, RANGE)), "failed"),
        steps=panels.BAD_SHARE,
    )


def slow_run() -> Panel:
    """How long most took."""
    return panels.stat(
        "Run duration, p95",
        "19 of 20 runs were faster than this.",
        SECONDS,
        Query(quantile(0.95, RUN_DURATION, RANGE), "p95"),
    )


def calls_per_run() -> Panel:
    """How many calls a run makes."""
    return panels.stat(
        "Model calls per run",
        "Mean of the calls that a run itself made; those of its sub-runs count there.",
        COUNT,
        Query(_mean(sc.AGENT_INFERENCE_CALLS, RANGE), "calls"),
    )


def nested() -> Panel:
    """How much recursion there is."""
    return panels.stat(
        "Nested runs",
        "Share of the runs that another run started.",
        SHARE,
        Query(_nested(RANGE), "nested"),
    )


def failed_tools() -> Panel:
    """Whether tools break."""
    return panels.stat(
        "Failed tool calls",
        "Share of the tool calls that ended with an exception. The model is told, and may go on.",
        SHARE,
        Query(ratio(exact_increase(TOOL_FAILED, RANGE), exact_increase(TOOL_COUNT, RANGE)), "failed"),
        steps=panels.BAD_SHARE,
    )


def run_duration() -> Panel:
    """The usual and the unusual run."""
    return panels.lines(
        "Run duration",
        "Of all chosen agents together, sub-runs included. Each dot is one run: it leads to its trace.",
        SECONDS,
        *(Query(quantile(q, RUN_DURATION, RATE), f"p{q * 100:.0f}", exemplar=q == 0.99) for q in (0.5, 0.95, 0.99)),
    )


def run_duration_by_agent() -> Panel:
    """Which agent is slow, since when."""
    return panels.lines(
        "Run duration, p95 by agent",
        "19 of 20 runs were faster than this. Each dot is one run: it leads to its trace.",
        SECONDS,
        Query(quantile(0.95, RUN_DURATION, RATE, _BY_AGENT), _AGENT_LEGEND, exemplar=True),
        links=traces(_OF_AGENT),
    )


def run_map() -> Panel:
    """What quantiles hide."""
    return panels.heatmap(
        "Run durations",
        "How many runs took how long. Each dot is one run: it leads to its trace.",
        SECONDS,
        Query(exact_increase(RUN_DURATION, RATE, ("le",)), "{{le}}", exemplar=True),
    )


def calls_by_agent() -> Panel:
    """Whether a run makes more and more calls."""
    return panels.lines(
        "Model calls per run, mean by agent",
        "Calls that a run itself made; those of its sub-runs count there. A rise may be a loop.",
        COUNT,
        Query(_mean(sc.AGENT_INFERENCE_CALLS, RATE, _BY_AGENT), _AGENT_LEGEND),
        links=traces(_OF_AGENT),
    )


def tool_calls_by_agent() -> Panel:
    """Whether a run uses more and more tools."""
    return panels.lines(
        "Tool calls per run, mean by agent",
        "Tool calls that a run itself made; those of its sub-runs count there.",
        COUNT,
        Query(_mean(sc.AGENT_TOOL_CALLS, RATE, _BY_AGENT), _AGENT_LEGEND),
        links=traces(_OF_AGENT),
    )


def models_used() -> Panel:
    """What the runs call."""
    calls = select(series(sc.OPERATIONS), *CALLS)
    return panels.lines(
        "Model calls per minute, by model",
        "All model calls of the service, those outside of runs included: an agent is no label of a model call.",
        PER_MINUTE,
        Query(exact_rate(calls, (SERVICE, MODEL), seconds=60), f"{{{{{MODEL}}}}} · {{{{{SERVICE}}}}}"),
        links=traces({sc.REQUEST_MODEL: MODEL}),
    )


def depths() -> Panel:
    """How deep the recursion goes."""
    return panels.heatmap(
        "Depth of runs",
        "How many runs ended at which recursion level; 0 is a run that no other started.",
        "none",
        Query(exact_increase(DEPTH, RATE, ("le",)), "{{le}}"),
    )


def nested_share() -> Panel:
    """Which agents recurse."""
    return panels.lines(
        "Nested runs, by agent",
        "Share of the runs of an agent that another run started.",
        SHARE,
        Query(_nested(RATE, _BY_AGENT), _AGENT_LEGEND),
        links=traces(_OF_AGENT),
        top=1,
    )


def tool_calls() -> Panel:
    """Traffic."""
    return panels.lines(
        "Tool calls per minute, by tool",
        "Executions of tools, code blocks and REPLs that ended.",
        PER_MINUTE,
        Query(exact_rate(TOOL_COUNT, _BY_TOOL, seconds=60), _TOOL_LEGEND),
        links=traces(_OF_TOOL),
    )


def tool_latency() -> Panel:
    """Which tool is slow, since when."""
    return panels.lines(
        "Tool latency, p95 by tool",
        "19 of 20 executions were faster than this. Each dot is one: it leads to its trace.",
        SECONDS,
        Query(quantile(0.95, TOOL_DURATION, RATE, _BY_TOOL), _TOOL_LEGEND, exemplar=True),
        links=traces(_OF_TOOL),
    )


def tool_errors() -> Panel:
    """Which tool fails, since when."""
    return panels.lines(
        "Failed tool calls, by tool",
        "Share of the executions that ended with an exception.",
        SHARE,
        Query(
            ratio(exact_increase(TOOL_FAILED, RATE, _BY_TOOL), exact_increase(TOOL_COUNT, RATE, _BY_TOOL)), _TOOL_LEGEND
        ),
        links=traces(_OF_TOOL, failed=True),
    )


def agents() -> Panel:
    """A line an agent."""
    everything = exact_increase(RUN_COUNT, RANGE, _BY_AGENT)
    return panels.table(
        "Agents",
        "All figures are of the whole time range. A click on a name leads to such traces in Jaeger.",
        {SERVICE: "Service", AGENT: "Agent"},
        Column("Runs", COUNT, everything),
        Column("Failed", SHARE, ratio(exact_increase(RUN_FAILED, RANGE, _BY_AGENT), everything), panels.BAD_SHARE),
        Column("p50", SECONDS, quantile(0.5, RUN_DURATION, RANGE, _BY_AGENT)),
        Column("p95", SECONDS, quantile(0.95, RUN_DURATION, RANGE, _BY_AGENT)),
        Column("Calls per run", COUNT, _mean(sc.AGENT_INFERENCE_CALLS, RANGE, _BY_AGENT)),
        Column("Deepest level", COUNT, quantile(1, DEPTH, RANGE, _BY_AGENT)),
        sort="Runs",
        links=traces(_OF_AGENT, place="__data.fields"),
    )


def tools() -> Panel:
    """A line a tool."""
    everything = exact_increase(TOOL_COUNT, RANGE, _BY_TOOL)
    return panels.table(
        "Tools",
        "All figures are of the whole time range. A click on a name leads to such traces in Jaeger.",
        {SERVICE: "Service", TOOL: "Tool"},
        Column("Calls", COUNT, everything),
        Column("Failed", SHARE, ratio(exact_increase(TOOL_FAILED, RANGE, _BY_TOOL), everything), panels.BAD_SHARE),
        Column("p50", SECONDS, quantile(0.5, TOOL_DURATION, RANGE, _BY_TOOL)),
        Column("p95", SECONDS, quantile(0.95, TOOL_DURATION, RANGE, _BY_TOOL)),
        sort="Calls",
        links=traces(_OF_TOOL, place="__data.fields"),
    )


def _mean(histogram: str, window: str, by: tuple[str, ...] = ()) -> str:
    whole, count = (select(series(histogram, suffix), *RUNS) for suffix in ("_sum", "_count"))
    return ratio(exact_increase(whole, window, by), exact_increase(count, window, by), fill=False)


def _nested(window: str, by: tuple[str, ...] = ()) -> str:
    return f"1 - {ratio(exact_increase(_ROOTS, window, by), exact_increase(DEPTH_COUNT, window, by))}"
