"""`rlm_otel.callbacks`: its names, and what asking for them loads."""

import subprocess
import sys

import pytest

import rlm_otel.callbacks
from rlm_otel.callbacks import BaseCallback

CHECK = """
import sys
sys.path[:] = {path!r}
import rlm_otel.callbacks
from rlm_otel.callbacks import {names}
print([name for name in ("openai", "opentelemetry", "rich", "genai_prices", "pydantic") if name in sys.modules])
"""


@pytest.mark.parametrize("name", rlm_otel.callbacks.__all__)
def test_every_name_is_there(name: str) -> None:
    """As an attribute, and for those who look around."""
    assert getattr(rlm_otel.callbacks, name).__name__ == name
    assert name in dir(rlm_otel.callbacks)


def test_other_names_are_errors() -> None:
    """The usual one."""
    with pytest.raises(AttributeError, match=r"module 'rlm_otel.callbacks' has no attribute 'Nothing'"):
        rlm_otel.callbacks.Nothing  # noqa: B018  # the point of the test


def test_ready_made_callbacks_are_base_callbacks() -> None:
    """So that a `list[BaseCallback]` takes them."""
    others = {"Response", "TokenCounts"}
    classes = [getattr(rlm_otel.callbacks, name) for name in rlm_otel.callbacks.__all__ if name not in others]
    assert all(issubclass(kind, BaseCallback) for kind in classes)


def test_importing_loads_no_framework() -> None:
    """Neither for a subclass of `BaseCallback` nor for the ready-made ones, before they are used."""
    code = CHECK.format(path=sys.path, names=", ".join(rlm_otel.callbacks.__all__))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
