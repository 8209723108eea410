"""A runner that talks to a scripted server."""

from collections.abc import Callable, Iterable
from typing import Any, TypedDict, Unpack

from rlm_otel.clients import Clients
from rlm_otel.clock import Clock
from rlm_otel.rlm import RLM
from rlm_otel.testing.server import ScriptedServer


class RunnerOptions(TypedDict, total=False):
    """The arguments of `RLM.from_openai` that are not about the connection, and a clock and a maker of ids."""

    callbacks: Iterable[object]
    tools: Iterable[Callable[..., Any]]
    sub_model: str | None
    system_prompt: str | None
    name: str | None
    provider: str | None
    max_retries: int | None
    max_turns: int
    max_depth: int
    max_concurrency: int
    clock: Clock
    make_id: Callable[[], str]


def scripted_rlm(
    server: ScriptedServer,
    model: str = "gpt-4o",
    *,
    api_key: str = "scripted",
    timeout_s: float = 10.0,
    **options: Unpack[RunnerOptions],
) -> RLM:
    """An `RLM` on a scripted server; `timeout_s` = seconds per attempt, so that no mistake hangs a test for long.

        with contextlib.closing(scripted_rlm(server, clock=StepClock(), make_id=numbered_ids())) as rlm:

    In an event loop: `async with contextlib.aclosing(...)`.
    """
    return RLM(model, Clients(base_url=server.base_url, api_key=api_key, timeout_s=timeout_s), **options)
