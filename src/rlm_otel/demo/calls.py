"""Makes the demo's calls: on the scripted server, on the small local model, or on a model elsewhere."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, TextIO

from rlm_otel import RLM
from rlm_otel.demo.progress import working
from rlm_otel.demo.real import RealWorkload
from rlm_otel.demo.script import Script
from rlm_otel.demo.workload import STEPS, Make, Step
from rlm_otel.local_llm import LocalModel
from rlm_otel.testing import ScriptedServer
from rlm_otel.views.figures import Tokens

_LOCAL_KEY: Final = "sk-local"
_ANY_KEY: Final = "not-needed"


def call_script(callbacks: Sequence[object], err: TextIO) -> None:
    """The workload on a server that answers from a script, over real HTTP."""
    with ScriptedServer(respond=Script()) as server:
        _run(STEPS, partial(RLM.from_openai, base_url=server.base_url, api_key=_ANY_KEY, callbacks=callbacks), err)


def call_model(
    callbacks: Sequence[object], err: TextIO, *, model: str, base_url: str | None, api_key: str | None
) -> None:
    """The workload for real models. A server of one's own mostly needs no key; OpenAI's does."""
    key = api_key or (_ANY_KEY if base_url else None)
    make = partial(RLM.from_openai, base_url=base_url, api_key=key, callbacks=callbacks)
    workload = RealWorkload(model, request={}, tool_choice="auto")
    _run({**workload.completing, **workload.interrupted}, make, err)


def call_local_model(callbacks: Sequence[object], err: TextIO) -> Tokens:
    """The same on the small model of this machine; returns what it counted itself for the calls that completed."""
    with working("starting the local model", err):
        server = LocalModel(api_key=_LOCAL_KEY)
    with server:
        make = partial(RLM.from_openai, base_url=server.base_url, api_key=_LOCAL_KEY, callbacks=callbacks)
        workload = RealWorkload(server.model, request={"temperature": 0, "max_tokens": 24}, tool_choice="required")
        _run(workload.completing, make, err)
        counted = _tokens(server.counters())  # before a call is left or cancelled: those count and report nothing
        _run(workload.interrupted, make, err)
    return counted


def _run(steps: Mapping[str, Step], make: Make, err: TextIO) -> None:
    for what, step in steps.items():
        with working(what, err):
            step(make)


def _tokens(counters: Mapping[str, float]) -> Tokens:
    cached = int(counters["llamacpp:prompt_tokens_cached_total"])
    return Tokens(
        input=int(counters["llamacpp:prompt_tokens_total"]) + cached,
        output=int(counters["llamacpp:tokens_predicted_total"]),
        cached=cached,
    )
