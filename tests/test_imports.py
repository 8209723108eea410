"""Importing costs and changes nothing: no threads, no environment, nothing heavy, no pins."""

import tomllib
from pathlib import Path

import pytest

from tests.fresh_interpreter import run

pytestmark = pytest.mark.programs

HEAVY = ("openai", "opentelemetry.sdk", "opentelemetry.exporter", "grpc", "rich", "httpx", "httpx2", "pydantic")


def test_s91_importing_the_package_loads_nothing_heavy() -> None:
    """`import rlm_otel` loads no vendor's SDK, no OpenTelemetry SDK or exporter, no terminal and no HTTP library."""
    done = run(
        f"""
        import sys, threading
        import rlm_otel
        print([name for name in {HEAVY} if name in sys.modules], threading.active_count())
        """
    )
    assert done.stdout == "[] 1\n", done.stderr


def test_s91_all_public_names_start_no_thread_and_read_no_environment() -> None:
    """Loading every public name and making a callback and a runner starts no thread, and our code reads no variable."""
    done = run(
        """
        import os, sys, threading
        read = []

        class Watched(type(os.environ)):
            def __init__(self, real):
                self.__dict__.update(real.__dict__)

            def __getitem__(self, key):
                callers = [sys._getframe(depth).f_globals.get("__name__", "") for depth in (1, 2, 3)]
                caller = next((name for name in callers if name not in ("os", "_collections_abc", "__main__")), "")
                if caller.startswith("rlm_otel"):
                    read.append((caller, key))
                return super().__getitem__(key)

        os.environ = Watched(os.environ)
        import rlm_otel
        for name in rlm_otel.__all__:
            getattr(rlm_otel, name)
        rlm_otel.RLM.from_openai("gpt-4o", callbacks=[rlm_otel.OTelCallback()])
        slow = ("openai", "opentelemetry.sdk", "opentelemetry.exporter", "rich")
        heavy = [name for name in slow if name in sys.modules]
        print(read, heavy, threading.active_count())
        """
    )
    assert done.stdout == "[] [] 1\n", done.stderr


def test_s91_works_without_httpx() -> None:
    """openai 3 brings `httpx2`: a run works where `httpx` cannot be imported."""
    done = run(
        """
        import sys
        sys.modules["httpx"] = None
        from rlm_otel.testing import Answer, Capture, ScriptedServer, scripted_rlm
        with ScriptedServer([Answer("ok")]) as server, Capture() as capture:
            rlm = scripted_rlm(server, callbacks=[capture.callback])
            print(rlm.run("Hi").text)
            rlm.close()
        print(capture.outline())
        """
    )
    assert done.stdout == "ok\ninvoke_agent\n  chat gpt-4o\n", done.stderr


def test_s91_dependencies_are_ranges() -> None:
    """What we need is never pinned: the service decides which version of a vendor's SDK it has."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [name for name in project["dependencies"] if "==" in name or "~=" in name] == []
    assert [name for name in project["dependencies"] if name.startswith(("anthropic", "httpx", "langchain"))] == []
