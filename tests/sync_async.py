"""The two ways to drive a runner, for tests that say the same about both."""

import asyncio
from collections.abc import Callable

import pytest

from rlm_otel.result import Result
from rlm_otel.rlm import RLM

Run = Callable[..., Result]
"""`run(rlm, prompt, **request)`."""


def sync_run(rlm: RLM, prompt: str = "go", **request: object) -> Result:
    """`run`, in the calling thread."""
    return rlm.run(prompt, **request)


def async_run(rlm: RLM, prompt: str = "go", **request: object) -> Result:
    """`arun`, in an event loop of its own."""

    async def main() -> Result:
        try:
            return await rlm.arun(prompt, **request)
        finally:
            await rlm.aclose()

    return asyncio.run(main())


def sync_stream(rlm: RLM, prompt: str = "go", **request: object) -> Result:
    """`stream`, read to its end."""
    with rlm.stream(prompt, **request) as stream:
        list(stream)
    assert stream.result is not None
    return stream.result


def async_stream(rlm: RLM, prompt: str = "go", **request: object) -> Result:
    """`astream`, read to its end."""

    async def main() -> Result:
        try:
            async with rlm.astream(prompt, **request) as stream:
                [text async for text in stream]
            assert stream.result is not None
            return stream.result
        finally:
            await rlm.aclose()

    return asyncio.run(main())


both_ways = pytest.mark.parametrize("run", [sync_run, async_run], ids=["sync", "async"])
all_ways = pytest.mark.parametrize(
    "run",
    [sync_run, async_run, sync_stream, async_stream],
    ids=["run", "arun", "stream", "astream"],
)
