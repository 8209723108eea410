"""`Rig`: a `Capture` with runners on scripted servers; in the end all it got is held against the conventions."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Unpack

from rlm_otel import fence
from rlm_otel.rlm import RLM
from rlm_otel.testing import Answer, Capture, Item, RecordedRequest, Repeat, ScriptedServer, scripted_rlm
from rlm_otel.testing.runner import RunnerOptions
from tests.conformance import violations

OURS = {"OTelCallback", "rlm_otel", "Recorder"}
"""Owners whose failures, which the fence swallows, are bugs of ours; those of callbacks under test are not."""


class Rig(Capture):
    """`rig.rlm(Answer("Hi")).run("Hello")`, then `rig.outline()`. Servers and runners are closed after the test."""

    closing: ExitStack
    """Set by the fixture: ends what the test started."""
    runners: list[RLM]

    def serve(
        self,
        *script: Item | Repeat | str,
        respond: Callable[[RecordedRequest], Item] | None = None,
        cycle: bool = False,
        api_key: str | None = None,
        models: Sequence[str] = (),
        ignores_include_usage: bool = False,
    ) -> ScriptedServer:
        """A running server; text in its script is an `Answer`."""
        server = ScriptedServer(
            [Answer(item) if isinstance(item, str) else item for item in script],
            respond=respond,
            cycle=cycle,
            api_key=api_key,
            models=models,
            ignores_include_usage=ignores_include_usage,
        )
        return self.closing.enter_context(server)

    def rlm(
        self,
        *script: Item | Repeat | str,
        server: ScriptedServer | None = None,
        model: str = "gpt-4o",
        **options: Unpack[RunnerOptions],
    ) -> RLM:
        """A runner on a server with this script, or on `server`; its callbacks are `[rig.callback]` unless given."""
        options.setdefault("callbacks", [self.callback])
        runner = scripted_rlm(server or self.serve(*script), model, **options)
        self.runners.append(runner)
        return runner

    def check(self) -> None:
        """Nothing is left open, nothing of ours has failed in silence, and no signal breaks a convention."""
        assert self.open_spans == []
        assert {where: n for where, n in fence.failures().items() if where[0] in OURS} == {}
        older = self.callback._options.semconv != "latest"
        assert violations(self.sdk_spans, self.sdk_metrics, self.sdk_logs, legacy=older) == []
