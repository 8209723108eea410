"""The examples run as they stand, and make the traces that they say they make."""

import ast
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from rlm_otel.receiver import Receiver
from rlm_otel.testing import Answer, CapturedSpan, Failure, Item, ScriptedServer, Tokens, Tool
from rlm_otel.testing.captured import outline

pytestmark = pytest.mark.programs

ROOT: Final = Path(__file__).parents[1]
EXAMPLES: Final = ROOT / "examples"
SCRIPTS: Final[dict[str, Sequence[Item]]] = {
    "script": (Answer("Rain up north."), Answer("Sun down south.")),
    "agent": (
        Answer(tool_calls=[Tool("weather", {"city": "Тверь"})]),
        Answer(tool_calls=[Tool("book", {"hotel": "Ritz"})]),
        Answer(tool_calls=[Tool("poem", {"about": "rain"})]),
        Answer("Rain, rain,\ngo away."),
        Answer("To Тверь 🌧, with an umbrella."),
    ),
    "vendor_httpx": (Failure(503, retry_after=0), Answer(chunks=("Hel", "lo", "!"), usage=Tokens(input=5, output=3))),
    "worker": (Answer("It rains."), Answer("It rains.")),
}
PRINTED: Final = {
    "script": "Rain up north.\nSun down south.\n",
    "agent": "To Тверь 🌧, with an umbrella.\n",
    "vendor_httpx": "Hello!\n",
    "worker": "It rains. It rains.\n",
}


def promised(name: str) -> str:
    """The trace that an example's docstring shows."""
    said = ast.get_docstring(ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))) or ""
    return textwrap.dedent(said.split("\n\n")[2].rstrip())


def shown(promise: str) -> list[str]:
    """The attributes in it, in order."""
    return list(dict.fromkeys(re.findall(r" ([a-z][\w.]*)=", promise)))


def trace(receiver: Receiver, attributes: Collection[str]) -> str:
    """What came, as text."""
    spans = [
        CapturedSpan(
            name=span.name,
            kind=span.kind,
            attributes=dict(span.attributes),
            events=(),
            status=span.status,  # type: ignore[arg-type]  # unset, ok or error
            description=None,
            trace_id=span.trace_id,
            span_id=span.span_id,
            parent_id=span.parent_id,
            links=(),
            scope=span.scope,
            start_ns=span.start_ns,
            end_ns=span.end_ns,
        )
        for span in receiver.spans()
    ]
    return outline(spans, attributes=attributes)


def environment(server: ScriptedServer, receiver: Receiver) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "OTEL_", "TRACE"))}
    return {
        **kept,
        "PYTHONIOENCODING": "utf-8",
        "OPENAI_BASE_URL": server.base_url,
        "OPENAI_API_KEY": "any",
        "VENDOR_URL": server.base_url,
        "VENDOR_API_KEY": "any",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
    }


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_makes_the_trace_that_it_shows(name: str) -> None:
    """It ends well, prints its answer, warns of nothing, and the trace is that of its docstring."""
    with ScriptedServer(SCRIPTS[name]) as server, Receiver() as receiver:
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / f"{name}.py")],
            env=environment(server, receiver),
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stderr.decode()) == (0, "")
        assert done.stdout.decode() == PRINTED[name]
        assert trace(receiver, shown(promised(name))) == promised(name)


def comes_up(port: int) -> bool:
    """Whether somebody listens there within half a minute."""
    deadline, pause = time.monotonic() + 30, threading.Event()
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            pause.wait(0.05)
        else:
            return True
    return False


@contextmanager
def service(environ: dict[str, str]) -> Iterator[int]:
    """The FastAPI example, listening; it is ended as a container is, and ends well."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "fastapi_service.py")],
        env={**environ, "PORT": str(port)},
        stderr=subprocess.PIPE,
    )
    try:
        assert comes_up(port)
        yield port
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
        assert err.decode() == ""
    finally:
        process.kill()
        process.wait(10)


def test_the_service_streams_and_survives_clients_that_go_away() -> None:
    """One client reads to the end; the next goes away while the model is still writing: `cancelled`, in all levels."""
    script = (
        Answer(chunks=("He", "llo"), usage=Tokens(input=5, output=2)),
        Answer(chunks=("a", *["b"] * 50), chunk_delay_s=0.05),
    )
    with ScriptedServer(script) as server, Receiver() as receiver:
        with service(environment(server, receiver)) as port:
            whole = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            whole.request("GET", "/ask?question=Hi&conversation=c1")
            assert whole.getresponse().read() == b"Hello"
            gone = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            gone.request("GET", "/ask?question=Hi&conversation=c2")
            assert gone.getresponse().read(1) == b"a"
            gone.close()
            whole.close()
            assert server.requests[1].disconnected.wait(10)
        assert trace(receiver, shown(promised("fastapi_service"))) == promised("fastapi_service")


def test_every_example_is_listed() -> None:
    """The page names each file, and each shows a trace."""
    names = sorted(path.name for path in EXAMPLES.glob("*.py"))
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert sorted(set(re.findall(r"^\| \[(\w+\.py)\]", page, re.MULTILINE))) == names
    assert [name for name in names if not promised(name.removesuffix(".py")).startswith("invoke_agent ")] == []
