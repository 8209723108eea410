"""What the metrics of the runner say: exemplars, series, labels, buckets, and what sampling leaves alone."""

from collections.abc import Callable

import pytest
from openai import BadRequestError
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from rlm_otel import annotate, attributes
from rlm_otel.testing import (
    Answer,
    Failure,
    Item,
    RecordedRequest,
    Repeat,
    StepClock,
    Tokens,
    Tool,
    numbered_ids,
    rate_limits,
)
from tests.rig import Rig
from tests.sync_async import Run, async_stream, both_ways, sync_stream

STREAM = pytest.mark.parametrize("run", [sync_stream, async_stream], ids=["stream", "astream"])
ALL = Answer(
    "one two",
    usage=Tokens(input=50, output=20, cached=10, cache_write=5, reasoning=8),
    headers=rate_limits(remaining_requests=9, limit_requests=10, remaining_tokens=90, limit_tokens=100),
)


@STREAM
def test_s83_every_point_of_a_streamed_call_leads_to_its_span(rigs: Callable[..., Rig], run: Run) -> None:
    """Each metric has an exemplar with the ids of the call's span, or the run's: also when recorded after its end."""
    rig = rigs(chunk_times=True)
    run(rig.rlm(Failure(429, retry_after=0), ALL, name="root"))
    chat, root = rig.span("chat gpt-4o"), rig.span("invoke_agent root")
    led = {name: [point.exemplars for point in rig.points(name)] for name in rig.metric_names}
    assert all(exemplars for points in led.values() for exemplars in points)
    leads = {name: {(e.trace_id, e.span_id) for point in points for e in point} for name, points in led.items()}
    to_root = {name for name, ids in leads.items() if ids == {(root.trace_id, root.span_id)}}
    to_chat = {name for name, ids in leads.items() if ids == {(chat.trace_id, chat.span_id)}}
    assert to_root == {
        "gen_ai.invoke_agent.duration",
        "gen_ai.invoke_agent.inference_calls",
        "gen_ai.invoke_agent.tool_calls",
        "rlm.run.depth",
    }
    assert sorted(to_chat) == [
        "gen_ai.client.inference.duration",
        "gen_ai.client.inference.operation.input_tokens",
        "gen_ai.client.inference.operation.output_tokens",
        "gen_ai.client.inference.time_per_output_chunk",
        "gen_ai.client.inference.time_to_first_chunk",
        "gen_ai.client.inference.usage.cache_read.input_tokens",
        "gen_ai.client.inference.usage.cache_write.input_tokens",
        "gen_ai.client.inference.usage.input_tokens",
        "gen_ai.client.inference.usage.output_tokens",
        "gen_ai.client.inference.usage.reasoning.output_tokens",
        "rlm.client.active",
        "rlm.client.attempts",
        "rlm.client.cost",
        "rlm.client.oldest_active",
        "rlm.client.operations",
        "rlm.client.ratelimit.limit",
        "rlm.client.ratelimit.remaining",
        "rlm.client.time_to_first_token",
    ]
    assert set(leads) == to_root | to_chat


def series(rig: Rig) -> list[tuple[str, list[tuple[str, object]]]]:
    """Which series there are: every metric with each set of attributes."""
    points = [(name, sorted(point.attributes.items())) for name in rig.metric_names for point in rig.points(name)]
    return sorted(points, key=repr)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_s84_many_users_are_as_many_series_as_one(rig: Rig, is_async: bool) -> None:
    """Users, sessions, prompts, ids and system fingerprints are on spans at most: 30 of each make no new series."""

    def look_up(key: str) -> str:
        """Finds the user."""
        annotate(**{"app.user": key})
        return f"found {key}"

    def answer(request: RecordedRequest) -> Item:
        user = request.body["user"]
        wanted = [Tool("look_up", {"key": user}, id=f"id-{user}")] if request.prompt.startswith("I am") else []
        return Answer("" if wanted else user, tool_calls=wanted, system_fingerprint=f"fp-{user}", usage=ALL.usage)

    rlm = rig.rlm(server=rig.serve(respond=answer), tools=[look_up], name="root")

    async def ask(user: str) -> None:
        with attributes(user=user, session=f"session-{user}"):
            prompt = f"I am {user}"
            await rlm.arun(prompt, user=user) if is_async else rlm.run(prompt, user=user)

    await ask("user-0")
    first = series(rig)
    for number in range(1, 30):
        await ask(f"user-{number}")
    assert series(rig) == first
    assert [word for word in ("user", "session", "fp-", "id-", "I am") if word in repr(first)] == []
    last = rig.spans[-1].attributes
    assert (last["openai.response.system_fingerprint"], last["rlm.label.user"]) == ("fp-user-29", "user-29")


@both_ways
def test_s85_labels_are_declared_and_on_our_metrics_only(rigs: Callable[..., Rig], run: Run) -> None:
    """Declared values as they are, others as `other`, undeclared keys not at all; `gen_ai.*` metrics have none."""
    rig = rigs(labels={"team": ("search", "ads")})
    rlm = rig.rlm(Repeat(Answer("ok")), name="root")
    for team in ("search", "ads", "secret", "internal"):
        with attributes(team=team, feature="chat"):
            run(rlm)
    run(rlm)
    teams = {name: {point.attributes.get("rlm.label.team") for point in rig.points(name)} for name in rig.metric_names}
    assert {name for name, found in teams.items() if found == {"search", "ads", "other", None}} == {
        "rlm.client.active",
        "rlm.client.attempts",
        "rlm.client.cost",
        "rlm.client.oldest_active",
        "rlm.client.operations",
        "rlm.run.depth",
    }
    assert {name.split(".")[0] for name, found in teams.items() if found == {None}} == {"gen_ai"}
    assert rig.value("rlm.client.operations", rlm_label_team="other") == 2
    assert [
        key for name in rig.metric_names for p in rig.points(name) for key in p.attributes if "feature" in key
    ] == []
    assert [span.attributes.get("rlm.label.team") for span in rig.spans if span.name == "chat gpt-4o"] == [
        "search",
        "ads",
        "secret",
        "internal",
        None,
    ]


@both_ways
def test_s86_long_runs_do_not_all_land_in_the_last_bucket(rig: Rig, run: Run) -> None:
    """Runs of 100 s, 7 minutes, an hour and two hours are told apart; only what is longer still is in `+Inf`."""
    clock = StepClock(step_s=0)
    lengths = iter((100, 420, 3600, 7200, 7201))

    def wait() -> str:
        """Takes its time."""
        clock.advance(next(lengths))
        return "ok"

    rlm = rig.rlm(*[Answer(tool_calls=[Tool("wait")]), Answer("ok")] * 5, tools=[wait], name="root", clock=clock)
    for _ in range(5):
        run(rlm)
    assert filled(rig, "gen_ai.invoke_agent.duration") == {102.4: 1, 819.2: 1, 7200.0: 2, float("inf"): 1}
    assert filled(rig, "gen_ai.client.inference.duration") == {0.01: 10}


def filled(rig: Rig, name: str) -> dict[float, int]:
    """The buckets of a histogram that have something in them, by their upper bound."""
    return {
        bound: count
        for data in rig.sdk_metrics[-1:]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        if metric.name == name
        for point in metric.data.data_points
        if isinstance(point, HistogramDataPoint)
        for bound, count in zip((*point.explicit_bounds, float("inf")), point.bucket_counts, strict=True)
        if count
    }


@both_ways
def test_s88_metrics_are_exact_when_nothing_is_sampled(rigs: Callable[..., Rig], run: Run) -> None:
    """Of runs that were sampled out there is no span, and every metric has the very same points."""
    wanted = Answer(tool_calls=[Tool("work")], usage=ALL.usage)
    sampled, unsampled = rigs(), rigs(sampler=ALWAYS_OFF)
    server = sampled.serve(Failure(429, retry_after=0), wanted, ALL, Failure(400), cycle=True)
    for rig in (sampled, unsampled):
        rlm = rig.rlm(server=server, tools=[work], name="root", clock=StepClock(), make_id=numbered_ids())
        assert run(rlm).trace_id is not None
        with pytest.raises(BadRequestError):
            run(rlm)
    assert (len(sampled.spans), unsampled.spans) == (6, [])
    assert sampled.value("rlm.client.attempts") == unsampled.value("rlm.client.attempts") == 4
    assert values(sampled) == values(unsampled)


def values(rig: Rig) -> list[tuple[str, list[tuple[str, object]], float, int | None]]:
    """All points with what they say."""
    return sorted(
        ((name, sorted(p.attributes.items()), p.value, p.count) for name in rig.metric_names for p in rig.points(name)),
        key=repr,
    )


def work() -> str:
    """Works."""
    return "ok"
