"""Threads that know where they were started: parents, labels and the application's context go along."""

import asyncio
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest
from opentelemetry import trace

import rlm_otel
from rlm_otel import TracedThreadPoolExecutor, run_in_executor
from rlm_otel.testing import Answer, Repeat, Tool
from tests.rig import Rig

LABEL = "rlm.label.team"


def test_s75_work_in_the_pool_is_a_child_of_where_it_was_submitted(rig: Rig) -> None:
    """By `submit` and by `map`, with labels; two runs side by side keep their own."""
    rlm = rig.rlm(Repeat(Answer("ok")), callbacks=())
    with TracedThreadPoolExecutor(4) as pool:
        for name in ("one", "two"):
            with rlm_otel.attributes(team=name), rlm_otel.run(name, callbacks=[rig.callback]):
                futures = [pool.submit(rlm.run, "Hi") for _ in range(3)]
                assert [str(future.result(5)) for future in futures] == ["ok"] * 3
                assert [str(result) for result in pool.map(rlm.run, ["a", "b"])] == ["ok"] * 2
    tree = "invoke_agent {0} rlm.label.team={0}" + 5 * (
        "\n  invoke_agent rlm.label.team={0}\n    chat gpt-4o rlm.label.team={0}"
    )
    assert rig.outline([LABEL]) == f"{tree.format('one')}\n{tree.format('two')}"


def test_s76_sub_calls_from_fifty_threads(rig: Rig) -> None:
    """Each below its own tool, one trace."""

    @rlm_otel.tool
    def part(number: int) -> int:
        with rlm_otel.llm_call(provider="local", model="m", url="http://localhost:1") as call:
            call.finish("ok")
        return number

    with TracedThreadPoolExecutor(50) as pool, rlm_otel.run("root", callbacks=[rig.callback]) as run:
        assert list(pool.map(part, range(200))) == list(range(200))
    assert rig.outline() == "invoke_agent root" + 200 * "\n  execute_tool part\n    chat m"
    assert {span.trace_id for span in rig.spans} == {run.trace_id}
    assert rig.span("invoke_agent root").attributes["rlm.run.tool_calls"] == 200


def test_spans_of_the_application_go_along(rig: Rig) -> None:
    """Its context is carried as well."""
    tracer = rig.tracer_provider.get_tracer("web")
    with tracer.start_as_current_span("GET /") as span, TracedThreadPoolExecutor(1) as pool:
        assert pool.submit(trace.get_current_span).result(5) is span


def test_the_pool_is_one_like_any_other() -> None:
    """Exceptions, keywords, names and initialisers."""
    begun: list[str] = []
    with TracedThreadPoolExecutor(1, "work", begun.append, ("yes",)) as pool:
        assert pool.submit(dict, a=1, fn=2).result(5) == {"a": 1, "fn": 2}
        assert pool.submit(lambda: threading.current_thread().name).result(5) == "work_0"
        with pytest.raises(ZeroDivisionError):
            pool.submit(lambda: 1 / 0).result(5)
    assert begun == ["yes"]


@pytest.mark.parametrize("own_pool", [False, True])
async def test_s75_run_in_executor_carries_the_operation(rig: Rig, own_pool: bool) -> None:
    """The loop's pool or one's own; inside of a tool of the runner too."""

    def work(*, n: int) -> int:
        with rlm_otel.tool("inner"):
            return n

    async def outer() -> str:
        """Works."""
        return str(await run_in_executor(pool, work, n=7))

    pool = ThreadPoolExecutor(1) if own_pool else None
    result = await rig.rlm(Answer(tool_calls=[Tool("outer")]), "done", tools=[outer], name="root").arun("go")
    assert result.messages[2]["content"] == "7"
    assert rig.outline() == (
        "invoke_agent root\n  chat gpt-4o\n  execute_tool outer\n    execute_tool inner\n  chat gpt-4o"
    )
    if pool is not None:
        pool.shutdown()


async def test_processes_are_told_what_to_use() -> None:
    """A context cannot be sent there."""
    with ProcessPoolExecutor(1) as pool:
        with pytest.raises(TypeError, match=r"pass inject\(\) along and use extract\(\) there"):
            run_in_executor(pool, len, "abc")
    await asyncio.sleep(0)
