"""Fixtures for pytest; ask for them with `pytest_plugins = ["rlm_otel.testing.pytest_plugin"]` in your conftest.py."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from rlm_otel.testing.capture import Capture
from rlm_otel.testing.server import ScriptedServer


@pytest.fixture
def rlm_capture() -> Iterator[Capture]:
    """What `rlm_capture.callback` emits during the test; nothing global is touched."""
    with Capture() as capture:
        yield capture


@pytest.fixture
def scripted_server() -> Iterator[Callable[..., ScriptedServer]]:
    """Starts scripted servers: `scripted_server([Answer("Hi")])`, with the arguments of `ScriptedServer`.

    All are closed after the test.
    """
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(ScriptedServer(*arguments, **options))
