"""An odd run between two plain ones: all three leave in one batch over OTLP, and none may cost another its place."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from rlm_otel import RLM, OTelCallback, configure, fence
from rlm_otel.received import ReceivedSpan
from rlm_otel.receiver import Receiver
from rlm_otel.testing import Answer, Item, RecordedRequest, ScriptedServer, scripted_rlm

SURROGATE: Final = "\ud83d"
"""Half a pair, as a cut in a text leaves it: UTF-8 has no bytes for it."""
_MEASURED: Final = {"gen_ai.client.inference.duration", "gen_ai.client.inference.usage.input_tokens", "rlm.run.depth"}


class Make(Protocol):
    """Makes the odd run's runner."""

    def __call__(self, model: str = "gpt-4o", **options: Any) -> RLM: ...


class Wire:
    """What arrived."""

    def __init__(self, receiver: Receiver, requests: list[RecordedRequest]) -> None:
        self.requests = requests
        self.spans = receiver.spans()
        self.chats = [span for span in self.spans if span.name.startswith("chat")]
        self.points = receiver.latest_points()
        self.details = [
            log.attributes for log in receiver.logs() if log.event_name.endswith("inference.operation.details")
        ]
        self.batches = [export.signal for export in receiver.exports()]

    @property
    def odd(self) -> list[ReceivedSpan]:
        """The chats of the odd run."""
        return self.chats[1:-1]

    def span(self, name: str) -> ReceivedSpan:
        """The only one of this name."""
        (found,) = [span for span in self.spans if span.name == name]
        return found


class _Said(logging.Handler):
    """Keeps what we or the exporter have to complain about."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def sent(odd: Callable[[Make], Awaitable[object]], *script: Item) -> Wire:
    """Does something odd between two plain runs, with all content on; asserts that nothing of them is missing."""
    said = _Said()
    logging.getLogger().addHandler(said)
    try:
        with ScriptedServer([Answer("до"), *script, Answer("после")]) as server, Receiver() as receiver:
            with configure(endpoint=receiver.endpoint, logs=True, environ={}) as telemetry:

                def make(model: str = "gpt-4o", **options: Any) -> RLM:
                    return scripted_rlm(server, model, callbacks=[OTelCallback(telemetry, content="both")], **options)

                with make() as plain:
                    plain.run("сосед")
                    await odd(make)
                    plain.run("сосед")
                assert telemetry.flush()
            wire = Wire(receiver, server.requests)
    finally:
        logging.getLogger().removeHandler(said)
    assert (said.lines, fence.failures()) == ([], {})
    assert wire.batches.count("traces") == 1
    assert [span.attributes["rlm.outcome"] for span in (wire.chats[0], wire.chats[-1])] == ["completed"] * 2
    assert _MEASURED - {point.metric for point in wire.points} == set()
    assert len(wire.details) == len(wire.chats)
    assert [name for log in wire.details for name in ("gen_ai.input.messages",) if name not in log] == []
    return wire
