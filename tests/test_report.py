"""`Result.report()` and `MetricsCollector.report()`: the figures of spans and metrics, and what stands out."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from rlm_otel import BudgetExceeded, LimitReached, Report, TracedThreadPoolExecutor
from rlm_otel.bracket import Bracket
from rlm_otel.callbacks import BudgetCallback, MetricsCollector
from rlm_otel.events import ModelCall
from rlm_otel.outcome import Usage
from rlm_otel.report import report_of
from rlm_otel.tallies import Kept, Step, Tally
from rlm_otel.testing import Answer, Failure, Item, RecordedRequest, Repeat, Tokens, Tool
from tests import callback_rig
from tests.callback_rig import CHAT, RUN, TOOL
from tests.rig import Rig

Query = Callable[[str], str]
USED = Tokens(input=20, output=5, cached=8, reasoning=2)


def mixed() -> Callable[[RecordedRequest], Item]:
    """A model that asks for the tool `work`, whose sub-runs meet everything that can happen to a call."""
    refused: set[str] = set()

    def respond(request: RecordedRequest) -> Item:
        if not request.prompt.startswith("part"):
            asked = any(message["role"] == "tool" for message in request.body["messages"])
            return Answer("done", usage=USED) if asked else Answer(tool_calls=[Tool("work")], usage=USED)
        kind = int(request.prompt.split()[1]) % 8
        if kind == 1 and request.prompt not in refused:
            refused.add(request.prompt)
            return Failure(429, retry_after=0)
        answers: dict[int, Item] = {
            2: Failure(400, message="no"),
            3: Answer("who?", usage=USED, model="nobody-knows"),
            4: Answer("uncounted", usage=None),
            5: Answer("too lo", usage=USED, finish_reason="length"),
        }
        return answers.get(kind, Answer("fine", usage=replace(USED, output=5 + kind)))

    return respond


def work_on(parts: int) -> Callable[[Query], str]:
    """The tool: so many sub-runs in threads; those that fail are left out."""

    def work(llm_query: Query) -> str:
        def ask(number: int) -> str:
            try:
                return llm_query(f"part {number}")
            except Exception as error:
                return type(error).__name__

        with TracedThreadPoolExecutor(8) as pool:
            return " ".join(pool.map(ask, range(parts)))

    return work


@pytest.mark.parametrize(("parts", "is_summed_up"), [(16, False), (280, True)])
def test_totals_are_those_of_spans_and_metrics(rig: Rig, parts: int, is_summed_up: bool) -> None:
    """Nested runs, retries, failures and calls without a price; of a small run and of one that was summed up."""
    metrics = MetricsCollector()
    callbacks = [rig.callback, metrics]
    server = rig.serve(respond=mixed())
    rlm = rig.rlm(server=server, tools=[work_on(parts)], sub_model="gpt-4o-mini", callbacks=callbacks, name="root")
    result = rlm.run("go")
    report, eighth = result.report(), parts // 8
    assert isinstance(getattr(result.record, "below", None), Tally if is_summed_up else Kept)
    chats = {one.model: [it for it in rig.spans if it.name == f"chat {one.model}"] for one in report.models}
    assert [(one.depth, one.model) for one in report.models] == [(0, "gpt-4o"), (1, "gpt-4o-mini")]
    for one in report.models:
        spans = [span.attributes for span in chats[one.model]]
        in_metrics = metrics.summary()["models"][one.model or ""]
        counted = {"gen_ai_request_model": one.model}
        costs = [it["rlm.cost.amount"] for it in spans if "rlm.cost.amount" in it]
        assert one.calls == len(spans) == in_metrics["calls"] == rig.value("rlm.client.operations", **counted)
        assert one.failures == sum("error.type" in it for it in spans) == in_metrics["errors"]
        assert one.retries == sum(it.get("rlm.retry.count", 0) for it in spans) == in_metrics["retries"]
        assert one.input_tokens == sum(it.get("gen_ai.usage.input_tokens", 0) for it in spans)
        assert one.output_tokens == sum(it.get("gen_ai.usage.output_tokens", 0) for it in spans)
        assert one.total_tokens == in_metrics["total_tokens"]
        assert (one.cached_tokens, one.reasoning_tokens) == (
            in_metrics["tokens"]["cached"],
            in_metrics["tokens"]["reasoning"],
        )
        assert round(one.cost_usd, 9) == round(sum(costs), 9) == round(rig.value("rlm.client.cost", **counted), 9)
        assert one.unpriced_calls == sum("rlm.unpriced" in it for it in spans) == in_metrics["unpriced_calls"]
    assert result.usage is not None
    assert result.cost is not None
    assert (report.total.calls, report.total.failures, report.total.retries) == (parts + 2, eighth, eighth)
    assert (report.total.unpriced_calls, result.unpriced_calls) == (2 * eighth, 2 * eighth)
    assert report.total.total_tokens == result.usage.total_tokens
    assert round(report.total.cost_usd, 9) == round(result.cost.usd, 9)
    assert (report.runs, report.tools, report.failed_tools) == (parts + 1, 1, 0)
    assert report.limits == {"max_tokens": eighth}
    assert round(report.path_s, 6) == round(result.elapsed_s, 6)
    costs = sorted((call.cost_usd for call in report.dearest), reverse=True)
    all_costs = [it.attributes.get("rlm.cost.amount", 0.0) for it in rig.spans if it.name.startswith("chat")]
    assert costs == sorted(all_costs, reverse=True)[:5]
    assert {call.span_id for call in report.dearest} <= {span.span_id for span in rig.spans}
    collected = metrics.report()
    assert [rounded(one) for one in collected.models] == [rounded(one) for one in report.models]
    assert collected.path == report.path


def rounded(figures: object) -> dict[str, object]:
    """Figures without what adding in another order changes."""
    told: dict[str, object] = {name: getattr(figures, name) for name in figures.__slots__}  # type: ignore[attr-defined]
    return {name: round(value, 9) if isinstance(value, float) else value for name, value in told.items()}


def test_limits_are_counted_once_where_they_arose(rig: Rig) -> None:
    """The turns of a sub-run and of the run, the depth, a budget, and a rate limit that stayed."""
    metrics = MetricsCollector()

    def deeper(llm_query: Query) -> str:
        return llm_query("deeper")

    again = Repeat(Answer(tool_calls=[Tool("deeper")], usage=USED))
    with pytest.raises(LimitReached) as turns:
        rig.rlm(again, tools=[deeper], max_depth=1, max_turns=2, callbacks=[rig.callback, metrics]).run("go")
    callbacks = [rig.callback, metrics, BudgetCallback(max_calls=3)]
    with pytest.raises(BudgetExceeded) as budget:
        rig.rlm(again, tools=[deeper], max_depth=3, callbacks=callbacks).run("go")
    with pytest.raises(Exception, match="429"):
        rig.rlm(Repeat(Failure(429, retry_after=0)), callbacks=[rig.callback, metrics], max_retries=1).run("go")
    assert turns.value.result is not None
    assert turns.value.result.report().limits == {"max_turns": 2, "max_depth": 1}
    assert budget.value.result is not None
    assert budget.value.result.report().limits == {"budget": 1}
    assert metrics.report().limits == {"max_turns": 2, "max_depth": 1, "budget": 1, "rate_limit": 1}


# What stands out ------------------------------------------------------------


def known_run(metrics: MetricsCollector | None = None) -> Bracket:
    """A run of 10 s: a call of 1 s, then a tool with two sub-runs at once, of 2 s and 5 s, then 1 s nothing."""
    rig = callback_rig.Rig(*([metrics] if metrics else []))
    with rig.run(agent="кот") as run:
        rig.call(run, seconds=1.0)
        with Bracket(rig.emitter, TOOL, parent=run) as tool:
            rig.clock.advance(1.0)
            with Bracket(rig.emitter, RUN, parent=tool, agent="long") as long:
                with rig.run(tool, agent="short") as short:
                    rig.call(short, seconds=2.0, usage=Usage(input_tokens=1000, output_tokens=0))
                rig.call(long, seconds=3.0, operation=replace(CHAT, model="gpt-4o-mini"))
            rig.clock.advance(2.0)
        rig.clock.advance(1.0)
    return run


def test_critical_path_is_what_the_run_waited_for() -> None:
    """Each moment of the run belongs to one step."""
    run = known_run()
    assert run.ended is not None
    report = report_of(run.ended)
    assert report.path == (
        Step("run кот", 0, 1.0),
        Step("model gpt-4o", 0, 1.0),
        Step("tool search", 0, 3.0),
        Step("run long", 1, 2.0),
        Step("model gpt-4o-mini", 1, 3.0),
    )


TEXT = r"""
depth  model                  calls  failed  retries          tokens in                 out       cost  unpriced    time
0      gpt-4o                     1       0        0      10 (4 cached)    35 (5 reasoning)  $0.000370         0  1.00 s
1      gpt-4o                     1       0        0              1,000                   0  $0.002500         0  2.00 s
1      gpt-4o-mini                1       0        0      10 (4 cached)    35 (5 reasoning)  $0.000022         0  3.00 s
-      \x1b[31m[bold]нет\x9b      1       0        0      10 (4 cached)    35 (5 reasoning)          -         1  0.00 s
all                               4       0        0  1,030 (12 cached)  105 (15 reasoning)  $0.002892         1  6.00 s

3 runs, 1 tool

the dearest calls
model        depth  agent  span       cost  tokens    time
gpt-4o       1      short  op-6  $0.002500   1,000  2.00 s
gpt-4o       0      кот    op-2  $0.000370      45  1.00 s
gpt-4o-mini  1      long   op-7  $0.000022      45  3.00 s

the critical path: 10.00 s
step                       time  share
run кот                  1.00 s    10%
  model gpt-4o           1.00 s    10%
  tool search            3.00 s    30%
    run long             2.00 s    20%
      model gpt-4o-mini  3.00 s    30%""".removeprefix("\n")


def test_text_and_json_say_the_same() -> None:
    """The tables fit 120 columns; names from elsewhere have no power over a terminal."""
    metrics = MetricsCollector()
    known_run(metrics)
    callback_rig.Rig(metrics).call(None, operation=ModelCall(provider="openai", model="\x1b[31m[bold]нет\x9b"))
    report = metrics.report()
    assert str(report) == TEXT
    told = json.loads(report.json())
    figures = [(it["model"], it["depth"], it["calls"], it["total_tokens"], it["cost_usd"]) for it in told["models"]]
    assert figures == [
        ("gpt-4o", 0, 1, 45, 0.00037),
        ("gpt-4o", 1, 1, 1000, 0.0025),
        ("gpt-4o-mini", 1, 1, 45, 2.22e-05),
        ("\x1b[31m[bold]нет\x9b", None, 1, 45, 0.0),
    ]
    assert (told["total"]["calls"], told["runs"], told["tools"], told["limits"], told["path_s"]) == (4, 3, 1, {}, 10.0)
    assert [it["operation_id"] for it in told["dearest"]] == ["op-6", "op-2", "op-7"]
    assert told["path"][1] == {"name": "model gpt-4o", "depth": 0, "seconds": 1.0, "count": 1}
    assert "\x9b" not in report.json()


def test_report_of_nothing_is_empty() -> None:
    """Before the first call."""
    assert MetricsCollector().report() == Report()
    assert str(Report()).splitlines()[-1] == "0 runs, 0 tools"


def test_a_big_run_is_kept_small() -> None:
    """Of ten thousand sub-calls the sums, five calls and a dozen steps stay."""
    metrics = MetricsCollector()
    rig = callback_rig.Rig(metrics)
    with rig.run() as run:
        for number in range(10_000):
            rig.call(run, seconds=1.0 + (number == 7))
    assert run.ended is not None
    assert run.ended is not None
    kept = run.ended.below
    assert isinstance(kept, Tally)
    assert (len(kept.figures), len(kept.dearest), len(kept.path)) == (1, 5, 12)
    report = report_of(run.ended)
    assert (report.total.calls, report.path_s, report.path[7]) == (10_000, 10_001.0, Step("model gpt-4o", 0, 2.0))
    assert report.path[-1] == Step("", 0, 9_989.0, 9_990)
