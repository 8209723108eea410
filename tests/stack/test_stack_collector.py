"""What the collector adds: secrets are taken out once more, and spans are counted for Jaeger's Monitor tab."""

import json
from functools import partial
from typing import Final

import pytest
from opentelemetry.trace import Status, StatusCode

from rlm_otel import OTelCallback
from rlm_otel.testing import Answer, Failure, ScriptedServer, scripted_rlm
from tests.stack.answers import Answers, eventually
from tests.stack.real import RealStack
from tests.stack.workloads import sending

pytestmark = pytest.mark.stack

KEY: Final = "sk-planted0123456789abcdefghij"
TOKEN: Final = "ghp_planted0123456789abcdefghijklmnopq"


def test_a_planted_secret_is_in_neither_traces_nor_logs(stack: RealStack, answers: Answers) -> None:
    """With content on, in prompt, answer and error; the words around it arrive."""
    service = "secretive"
    with sending(stack, service, logs=True) as telemetry:
        with ScriptedServer(
            [Answer(f"Ваш ключ {KEY} 🔑"), Failure(400, message=f"wrong token {TOKEN} here")]
        ) as server:
            rlm = scripted_rlm(server, callbacks=[OTelCallback(telemetry, content="both")])
            assert rlm.run(f"Мой ключ: {KEY}").text == f"Ваш ключ {KEY} 🔑"
            with pytest.raises(Exception, match=TOKEN):
                rlm.run("And another?")
            rlm.close()
    spans = eventually(lambda: answers.spans(service), lambda found: len(found) == 4)
    logs = eventually(
        lambda: [line for line in read_logs(stack).splitlines() if service in line],
        lambda lines: "Мой" in "".join(lines),
    )
    told = f"{[[span.attributes, span.events, span.status_message] for span in spans]}" + "".join(logs)
    assert [word for word in ("Мой ключ: ", "Ваш ключ ", " 🔑", "wrong token ", " here") if word not in told] == []
    assert [secret for secret in (KEY, TOKEN, "planted") if secret in told] == []


def test_the_collector_redacts_what_other_libraries_send(stack: RealStack, answers: Answers) -> None:
    """By value and by key, in attributes, events and the status message; token counts stay."""
    service = "careless"
    with sending(stack, service) as telemetry:
        with telemetry.tracer_provider.get_tracer("another").start_as_current_span("call") as span:
            span.set_attribute("http.url", f"https://example.com/?key={KEY}")
            span.set_attribute("http.request.header.authorization", "Basic planted")
            span.set_attribute("gen_ai.usage.input_tokens", 17)
            span.add_event("retry", {"why": f"bearer {TOKEN}"})
            span.set_status(Status(StatusCode.ERROR, f"401 for {KEY}"))
    (found,) = eventually(lambda: answers.spans(service))
    assert found.attributes == {
        "http.url": "https://example.com/?key=****",
        "http.request.header.authorization": "****",
        "gen_ai.usage.input_tokens": 17,
    }
    assert [event.attributes for event in found.events] == [{"why": "bearer ****"}]
    assert found.status_message == "401 for ****"


def test_a_value_that_jaeger_cannot_keep_is_cut_and_holds_up_nobody(stack: RealStack, answers: Answers) -> None:
    """Badger's keys end at 65000 bytes: a long prompt in Cyrillic has more, and so has what other libraries send."""
    service, long = "long-winded", "я🔑" * 30_000
    with sending(stack, service) as telemetry:
        with ScriptedServer([Answer("Понятно")]) as server:
            rlm = scripted_rlm(server, callbacks=[OTelCallback(telemetry, content="span")])
            rlm.run("я" * 40_000)
            rlm.close()
        with telemetry.tracer_provider.get_tracer("another").start_as_current_span("о" * 3000) as span:
            span.set_attribute("long", long)
            span.add_event("long", {"long": long})
            span.set_status(Status(StatusCode.ERROR, long))
    spans = eventually(lambda: answers.spans(service), lambda found: len(found) == 3)
    prompts = [
        str(span.attributes["gen_ai.input.messages"]) for span in spans if "gen_ai.operation.name" in span.attributes
    ]
    assert [len(prompt.encode()) for prompt in prompts] == [59_995, 59_995]  # cut by the package: it still parses
    assert [json.loads(prompt)[0]["role"] for prompt in prompts] == ["user", "user"]
    (other,) = [span for span in spans if span.name.startswith("о")]
    assert other.name == "о" * 1000
    assert other.attributes == {"long": long[:20_000]}
    assert [event.attributes for event in other.events] == [{"long": long[:20_000]}]
    assert other.status_message == long[:20_000]


def test_the_monitor_tab_has_the_service(stack: RealStack, answers: Answers) -> None:
    """Its three queries return calls, errors and latencies of each operation of the service."""
    service = "monitored"
    query = {"service": service, "spanKind": "client", "groupByOperation": "true"}
    window = {"lookback": 600_000, "step": 15_000, "ratePer": 600_000}

    def asked(path: str, **more: object) -> dict[str, float]:
        metrics = answers.jaeger(f"metrics/{path}", **query, **window, **more)["metrics"]
        return {
            next(label["value"] for label in one["labels"] if label["name"] == "operation"): max(
                point["gaugeValue"]["doubleValue"]
                for point in one["metricPoints"]
                if point["gaugeValue"]["doubleValue"] != "NaN"
            )
            for one in metrics
        }

    with sending(stack, service) as telemetry, ScriptedServer([Answer("Hi"), Answer("Hi"), Failure(400)]) as server:
        rlm = scripted_rlm(server, callbacks=[OTelCallback(telemetry)])
        rlm.run("One")
        telemetry.flush()
        # What Jaeger asks for is a rate: the first call only begins a series.
        assert eventually(lambda: answers.at(f'traces_span_metrics_calls_total{{service_name="{service}"}}'))
        rlm.run("Two")
        with pytest.raises(Exception, match="400"):
            rlm.run("Three")
        rlm.close()
    calls = eventually(partial(asked, "calls"), _any_above_zero)
    assert list(calls) == ["chat gpt-4o"]
    assert calls["chat gpt-4o"] > 0
    errors = eventually(partial(asked, "errors"), _any_above_zero)
    assert list(errors) == ["chat gpt-4o"]
    assert list(asked("latencies", quantile=0.95)) == ["chat gpt-4o"]


def read_logs(stack: RealStack) -> str:
    """All log records so far, readable."""
    lines = stack.collector_logs.read_text("utf-8").splitlines() if stack.collector_logs.exists() else []
    return "\n".join(json.dumps(json.loads(line), ensure_ascii=False) for line in lines)


def _any_above_zero(found: dict[str, float]) -> bool:
    return any(found.values())
