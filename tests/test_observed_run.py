"""`run`: a `with` and a decorator for pieces of the application's own work, sync and async."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import rlm_otel
from rlm_otel import StopRun
from rlm_otel.events import Finished
from rlm_otel.testing import Answer, Recorder, Repeat, Tool
from tests.rig import Rig


def test_a_block_is_a_run_and_what_is_inside_belongs_to_it(rig: Rig) -> None:
    """Runs of the runner, tools and runs inside are its children, with its callbacks where they have none."""
    with rlm_otel.run("digest", callbacks=[rig.callback]) as run:
        rig.rlm("ok", callbacks=(), name="inner").run("Hi")
        with rlm_otel.run("part"), rlm_otel.tool("look"):
            pass
    assert rig.outline(["rlm.depth"]) == (
        "invoke_agent digest rlm.depth=0\n"
        "  invoke_agent inner rlm.depth=1\n"
        "    chat gpt-4o rlm.depth=1\n"
        "  invoke_agent part rlm.depth=1\n"
        "    execute_tool look rlm.depth=1"
    )
    assert (run.trace_id, run.span_id) == (rig.spans[0].trace_id, rig.spans[0].span_id)


def test_input_and_result_are_content(rigs: Callable[..., Rig]) -> None:
    """Text, messages or any value; on the span only where content is on."""
    quiet, rig = rigs(), rigs(content="span")
    for one in (quiet, rig):
        with rlm_otel.run("a", input="Привет 🙂", callbacks=[one.callback]) as run:
            run.result("готово")
        with rlm_otel.run("b", input=[{"role": "system", "content": "be kind"}], callbacks=[one.callback]) as run:
            run.result({"ok": True})
    names = ["gen_ai.input.messages", "gen_ai.output.messages"]
    assert quiet.outline(names) == "invoke_agent a\ninvoke_agent b"
    assert [[rig.spans[n].attributes[name] for name in names] for n in (0, 1)] == [
        [
            '[{"role":"user","parts":[{"type":"text","content":"Привет 🙂"}]}]',
            '[{"role":"assistant","parts":[{"type":"text","content":"готово"}]}]',
        ],
        [
            '[{"role":"system","parts":[{"type":"text","content":"be kind"}]}]',
            '[{"role":"assistant","parts":[{"type":"text","content":"{\\"ok\\": true}"}]}]',
        ],
    ]


def test_a_run_sums_up_its_calls_and_those_below(rig: Rig) -> None:
    """Tokens of model calls inside, also two levels down; its own calls are counted apart."""
    usage = {"input_tokens": 10, "output_tokens": 3}
    with rlm_otel.run("outer", callbacks=[rig.callback]):
        with rlm_otel.run("inner"), _call() as call:
            call.finish("ok", usage=usage, finish_reason="stop", model="m", response_id="r1")
        with _call() as call:
            call.finish("ok", usage=usage, finish_reason="length", model="m", response_id="r2")
    outer = rig.span("invoke_agent outer").attributes
    assert (outer["gen_ai.usage.input_tokens"], outer["gen_ai.usage.output_tokens"]) == (20, 6)
    assert (outer["rlm.run.inference_calls"], outer["gen_ai.response.finish_reasons"]) == (1, ("length",))


def _call() -> rlm_otel.LLMCall:
    return rlm_otel.llm_call(provider="anthropic", model="m", url="https://api.anthropic.com/v1/messages")


def test_an_exception_fails_the_run_once_and_goes_on(rig: Rig) -> None:
    """The same object reaches the caller, and it is recorded where it arose."""
    error = ValueError("внутри")
    with pytest.raises(ValueError, match="внутри") as raised:
        with rlm_otel.run("outer", callbacks=[rig.callback]), rlm_otel.run("inner"):
            raise error
    assert raised.value is error
    assert rig.outline() == "invoke_agent outer !ValueError\n  invoke_agent inner !ValueError"
    assert [len(span.events) for span in rig.spans] == [0, 1]


@pytest.mark.parametrize(
    ("error", "ended"),
    [(KeyboardInterrupt(), "(cancelled)"), (SystemExit(1), "(cancelled)"), (StopRun("enough"), "(closed)")],
    ids=["Ctrl-C", "exit", "StopRun"],
)
def test_s46_a_run_ends_whatever_leaves_it(rig: Rig, error: BaseException, ended: str) -> None:
    """Ctrl-C and exits are cancellation, a `StopRun` is none; each goes on unchanged."""
    with pytest.raises(type(error)) as raised, rlm_otel.run("job", callbacks=[rig.callback]):
        raise error
    assert raised.value is error
    assert rig.outline() == f"invoke_agent job {ended}"


@pytest.mark.parametrize("decorator", [rlm_otel.run, rlm_otel.run(), rlm_otel.run("work")], ids=["bare", "()", "named"])
def test_a_decorated_function_is_a_run_each_time(rigs: Callable[..., Rig], decorator: Callable[..., Any]) -> None:
    """Its arguments are the input, what it returns the result; name, docstring and value stay its own."""
    rig = rigs(content="span")

    @decorator
    def work(text: str, times: int = 1) -> str:
        """Says it."""
        return text * times

    with rlm_otel.run("outer", callbacks=[rig.callback]):
        assert (work("да"), work("да", times=2)) == ("да", "дада")
    assert (work.__name__, work.__doc__) == ("work", "Says it.")
    assert rig.outline() == "invoke_agent outer\n  invoke_agent work\n  invoke_agent work"
    first, second = rig.spans[1:]
    assert first.attributes["gen_ai.input.messages"] == '[{"role":"user","parts":[{"type":"text","content":"да"}]}]'
    assert second.attributes["gen_ai.input.messages"] == (
        '[{"role":"user","parts":[{"type":"text","content":"{\\"text\\": \\"да\\", \\"times\\": 2}"}]}]'
    )
    assert second.attributes["gen_ai.output.messages"] == (
        '[{"role":"assistant","parts":[{"type":"text","content":"дада"}]}]'
    )


def test_a_decorated_method_does_not_record_itself(rigs: Callable[..., Rig]) -> None:
    """`self` and `cls` are no input; static methods work with the decorator below."""
    rig = rigs(content="span")

    class Service:
        @rlm_otel.run(callbacks=[rig.callback])
        def one(self, text: str) -> str:
            return text

        @classmethod
        @rlm_otel.run(callbacks=[rig.callback])
        def two(cls, text: str) -> str:
            return text

        @staticmethod
        @rlm_otel.run(callbacks=[rig.callback])
        def three(text: str) -> str:
            return text

    service = Service()
    assert [service.one("a"), service.two("b"), service.three("c")] == ["a", "b", "c"]
    prompts = [span.attributes["gen_ai.input.messages"] for span in rig.spans]
    assert prompts == [f'[{{"role":"user","parts":[{{"type":"text","content":"{text}"}}]}}]' for text in "abc"]


def test_a_call_that_does_not_fit_raises_as_without_the_decorator(rig: Rig) -> None:
    """The function itself complains."""

    @rlm_otel.run(callbacks=[rig.callback])
    def work(text: str) -> str:
        return text

    with pytest.raises(TypeError, match=r"work\(\) missing 1 required positional argument"):
        work()  # type: ignore[call-arg]  # on purpose
    assert rig.outline() == "invoke_agent work !TypeError"


async def test_async_blocks_and_functions(rig: Rig) -> None:
    """`async with` and `async def`: the same spans; five at once stay apart."""

    @rlm_otel.run
    async def part(number: int) -> int:
        await asyncio.sleep(0)
        with rlm_otel.tool(f"tool{number}"):
            await asyncio.sleep(0)
        return number

    async with rlm_otel.run("outer", callbacks=[rig.callback]):
        assert await asyncio.gather(*map(part, range(5))) == [0, 1, 2, 3, 4]
    parts = "".join(f"\n  invoke_agent part\n    execute_tool tool{number}" for number in range(5))
    assert rig.outline(by_name=True) == f"invoke_agent outer{parts}"


async def test_s45_a_cancelled_function_is_cancelled(rig: Rig) -> None:
    """`wait_for` gives up: the span ends as cancelled, and the cancellation goes on."""

    @rlm_otel.run(callbacks=[rig.callback])
    async def slow() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(slow(), 0.01)
    assert rig.outline() == "invoke_agent slow (cancelled)"


class AsyncHooks:
    """Tells what it was told, after a while."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def on_run_start(self, prompt: str) -> None:
        await asyncio.sleep(0)
        self.told.append(f"start {prompt}")

    async def on_run_end(self, result: object) -> None:
        await asyncio.sleep(0.01)
        self.told.append("end")

    async def on_tool_end(self, tool_name: str) -> None:
        await asyncio.sleep(0)
        self.told.append(tool_name)


@pytest.mark.parametrize("outer", [False, True], ids=["alone", "inside a sync with"])
async def test_async_hooks_have_run_at_the_end(rig: Rig, outer: bool) -> None:
    """`async with` and an async function wait for them, also where the run around is sync code."""
    hooks = AsyncHooks()

    @rlm_otel.run("work", callbacks=None if outer else [hooks, rig.callback])
    async def work(text: str) -> None:
        with rlm_otel.tool("look"):
            pass

    if outer:
        with rlm_otel.run("outer", callbacks=[hooks, rig.callback]):
            await work("a")
    else:
        await work("a")
    assert hooks.told == ["start a", "look", "end"]


def test_async_hooks_are_skipped_in_sync_code_with_one_warning(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """As everywhere."""

    class OnlyHere(AsyncHooks):
        pass

    hooks = OnlyHere()
    for _ in range(2):
        with rlm_otel.run("a", input="x", callbacks=[hooks, rig.callback]):
            pass
    assert hooks.told == []
    assert [record.getMessage().partition(" is ")[0] for record in caplog.records] == [
        "OnlyHere.on_run_start",
        "OnlyHere.on_run_end",
    ]


async def test_a_stop_of_the_last_async_hook_is_raised(rig: Rig) -> None:
    """It leaves the `async with`, once all is told."""

    class Stops:
        async def on_run_end(self, result: object) -> None:
            raise StopRun("enough")

    with pytest.raises(StopRun, match="enough"):
        async with rlm_otel.run("a", callbacks=[Stops(), rig.callback]):
            pass
    assert rig.outline() == "invoke_agent a"


def test_a_start_hook_that_stops_keeps_the_block_from_running(rig: Rig) -> None:
    """The run ends `closed`, and nothing stays current."""

    class Stops:
        def on_run_start(self, prompt: str) -> None:
            raise StopRun("no")

    with pytest.raises(StopRun), rlm_otel.run("a", callbacks=[Stops(), rig.callback]):
        pytest.fail("it ran")
    assert rig.outline() == "invoke_agent a (closed)"


def test_hooks_and_listeners_get_what_a_runner_tells(rig: Rig) -> None:
    """Prompt, result, outcome and ids."""
    recorder = Recorder()
    told: list[object] = []

    class Hooks:
        def on_run_start(self, prompt: str, run_id: str) -> None:
            told.append((prompt, run_id))

        def on_run_end(self, result: object, outcome: str, trace_id: str) -> None:
            told.append((getattr(result, "text", None), outcome, trace_id))

    with rlm_otel.run("a", input="вопрос", callbacks=[Hooks(), recorder, rig.callback]) as run:
        run.result("ответ")
    assert told == [("вопрос", run.id), ("ответ", "completed", run.trace_id)]
    assert [event.origin.agent for event in recorder.of(Finished)] == ["a"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rlm_otel.run(3), "run(3): give the run's name as text, or decorate a function with @rlm_otel.run"),  # type: ignore[call-overload]  # on purpose
        (lambda: rlm_otel.run("a")(staticmethod), "decorates functions, got <class 'staticmethod'>"),
        (lambda: _entered_twice(), "was entered before; make a new one for each with"),
    ],
    ids=["number", "class", "twice"],
)
def test_mistakes_are_told(make: Callable[[], object], message: str) -> None:
    """Each says what was given and what would do."""
    with pytest.raises((TypeError, RuntimeError)) as raised:
        make()
    assert message in str(raised.value)


def _entered_twice() -> object:
    run = rlm_otel.run("a", callbacks=[])
    with run:
        pass
    with run:
        return run


def test_a_runner_inside_another_thread_of_a_plain_pool_begins_anew(rig: Rig) -> None:
    """Repeated runs in one block are siblings."""
    rlm = rig.rlm(Repeat(Answer("ok")), callbacks=())
    with rlm_otel.run("outer", callbacks=[rig.callback]):
        rlm.run("a")
        rlm.run("b")
    assert rig.outline() == ("invoke_agent outer\n  invoke_agent\n    chat gpt-4o\n  invoke_agent\n    chat gpt-4o")


def test_s95_a_block_in_a_hook_is_a_child_of_the_enclosing_run(rig: Rig) -> None:
    """Beside the tool whose end is told, whatever span the application has open; the hook is not told of its own."""

    class Hooks:
        def on_tool_end(self, tool_name: str) -> None:
            with rig.tracer_provider.get_tracer("app").start_as_current_span("check"), rlm_otel.tool("judge"):
                pass

    with rlm_otel.run("outer", callbacks=[Hooks(), rig.callback]), rlm_otel.tool("work"):
        pass
    assert rig.outline() == "invoke_agent outer\n  execute_tool work\n  check\n  execute_tool judge"


def test_spans_of_the_application_between_two_of_ours(rigs: Callable[..., Rig]) -> None:
    """They nest as written, with its own providers; private spans know nothing of them."""
    rig, private = rigs(), rigs(joined=False)
    for one in (rig, private):
        with rlm_otel.run("outer", callbacks=[one.callback]):
            with rig.tracer_provider.get_tracer("app").start_as_current_span("step"), rlm_otel.tool("work"):
                pass
    assert rig.outline() == "invoke_agent outer\n  step\n    execute_tool work\nstep"
    assert private.outline() == "invoke_agent outer\n  execute_tool work"


def test_s105_a_workflow_of_agents(rigs: Callable[..., Rig]) -> None:
    """workflow > agent > tool > sub-agent > model, each level deeper; a workflow has a name and a metric of its own."""
    rig = rigs(labels={"team": ("search",)})

    def work(llm_query: Callable[[str], str]) -> str:
        """Asks."""
        return llm_query("sub")

    agent = rig.rlm(
        Answer(tool_calls=[Tool("work")]), "sub", "done", tools=[work], name="agent", max_depth=1, callbacks=()
    )

    @rlm_otel.run(workflow=True)
    def pipeline(question: str) -> str:
        with rlm_otel.tool("load"):
            return agent.run(question).text

    with rlm_otel.attributes(team="search"), rlm_otel.run("night", workflow=True, callbacks=[rig.callback]):
        assert pipeline("Hi") == "done"
    with rlm_otel.run(workflow=True, callbacks=[rig.callback]):
        pass
    assert rig.outline(["rlm.depth", "gen_ai.agent.name"]) == (
        "invoke_workflow night rlm.depth=0\n"
        "  invoke_workflow pipeline rlm.depth=1\n"
        "    execute_tool load rlm.depth=1\n"
        "      invoke_agent agent rlm.depth=2 gen_ai.agent.name=agent\n"
        "        chat gpt-4o rlm.depth=2\n"
        "        execute_tool work rlm.depth=2 gen_ai.agent.name=agent\n"
        "          invoke_agent agent rlm.depth=3 gen_ai.agent.name=agent\n"
        "            chat gpt-4o rlm.depth=3\n"
        "        chat gpt-4o rlm.depth=2\n"
        "invoke_workflow rlm.depth=0"
    )
    told: list[tuple[object, object]] = []

    class Hooks:
        def on_run_start(self, workflow: str | None, agent: str | None) -> None:
            told.append((workflow, agent))

        def on_run_end(self, workflow: str | None, agent: str | None) -> None:
            told.append((workflow, agent))

    with rlm_otel.run("day", workflow=True, callbacks=[Hooks()]), rlm_otel.run("inner"):
        pass
    assert told == [("day", None), (None, "inner"), (None, "inner"), ("day", None)]
    durations = rig.points("gen_ai.invoke_workflow.duration")
    assert [point.attributes for point in durations] == [
        {"gen_ai.workflow.name": "pipeline"},
        {"gen_ai.workflow.name": "night"},
        {},
    ]
    assert sum(point.count or 0 for point in rig.points("gen_ai.invoke_agent.duration")) == 2


async def test_an_async_start_hook_that_stops_keeps_the_block_from_running(rig: Rig) -> None:
    """One that stops at once, without waiting for anything."""

    class Stops:
        async def on_run_start(self, prompt: str) -> None:
            raise StopRun("no")

    with pytest.raises(StopRun, match="no"):
        async with rlm_otel.run("a", callbacks=[Stops(), rig.callback]):
            pytest.fail("it ran")
    assert rig.outline() == "invoke_agent a (closed)"


async def test_s44_a_task_that_is_cancelled_before_its_block_runs(rig: Rig) -> None:
    """While start hooks are awaited: the run ends all the same."""

    class Hooks:
        async def on_run_start(self, prompt: str) -> None:
            await asyncio.sleep(0)

    @rlm_otel.run(callbacks=[Hooks(), rig.callback])
    async def work() -> None:
        pytest.fail("it ran")

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rig.outline() == "invoke_agent work (cancelled)"
