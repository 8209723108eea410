"""Scenarios of token accounting, by their numbers: what the vendor counted, once, and nothing that it did not."""

import asyncio
import threading
from collections.abc import Callable

import openai
import pytest

from rlm_otel import Price
from rlm_otel.outcome import Cost, Usage
from rlm_otel.testing import Answer, Broken, CapturedSpan, Tokens, Tool
from tests.rig import Rig
from tests.ways import ANY_WAY, EITHER, PLAIN, STREAMED, ask, read

COUNTED = Tokens(input=300, output=50, cached=40, cache_write=16, reasoning=20)
FOUR_WORDS = Answer("one two three four", usage=Tokens(input=300, output=40), running_usage=True)
INPUT, OUTPUT = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"
METRIC = "gen_ai.client.inference.usage"


def usage_of(span: CapturedSpan) -> dict[str, object]:
    return {name: value for name, value in span.attributes.items() if name.startswith("gen_ai.usage.")}


# What was counted ----------------------------------------------------------------------------------------------------


@ANY_WAY
async def test_s01_cached_and_reasoning_tokens_are_on_the_span(rig: Rig, way: str) -> None:
    """Input, output, cached and reasoning tokens are ints of the call's span."""
    usage = Tokens(input=300, output=50, cached=40, reasoning=20)
    result = await ask(rig.rlm(Answer("Да", usage=usage)), way)
    found = usage_of(rig.span("chat gpt-4o"))
    assert found == {
        "gen_ai.usage.input_tokens": 300,
        "gen_ai.usage.output_tokens": 50,
        "gen_ai.usage.cache_read.input_tokens": 40,
        "gen_ai.usage.reasoning.output_tokens": 20,
    }
    assert {type(value) for value in found.values()} == {int}
    assert result.usage == Usage(input_tokens=300, output_tokens=50, cache_read_tokens=40, reasoning_tokens=20)


@EITHER
async def test_s02_cached_tokens_are_counted_once(rigs: Callable[..., Rig], way: str) -> None:
    """Of 300 tokens in, 40 are cached: no total and no cost has them twice."""
    rig = rigs(prices={"gpt-4o": Price(input=10.0, cached_input=1.0, output=100.0)})
    result = await ask(rig.rlm(Answer("Да", usage=Tokens(input=300, output=50, cached=40))), way)
    assert result.usage is not None
    assert result.usage.total_tokens == 350
    assert result.cost == Cost((260 * 10 + 40 * 1 + 50 * 100) / 1e6, "local")
    assert [rig.value(f"{METRIC}.input_tokens"), rig.value(f"{METRIC}.cache_read.input_tokens")] == [300, 40]
    assert rig.outline([INPUT, "gen_ai.usage.cache_read.input_tokens"]) == (
        f"invoke_agent {INPUT}=300\n  chat gpt-4o {INPUT}=300 gen_ai.usage.cache_read.input_tokens=40"
    )


@ANY_WAY
async def test_s03_missing_usage_stays_absent(rig: Rig, way: str) -> None:
    """Where the vendor counts nothing there are no attributes, no token metrics, and no guess."""
    result = await ask(rig.rlm(Answer("one two three", usage=None)), way)
    assert result.usage is None
    assert [usage_of(span) for span in rig.spans] == [{}, {}]
    assert [name for name in rig.metric_names if name.endswith("tokens")] == []


@STREAMED
async def test_s03_a_server_that_ignores_the_question_leaves_tokens_absent(rig: Rig, way: str) -> None:
    """A stream whose server does not report usage although it was asked is like any without."""
    server = rig.serve("one two three", ignores_include_usage=True)
    result = await ask(rig.rlm(server=server), way)
    assert server.requests[0].body["stream_options"] == {"include_usage": True}
    assert (result.text, result.usage) == ("one two three", None)
    assert [name for name in rig.metric_names if name.endswith("tokens")] == []


@STREAMED
async def test_s05_running_usage_is_not_added_up(rig: Rig, way: str) -> None:
    """Each chunk of this stream has the tokens so far: the last block is the usage, once."""
    result = await ask(rig.rlm(FOUR_WORDS), way, stream_options={"include_obfuscation": False})
    assert result.text == "one two three four"
    assert usage_of(rig.span("chat gpt-4o")) == {INPUT: 300, OUTPUT: 40}
    assert [rig.value(f"{METRIC}.input_tokens"), rig.value(f"{METRIC}.output_tokens")] == [300, 40]


@STREAMED
async def test_s05_the_runner_asks_for_usage_and_keeps_the_users_options(rig: Rig, way: str) -> None:
    """A stream asks for usage beside what the user asks; a plain call has no such option."""
    server = rig.serve("one", "two")
    rlm = rig.rlm(server=server)
    await ask(rlm, way, stream_options={"include_obfuscation": False})
    await ask(rlm, "arun")
    assert [request.body.get("stream_options") for request in server.requests] == [
        {"include_usage": True, "include_obfuscation": False},
        None,
    ]


# Ends before the end --------------------------------------------------------------------------------------------------


@STREAMED
async def test_s08_a_closed_stream_keeps_the_usage_so_far(rig: Rig, way: str) -> None:
    """Left after two of four words, the call has the tokens that had been counted by then, on span and counters."""
    result = await read(rig.rlm(FOUR_WORDS), way, pieces=2)
    assert (result.text, result.usage) == ("one two ", Usage(input_tokens=300, output_tokens=20))
    assert_half_counted(rig, "closed")


@STREAMED
async def test_s08_a_cut_stream_keeps_the_usage_so_far(rig: Rig, way: str) -> None:
    """A connection that breaks after two of four words loses nothing of what was counted."""
    with pytest.raises(openai.APIConnectionError):
        await ask(rig.rlm(Broken(FOUR_WORDS, how="cut", after=3)), way)
    assert_half_counted(rig, "failed")


async def test_s08_a_cancelled_stream_keeps_the_usage_so_far(rig: Rig) -> None:
    """A task that is cancelled while it waits for the third word keeps what was counted."""
    never = threading.Event()
    answer = Answer(FOUR_WORDS.text, usage=FOUR_WORDS.usage, running_usage=True, gate=never, gate_after=3)
    rlm, two_read = rig.rlm(answer), asyncio.Event()

    async def consume() -> None:
        async with rlm.astream("Hi") as stream:
            assert [await anext(stream), await anext(stream)] == ["one ", "two "]
            two_read.set()
            await anext(stream)

    task = asyncio.create_task(consume())
    await two_read.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_half_counted(rig, "cancelled")


def assert_half_counted(rig: Rig, outcome: str) -> None:
    assert usage_of(rig.span("chat gpt-4o")) == {INPUT: 300, OUTPUT: 20}
    assert usage_of(rig.span("invoke_agent")) == {INPUT: 300, OUTPUT: 20}
    assert [rig.value(f"{METRIC}.input_tokens"), rig.value(f"{METRIC}.output_tokens")] == [300, 20]
    assert rig.value("rlm.client.operations", rlm_outcome=outcome) == 1


# Metrics and cost -----------------------------------------------------------------------------------------------------


@EITHER
async def test_s10_kinds_of_tokens_have_counters_of_their_own(rig: Rig, way: str) -> None:
    """Cached, cache-written and reasoning tokens are counted beside the totals that include them."""
    await ask(rig.rlm(Answer("Да", usage=COUNTED)), way)
    assert {name: rig.value(name) for name in rig.metric_names if name.startswith(METRIC)} == {
        f"{METRIC}.cache_read.input_tokens": 40,
        f"{METRIC}.cache_write.input_tokens": 16,
        f"{METRIC}.input_tokens": 300,
        f"{METRIC}.output_tokens": 50,
        f"{METRIC}.reasoning.output_tokens": 20,
    }


COST = ["rlm.cost.amount", "rlm.cost.currency", "rlm.cost.source"]


def costs_of(rig: Rig) -> list[list[object]]:
    return [[span.attributes.get(name) for name in COST] for span in rig.spans]


@EITHER
async def test_s12_the_vendors_own_price_wins(rig: Rig, way: str) -> None:
    """A cost in the reply is taken as it is, and its source says so."""
    await ask(rig.rlm(Answer("Да", usage=Tokens(input=300, output=50, cost=0.125))), way)
    assert costs_of(rig) == [[0.125, "USD", "provider"], [0.125, "USD", "provider"]]
    assert rig.value("rlm.client.cost", rlm_cost_source="provider") == 0.125


@EITHER
@pytest.mark.parametrize(
    ("tier", "usd"), [(None, 0.00088), ("default", 0.00088), ("flex", 0.00044), ("priority", 0.00176)]
)
async def test_s12_listed_prices_know_cache_and_tier(rig: Rig, way: str, tier: str | None, usd: float) -> None:
    """gpt-5 costs 1.25, 0.125 (cached) and 10 USD a million tokens, half of it as `flex`, double as `priority`."""
    usage = Tokens(input=340, output=50, cached=40)  # 300 * 1.25 + 40 * 0.125 + 50 * 10 = 880 millionths
    await ask(rig.rlm(Answer("Да", usage=usage, service_tier=tier), model="gpt-5"), way)
    assert costs_of(rig) == [[pytest.approx(usd), "USD", "local"]] * 2
    assert rig.value("rlm.client.cost", rlm_cost_source="local") == pytest.approx(usd)
    assert rig.points("rlm.client.unpriced") == []


@EITHER
@pytest.mark.parametrize(
    ("model", "usage", "reason"),
    [("our-own-model", Tokens(input=3, output=5), "no_price"), ("gpt-4o", None, "no_usage")],
)
async def test_s12_what_has_no_price_is_counted(
    rig: Rig, way: str, model: str, usage: Tokens | None, reason: str
) -> None:
    """A call that cannot be priced costs nothing that is known, and says why."""
    result = await ask(rig.rlm(Answer("Да", usage=usage), model=model), way)
    assert (result.cost, result.unpriced_calls) == (None, 1)
    assert costs_of(rig) == [[None, None, None]] * 2
    assert rig.span(f"chat {model}").attributes["rlm.unpriced"] == reason
    assert rig.span("invoke_agent").attributes["rlm.run.unpriced_calls"] == 1
    assert rig.value("rlm.client.unpriced", rlm_reason=reason) == 1
    assert rig.points("rlm.client.cost") == []


def look(where: str, llm_query: Callable[[str], str]) -> str:
    """Asks below."""
    return llm_query(where)


@PLAIN
async def test_s13_metrics_count_the_model_calls_alone(rig: Rig, way: str) -> None:
    """A run with a sub-run shows sums on its spans; token metrics have each of the three calls once."""
    rlm = rig.rlm(
        Answer(tool_calls=[Tool("look", {"where": "below"})], usage=Tokens(input=10, output=5)),
        Answer("deep", usage=Tokens(input=100, output=50)),
        Answer("done", usage=Tokens(input=20, output=7)),
        tools=[look],
        max_depth=1,
        name="root",
    )
    result = await ask(rlm, way)
    assert result.usage == Usage(input_tokens=130, output_tokens=62)
    assert rig.outline([INPUT, OUTPUT]) == (
        f"invoke_agent root {INPUT}=130 {OUTPUT}=62\n"
        f"  chat gpt-4o {INPUT}=10 {OUTPUT}=5\n"
        "  execute_tool look\n"
        f"    invoke_agent root {INPUT}=100 {OUTPUT}=50\n"
        f"      chat gpt-4o {INPUT}=100 {OUTPUT}=50\n"
        f"  chat gpt-4o {INPUT}=20 {OUTPUT}=7"
    )
    assert [rig.value(f"{METRIC}.input_tokens"), rig.value(f"{METRIC}.output_tokens")] == [130, 62]
    calls = rig.points("gen_ai.client.inference.operation.input_tokens")
    assert [(point.attributes["gen_ai.operation.name"], point.count, point.value) for point in calls] == [
        ("chat", 3, 130)
    ]


@ANY_WAY
async def test_s14_several_choices_have_one_usage(rig: Rig, way: str) -> None:
    """Three choices: three finish reasons in order, the tokens once."""
    answer = Answer(("a", "b", "c"), finish_reason=("stop", "length", "stop"), usage=Tokens(input=10, output=9))
    result = await ask(rig.rlm(answer), way, n=3)
    call = rig.span("chat gpt-4o").attributes
    assert (result.text, result.finish_reasons) == ("a", ("stop", "length", "stop"))
    assert call["gen_ai.response.finish_reasons"] == ("stop", "length", "stop")
    assert (call[INPUT], call[OUTPUT], call["gen_ai.request.choice.count"]) == (10, 9, 3)
    assert [rig.value(f"{METRIC}.input_tokens"), rig.value(f"{METRIC}.output_tokens")] == [10, 9]
    assert rig.count("gen_ai.client.inference.operation.output_tokens") == 1
