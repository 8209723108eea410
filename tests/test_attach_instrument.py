"""`opentelemetry-instrument python app.py` observes a program that knows nothing of us: scenarios 90 and 91."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from opentelemetry.instrumentation.auto_instrumentation import run as opentelemetry_instrument

from rlm_otel.adapters.openai.instrumentor import OpenAIInstrumentor
from rlm_otel.receiver import Receiver
from rlm_otel.testing import Answer, Repeat, ScriptedServer, Tokens
from tests.attached import ask, close, make
from tests.rig import Rig

pytestmark = pytest.mark.programs

ROOT = Path(__file__).parents[1]
OK = Repeat(Answer("ok", usage=Tokens(input=2, output=1)))
APP = """
import asyncio, openai

request = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Привет"}]}
print(openai.chat.completions.create(**request).choices[0].message.content)
with openai.OpenAI() as client:
    print(client.chat.completions.create(**request).choices[0].message.content)
    print(len(list(client.chat.completions.create(stream=True, **request))))

async def main():
    async with openai.AsyncOpenAI() as client:
        print((await client.chat.completions.create(**request)).choices[0].message.content)

asyncio.run(main())
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH in which this checkout looks like an installed package, entry points and all."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = tmp_path / "path" / "rlm_otel_checkout-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: rlm-otel-checkout\nVersion: 0\n", encoding="utf-8")
    points = "\n".join(
        f"[{group}]\n" + "\n".join(f"{name} = {target}" for name, target in entries.items())
        for group, entries in project["entry-points"].items()
    )
    (about / "entry_points.txt").write_text(points, encoding="utf-8")
    return about.parent


def run(app: str, folder: Path, environ: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """As the console script of that name does."""
    assert opentelemetry_instrument.__module__ == "opentelemetry.instrumentation.auto_instrumentation"
    (folder / "app.py").write_text(app, encoding="utf-8")
    code = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "OPENAI_"))}
    return subprocess.run(
        [sys.executable, "-c", code, sys.executable, "app.py"],
        cwd=folder,
        env={**kept, **environ},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside OpenTelemetry's own"])
def test_s90_a_program_is_observed_without_a_change(installed: Path, tmp_path: Path, beside: bool) -> None:
    """Its calls arrive, one span each, also where OpenTelemetry's own instrumentation of openai is installed."""
    with ScriptedServer([OK]) as server, Receiver() as receiver:
        environ = {
            "PYTHONPATH": os.pathsep.join([str(installed), *sys.path]),
            "OPENAI_BASE_URL": server.base_url,
            "OPENAI_API_KEY": "any",
            "OTEL_SERVICE_NAME": "app",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "httpx,httpx2" + ("" if beside else ",openai_v2,openai"),
        }
        done = run(APP, tmp_path, environ)
        spans = [span.name for span in receiver.spans()]
        ours = [span.name for span in receiver.spans() if "rlm.outcome" in span.attributes]
    assert (done.returncode, done.stdout) == (0, "ok\nok\n3\nok\n"), done.stderr
    assert spans == ["chat gpt-4o"] * 4, done.stderr
    assert beside or ours == spans


@pytest.fixture
def instrumentor() -> Iterator[OpenAIInstrumentor]:
    """OpenTelemetry has but one of each kind."""
    one = OpenAIInstrumentor()
    yield one
    if one.is_instrumented_by_opentelemetry:
        one.uninstrument()


async def test_s91_the_instrumentor_by_hand(rig: Rig, instrumentor: OpenAIInstrumentor) -> None:
    """With providers of its own, and back."""
    server = rig.serve(OK)
    client = make(server, "create")
    instrumentor.instrument(tracer_provider=rig.tracer_provider)
    await ask(client, "create")
    instrumentor.uninstrument()
    assert "request" not in vars(openai.OpenAI)
    await ask(client, "create")
    await close(client)
    assert [span.name for span in rig.spans] == ["chat gpt-4o"]


def test_it_wants_the_versions_that_the_package_wants(instrumentor: OpenAIInstrumentor) -> None:
    """The range is that of `pyproject.toml`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (wanted,) = [one for one in project["dependencies"] if one.startswith("openai")]
    assert [one.replace(" ", "") for one in instrumentor.instrumentation_dependencies()] == [wanted]
