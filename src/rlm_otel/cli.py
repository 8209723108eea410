"""The command line: `rlm-otel demo` shows everything working, `rlm-otel doctor` tells whether telemetry arrives."""

import io
import os
import sys
from collections.abc import MutableMapping
from typing import Final, Literal

import click

from rlm_otel.stack.cli import down, reset, status, up
from rlm_otel.views.cli import cost, ps, traces

Wire = Literal["http/protobuf", "grpc"]

_PROTOCOL: Final = click.Choice(["http/protobuf", "grpc"])
_LOOPBACK: Final = "127.0.0.1,localhost"
_OF_THE_COLLECTOR: Final = ("OTEL_EXPORTER_OTLP_", "OTEL_RESOURCE_ATTRIBUTES")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="rlm-otel", prog_name="rlm-otel")
def main() -> None:
    """Every LLM call, tool call and recursive run of a Python service as OpenTelemetry spans and metrics."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that does not know a character gets its number
            stream.reconfigure(errors="backslashreplace")


for command in (up, down, status, reset, traces, cost, ps):
    main.add_command(command)


@main.command()
@click.option(
    "--llm",
    type=click.Choice(["scripted", "local"]),
    help="Who answers: a script (default), or a small real model on this CPU.",
)
@click.option("--model", metavar="NAME", help="A real model instead, at --base-url or at OpenAI; costs what it costs.")
@click.option("--base-url", metavar="URL", help="An OpenAI-compatible server; the key is read from OPENAI_API_KEY.")
@click.option("--otlp", metavar="URL", help="Send to this collector instead of a receiver in this process.")
@click.option("--protocol", type=_PROTOCOL, help="OTLP over HTTP (default) or gRPC.")
def demo(
    llm: Literal["scripted", "local"] | None,
    model: str | None,
    base_url: str | None,
    otlp: str | None,
    protocol: Wire | None,
) -> None:
    """Make some model calls and show them as a trace.

    Needs no key, no Docker and no network: the real openai SDK talks to a server in this process, and real OTLP goes
    to a receiver in this process.
    """
    if base_url and not model:
        raise click.UsageError("--base-url needs --model NAME: which of its models is to answer?")
    if model and llm:
        raise click.UsageError("--llm and --model exclude each other: give one of them.")
    _isolate(os.environ, collector=otlp is not None)

    from rlm_otel.demo import Choice, show

    choice = Choice(
        llm=llm or "scripted",
        model=model,
        base_url=base_url,
        api_key=os.environ.get("OPENAI_API_KEY"),
        otlp=otlp,
        protocol=protocol,
    )
    sys.exit(show(choice, out=sys.stdout, err=sys.stderr, environ=os.environ))


@main.command()
@click.option(
    "--llm",
    type=click.Choice(["scripted", "local"]),
    default="scripted",
    help="Who answers: nobody, answers are made up (default), or a small real model on this CPU.",
)
@click.option("--fail", metavar="LIST", help="What becomes of the first requests: HTTP errors or hang, e.g. 429,429.")
@click.option("--port", type=click.IntRange(0, 65535), default=8017, show_default=True, help="0 = any free one.")
def serve(llm: Literal["scripted", "local"], fail: str | None, port: int) -> None:
    """Serve a model on this machine, so that snippets run without a key, until Ctrl-C.

    Prints two lines to type in another terminal: OPENAI_BASE_URL and OPENAI_API_KEY. Speaks chat completions and,
    without a model, responses, text completions and embeddings too.
    """
    from rlm_otel.serve import serve as serve_until_told
    from rlm_otel.serve.front import read_faults

    try:
        faults = read_faults(fail) if fail else []
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--fail") from None
    sys.exit(serve_until_told(llm, faults, port, out=sys.stdout, err=sys.stderr))


@main.command()
@click.option("--endpoint", metavar="URL", help="Base address of the collector, as configure(endpoint=...) takes it.")
@click.option("--protocol", type=_PROTOCOL, help="OTLP over HTTP or gRPC.")
@click.option("--service-name", metavar="NAME", help="The service's name.")
def doctor(endpoint: str | None, protocol: Wire | None, service_name: str | None) -> None:
    """Tell where telemetry goes, who said so, and whether it arrives.

    Sends one span and one metric; exit code 0 only if both were accepted.
    """
    from rlm_otel.destination import Options
    from rlm_otel.doctor import diagnose

    options = Options(service_name=service_name, endpoint=endpoint, protocol=protocol)
    sys.exit(diagnose(options, environ=os.environ, out=sys.stdout))


def _isolate(environ: MutableMapping[str, str], *, collector: bool) -> None:
    """Let nothing in the environment spoil the demo: a proxy before the loopback interface, a sampler, a switch.

    What says how to reach a collector stays if one is to be reached.
    """
    for name in ("NO_PROXY", "no_proxy"):
        environ[name] = ",".join(filter(None, (environ.get(name), _LOOPBACK)))
    for name in [name for name in environ if name.startswith("OTEL_")]:
        if not (collector and name.startswith(_OF_THE_COLLECTOR)):
            del environ[name]
