"""One scenario in each way to run a prompt: plain and streamed, in sync code and in an event loop."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import pytest

from rlm_otel import RLM, Result
from rlm_otel.rlm import Prompt

ANY_WAY: Final = pytest.mark.parametrize("way", ["run", "arun", "stream", "astream"])
EITHER: Final = pytest.mark.parametrize("way", ["run", "astream"])
"""For what is the same code in all four: a sync and an async way, a plain and a streamed one."""
PLAIN: Final = pytest.mark.parametrize("way", ["run", "arun"])
ASYNC: Final = pytest.mark.parametrize("way", ["arun", "astream"])
STREAMED: Final = pytest.mark.parametrize("way", ["stream", "astream"])


async def ask(rlm: RLM, way: str, prompt: Prompt = "Hi", **request: object) -> Result:
    """Runs to the end in this way."""
    if way == "run":
        return rlm.run(prompt, **request)
    if way == "arun":
        return await rlm.arun(prompt, **request)
    return await read(rlm, way, None, prompt, request)


async def read(
    rlm: RLM, way: str, pieces: int | None, prompt: Prompt = "Hi", request: Mapping[str, object] = MappingProxyType({})
) -> Result:
    """Reads a stream inside its `with` and leaves it after this many pieces; None = at its end."""
    left = iter(range(pieces)) if pieces is not None else iter(int, 1)  # the latter never ends
    if way == "stream":
        with rlm.stream(prompt, **request) as stream:
            for _ in zip(left, stream):  # noqa: B905 - as long as both last
                pass
    else:
        async with rlm.astream(prompt, **request) as stream:
            for _ in left:
                if await anext(stream, None) is None:
                    break
    assert stream.result is not None
    return stream.result
