"""Runs inside runs: parents, depth and sums in threads, tools and recursion."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from rlm_otel import BudgetExceeded, LimitReached, StopRun
from rlm_otel.callbacks import BudgetCallback
from rlm_otel.events import Finished
from rlm_otel.result import Result
from rlm_otel.testing import Answer, Item, RecordedRequest, Recorder, Repeat, StepClock, Tokens, Tool
from tests.rig import Rig
from tests.sync_async import Run, both_ways

Query = Callable[[str], str]
USED = Tokens(input=10, output=3)


def call(name: str, **arguments: object) -> Answer:
    """An answer that wants one tool."""
    return Answer(tool_calls=[Tool(name, arguments)], usage=USED)


def tool_first(name: str) -> Callable[[RecordedRequest], Item]:
    """A model that calls a tool when it is offered it, and otherwise answers."""

    def respond(request: RecordedRequest) -> Item:
        asked = [message for message in request.body["messages"] if message["role"] == "tool"]
        return call(name) if request.prompt.startswith("root") and not asked else Answer("leaf", usage=USED)

    return respond


def in_threads(count: int, work: Callable[[int], object]) -> None:
    """Runs `work(0)`, `work(1)`... at once in bare threads, which have no context."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert not any(thread.is_alive() for thread in threads)


def ask_in_bare_thread(llm_query: Query) -> str:
    """Asks from a thread without a context: only the ids of the runs link it."""
    answers: list[str] = []
    in_threads(1, lambda _: answers.append(llm_query("sub")))
    return answers[0]


def block(number: int, indent: str = "") -> str:
    """The trace of root number so and so: the sub-run has its name, so it is under the right one."""
    lines = (
        f"invoke_agent agent-{number}",
        "  chat gpt-4o",
        "  chat gpt-4o",
        "  execute_tool ask_in_bare_thread",
        f"    invoke_agent agent-{number}",
        "      chat gpt-4o",
    )
    return "\n".join(indent + line for line in lines)


def test_s76_threads_with_nested_runs_are_a_trace_each(rig: Rig) -> None:
    """8 threads, each with a root whose tool asks from a bare thread: 8 traces, each with its own sub-run."""
    server = rig.serve(respond=tool_first("ask_in_bare_thread"))
    rlms = [rig.rlm(server=server, name=f"agent-{n}", tools=[ask_in_bare_thread], max_depth=1) for n in range(8)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda rlm: rlm.run("root"), rlms))
    assert rig.outline(by_name=True) == "\n".join(map(block, range(8)))
    traces = {result.trace_id: [s for s in rig.spans if s.trace_id == result.trace_id] for result in results}
    assert [len(spans) for spans in traces.values()] == [6] * 8


@pytest.mark.parametrize("ambient", [False, True], ids=["alone", "in a request"])
async def test_s76_gather_of_five(rig: Rig, ambient: bool) -> None:
    """5 runs at once in one loop: a trace each, or, in a web request, side by side in its trace."""
    server = rig.serve(respond=tool_first("ask_in_bare_thread"))
    rlms = [rig.rlm(server=server, name=f"agent-{n}", tools=[ask_in_bare_thread], max_depth=1) for n in range(5)]
    if ambient:
        with rig.tracer_provider.get_tracer("web").start_as_current_span("GET /"):
            await asyncio.gather(*(rlm.arun("root") for rlm in rlms))
        assert rig.outline(by_name=True) == "GET /\n" + "\n".join(block(n, "  ") for n in range(5))
    else:
        await asyncio.gather(*(rlm.arun("root") for rlm in rlms))
        assert rig.outline(by_name=True) == "\n".join(map(block, range(5)))
    assert len({span.trace_id for span in rig.spans}) == (1 if ambient else 5)


def fan(llm_query: Query) -> str:
    """Asks 200 questions from 50 bare threads."""

    def work(number: int) -> None:
        answers.extend(llm_query(f"question {number}.{i}") for i in range(4))

    answers: list[str] = []
    in_threads(50, work)
    return f"{len(answers)} answers"


@both_ways
def test_200_sub_calls_in_50_threads_are_one_trace(rig: Rig, run: Run) -> None:
    """One trace, each sub-run under the tool with depth 1 and one call, and the root's sums are those of the leaves."""
    server = rig.serve(respond=tool_first("fan"))
    result = run(rig.rlm(server=server, name="root", tools=[fan], max_depth=1), "root")
    spans = rig.spans
    chats = [span for span in spans if span.name == "chat gpt-4o"]
    root, *subs = [span for span in spans if span.name == "invoke_agent root"]
    tool = rig.span("execute_tool fan")
    assert (len(subs), len(chats), len({span.trace_id for span in spans})) == (200, 202, 1)
    assert {span.parent_id for span in subs} == {tool.span_id}
    assert {span.attributes["rlm.depth"] for span in subs} == {1}
    assert tool.parent_id == root.span_id
    assert sorted(span.parent_id or "" for span in chats) == sorted([root.span_id] * 2 + [s.span_id for s in subs])
    assert root.attributes["gen_ai.usage.input_tokens"] == 2020
    assert sum(span.attributes["gen_ai.usage.input_tokens"] for span in chats) == 2020
    assert rig.value("gen_ai.client.inference.usage.output_tokens") == root.attributes["gen_ai.usage.output_tokens"]
    assert sum_of(result) == (2020, 606, 2, 1)
    assert result.cost is not None
    assert result.cost.usd == pytest.approx(rig.value("rlm.client.cost"))


def sum_of(result: Result) -> tuple[int | None, int | None, int, int]:
    """Tokens of the whole tree; calls of the run itself."""
    usage = result.usage
    assert usage is not None
    return usage.input_tokens, usage.output_tokens, result.inference_calls, result.tool_calls


@both_ways
def test_s105_recursion_nests_and_counts_once(rig: Rig, run: Run) -> None:
    """Run > tool > sub-run > tool > sub-run > call, each with its depth; every call is counted once in all."""
    deeper = [call("llm_query", prompt="deeper"), call("llm_query", prompt="deepest"), Answer("bottom", usage=USED)]
    rlm = rig.rlm(*deeper, Repeat(Answer("up", usage=USED)), name="root", sub_model="gpt-4o-mini", max_depth=2)
    assert run(rlm).text == "up"
    assert rig.outline(["rlm.depth", "gen_ai.usage.input_tokens"]) == (
        "invoke_agent root rlm.depth=0 gen_ai.usage.input_tokens=50\n"
        "  chat gpt-4o rlm.depth=0 gen_ai.usage.input_tokens=10\n"
        "  execute_tool llm_query rlm.depth=0\n"
        "    invoke_agent root rlm.depth=1 gen_ai.usage.input_tokens=30\n"
        "      chat gpt-4o-mini rlm.depth=1 gen_ai.usage.input_tokens=10\n"
        "      execute_tool llm_query rlm.depth=1\n"
        "        invoke_agent root rlm.depth=2 gen_ai.usage.input_tokens=10\n"
        "          chat gpt-4o-mini rlm.depth=2 gen_ai.usage.input_tokens=10\n"
        "      chat gpt-4o-mini rlm.depth=1 gen_ai.usage.input_tokens=10\n"
        "  chat gpt-4o rlm.depth=0 gen_ai.usage.input_tokens=10"
    )
    assert rig.value("gen_ai.client.inference.usage.input_tokens") == 50
    assert rig.value("rlm.client.operations") == rig.value("gen_ai.invoke_agent.inference_calls") == 5
    assert rig.count("gen_ai.execute_tool.duration") == rig.value("gen_ai.invoke_agent.tool_calls") == 2


@both_ways
def test_s106_an_executed_tool_has_its_own_duration_and_error(rig: Rig, run: Run) -> None:
    """The tool's span lasts as long as the tool, and its error is the tool's alone: the model goes on."""
    clock = StepClock(step_s=0)

    def slow(key: str) -> str:
        """Takes two seconds."""
        clock.advance(2)
        raise KeyError(key)

    result = run(rig.rlm(call("slow", key="ж"), "sorry", tools=[slow], name="root", clock=clock))
    assert result.text == "sorry"
    assert result.messages[-2]["content"] == "Error: KeyError: 'ж'"
    assert rig.outline() == "invoke_agent root\n  chat gpt-4o\n  execute_tool slow !KeyError\n  chat gpt-4o"
    assert rig.span("execute_tool slow").duration_s == 2
    assert rig.value("gen_ai.execute_tool.duration", error_type="KeyError") == 2
    assert rig.value("gen_ai.client.inference.duration") == 0


def unused() -> str:
    """Is never called."""
    raise AssertionError


@both_ways
def test_s106_a_tool_that_was_only_requested_has_no_span(rig: Rig, run: Run) -> None:
    """A name the model made up, a tool call that nobody offered, and one at the last turn: nothing was executed."""
    assert run(rig.rlm(call("made_up"), "ok", tools=[unused], name="a")).text == "ok"
    assert run(rig.rlm(call("unused"), name="b")).finish_reasons == ("tool_calls",)
    with pytest.raises(LimitReached):
        run(rig.rlm(call("unused"), tools=[unused], name="c", max_turns=1))
    assert rig.outline(["gen_ai.response.finish_reasons"]).replace("gen_ai.response.finish_reasons=", "") == (
        'invoke_agent a ["stop"]\n  chat gpt-4o ["tool_calls"]\n  chat gpt-4o ["stop"]\n'
        'invoke_agent b ["tool_calls"]\n  chat gpt-4o ["tool_calls"]\n'
        'invoke_agent c ["tool_calls"] !rlm_otel.errors.LimitReached\n  chat gpt-4o ["tool_calls"]'
    )
    assert rig.points("gen_ai.execute_tool.duration") == []


@both_ways
def test_s110_a_limit_ends_the_run_once_with_its_reason(rig: Rig, run: Run) -> None:
    """Too many turns, or a spent budget: the run failed with that reason, its calls did not."""
    again = Repeat(call("fine"))
    with pytest.raises(LimitReached) as turns:
        run(rig.rlm(again, tools=[fine], name="turns", max_turns=2))
    with pytest.raises(BudgetExceeded) as budget:
        run(rig.rlm(again, tools=[fine], name="budget", callbacks=[BudgetCallback(max_calls=1), rig.callback]))
    assert rig.outline() == (
        "invoke_agent turns !rlm_otel.errors.LimitReached\n  chat gpt-4o\n  execute_tool fine\n  chat gpt-4o\n"
        "invoke_agent budget !rlm_otel.errors.BudgetExceeded\n  chat gpt-4o\n  execute_tool fine"
    )
    assert [partial(turns.value), partial(budget.value)] == [("failed", 2, 1), ("failed", 1, 1)]
    assert rig.count("gen_ai.invoke_agent.duration") == 2


def fine() -> str:
    """Works."""
    return "fine"


def partial(stop: StopRun) -> tuple[str, int, int]:
    """How far a stopped run had come."""
    assert isinstance(stop.result, Result)
    return stop.result.outcome, stop.result.inference_calls, stop.result.tool_calls


@both_ways
def test_s110_a_lost_end_is_closed_at_shutdown(rig: Rig, run: Run) -> None:
    """What is open at shutdown ends as abandoned, once: an end that comes later changes nothing."""

    def leave() -> str:
        """Shuts the telemetry down in the middle of the run."""
        rig.callback.shutdown()
        return "off"

    run(rig.rlm(call("leave"), "ok", tools=[leave], name="root"))
    assert rig.outline() == "invoke_agent root (abandoned)\n  chat gpt-4o\n  execute_tool leave (abandoned)"


@both_ways
def test_s110_an_end_without_a_start_makes_nothing(rig: Rig, run: Run) -> None:
    """The ends of operations whose start was never seen add neither spans nor measurements to what there is."""
    recorder = Recorder()
    rlm = rig.rlm(call("fine"), "ok", "later", tools=[fine], callbacks=[recorder])
    run(rlm)
    rlm.callbacks[:] = [rig.callback]
    run(rlm)
    ends = recorder.of(Finished)
    for event in ends:
        rig.callback.on_event(event)
    assert len(ends) == 4
    assert rig.outline() == "invoke_agent\n  chat gpt-4o"
    assert rig.value("rlm.client.operations") == rig.count("gen_ai.invoke_agent.duration") == 1


@both_ways
def test_a_nested_runner_without_callbacks_tells_those_of_the_outer_run(rigs: Callable[..., Rig], run: Run) -> None:
    """A runner that a tool calls is part of the tree; with callbacks of its own it tells those, in the same trace."""
    outer, own = rigs(), rigs()
    quiet = outer.rlm(Repeat(Answer("inner", usage=USED)), name="quiet", callbacks=[])
    apart = own.rlm("inner", name="apart")

    def delegate() -> str:
        """Has two other agents work."""
        return quiet.run("sub").text + apart.run("sub").text

    result = run(outer.rlm(call("delegate"), "ok", tools=[delegate], name="root"))
    quiet.run("alone")
    assert outer.outline(["rlm.depth"]) == (
        "invoke_agent root rlm.depth=0\n  chat gpt-4o rlm.depth=0\n  execute_tool delegate rlm.depth=0\n"
        "    invoke_agent quiet rlm.depth=1\n      chat gpt-4o rlm.depth=1\n  chat gpt-4o rlm.depth=0"
    )
    assert own.outline() == "invoke_agent apart\n  chat gpt-4o"
    assert own.span("invoke_agent apart").parent_id == outer.span("execute_tool delegate").span_id
    assert {span.trace_id for span in own.spans} == {result.trace_id}
