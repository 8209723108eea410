"""Reads the streams of `stream()` and `astream()` in one way, so that a scenario is written once for both."""

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

import pytest

from rlm_otel import RLM, RunStream
from rlm_otel.result import Result


class AsIfAsync:
    """A sync stream with the methods of an async one; each does just the sync thing. Dropped, it drops the stream."""

    def __init__(self, stream: RunStream) -> None:
        self._stream = stream

    @property
    def result(self) -> Result | None:
        return self._stream.result

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        for text in self._stream:
            return text
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        self._stream.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.__exit__(kind, error, traceback)

    async def aclose(self) -> None:
        self._stream.close()


AnyStream = RunStream | AsIfAsync
Open = Callable[..., AnyStream]


def _sync(rlm: RLM, prompt: str, **request: object) -> AsIfAsync:
    return AsIfAsync(rlm.stream(prompt, **request))


both_kinds: Final = pytest.mark.parametrize("open_stream", [_sync, RLM.astream], ids=["sync", "async"])
"""The test gets `open_stream`: call it as `open_stream(rlm, "prompt")`."""
