"""`rlm-otel traces` shows what is in Jaeger as trees, over either of its APIs, and only what was asked for."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.fake_backend import NOT_FOUND, PAGE, Answers, FakeBackend, Reply
from tests.jaeger_answers import (
    CALL,
    CLASSIC,
    FAILED,
    ID,
    SERVICES,
    SPANS,
    START_US,
    USED,
    V3,
    classic,
    classic_span,
    lines,
    run,
    trace_of,
)

TREE = [
    "span                   time    in out      cost how it ended",
    "invoke_agent planner 100 ms                     failed",
    "├─ chat gpt-4o       100 ms 1,310  46 $0.003735 completed, 1 retry (429)",
    "└─ chat gpt-4o       100 ms                     failed, BadRequestError 400",
]


# What is shown -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "otherwise"),
    [(CLASSIC, PAGE), (V3, NOT_FOUND), (V3, PAGE), (V3, Reply({"errors": [{"msg": "gone"}]}, 404))],
    ids=["before 2.21", "since 2.21", "since 2.21, with the web page at unknown paths", "with an error there"],
)
def test_a_trace_is_a_tree_under_a_line_that_tells_where_to_open_it(answers: Answers, otherwise: Reply) -> None:
    """Jaeger's two APIs show the same; which one it has is found out by asking."""
    with FakeBackend(answers, otherwise) as jaeger:
        done = run(jaeger)
    heading, *tree = lines(done.stdout)
    assert done.exit_code == 0
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d  поиск  102 ms  3 spans  {jaeger.url}/trace/{ID}", heading)
    assert tree == TREE


@pytest.mark.parametrize("answers", [CLASSIC, V3], ids=["before 2.21", "since 2.21"])
def test_one_trace_is_shown_by_its_id(answers: Answers) -> None:
    """In upper case too."""
    with FakeBackend(answers) as jaeger:
        done = run(jaeger, "--trace", ID.upper())
    assert lines(done.stdout)[1:] == TREE


@pytest.mark.parametrize("answers", [CLASSIC, V3], ids=["before 2.21", "since 2.21"])
def test_json_has_every_attribute(answers: Answers) -> None:
    """What Jaeger made attributes of are fields again; names are not escaped."""
    with FakeBackend(answers) as jaeger:
        done = run(jaeger, "--json")
    [trace] = json.loads(done.stdout)
    assert (trace["trace_id"], trace["start"], trace["services"]) == (ID, "2026-11-25T10:53:37.001000+00:00", ["поиск"])
    assert "поиск" in done.stdout
    root, call, failed = trace["spans"]
    assert (root["parent_id"], call["parent_id"], call["duration_s"]) == (None, "0" * 15 + "1", 0.1)
    assert (call["kind"], call["scope"], call["status"], call["attributes"]) == ("client", "rlm_otel", "unset", USED)
    assert [(it["name"], it["attributes"]) for it in call["events"]] == [("rlm.retry", {"rlm.http.status_code": 429})]
    assert (failed["status"], failed["status_message"], failed["attributes"]) == ("error", "oops", FAILED)


def test_what_others_wrote_cannot_steer_the_terminal_nor_break_the_json() -> None:
    """On a terminal that knows neither emoji nor tree lines, with names made to harm."""
    wild = classic_span(1, "chat \x1b]0;x\x07\x9b🚋 Модель", tags=CALL)
    program = "from rlm_otel.cli import main; from rlm_otel.views.cli import traces; main.add_command(traces); main()"
    with FakeBackend({"/api/services": SERVICES, "/api/traces": classic(wild)}) as jaeger:
        tree, written = (
            subprocess.run(
                [sys.executable, "-c", program, "traces", "--jaeger", jaeger.url, *more],
                env={**os.environ, "PYTHONIOENCODING": "cp1251", "HTTP_PROXY": "http://127.0.0.1:1"},
                capture_output=True,
                encoding="cp1251",
                timeout=60,
                check=True,
            ).stdout
            for more in ([], ["--json"])
        )
    assert "chat \\x1b]0;x\\x07\\x9b\\U0001f68b Модель 100 ms" in tree
    assert r'"name": "chat \u001b]0;x\u0007\u009b\ud83d\ude8b Модель"' in written
    assert json.loads(written)[0]["spans"][0]["name"] == "chat \x1b]0;x\x07\x9b🚋 Модель"


def test_spans_of_other_libraries_tell_that_they_failed() -> None:
    """They have no outcome of ours; a parent in another trace is none."""
    link = {"refType": "CHILD_OF", "traceID": "f" * 32, "spanID": "f" * 16}
    span = {**classic_span(1, "POST /chat", error=True), "references": [link]}
    with FakeBackend({**CLASSIC, "/api/traces": classic(span)}) as jaeger:
        done = run(jaeger)
    assert lines(done.stdout)[-1].split() == ["POST", "/chat", "100", "ms", "error"]


# What is looked for --------------------------------------------------------------------------------------------------


def test_jaeger_looks_for_what_it_can() -> None:
    """The older API by attributes and duration; more than asked for, because it looks less closely than we do."""
    with FakeBackend(CLASSIC) as jaeger:
        run(jaeger, "--errors", "--slow", "50ms", "--model", "gpt-4o", "--since", "1h30m", "--limit", "30")
        [query] = jaeger.queries("/api/traces")
    assert (query["service"], query["limit"], query["minDuration"]) == ("поиск", "150", "50000us")
    assert json.loads(query["tags"]) == {"error": "true", "gen_ai.request.model": "gpt-4o"}
    assert int(query["end"]) - int(query["start"]) == 5400 * 10**6


def test_the_newer_api_is_asked_in_its_own_words() -> None:
    """RFC 3339 times, and names that all versions of it know."""
    with FakeBackend(V3) as jaeger:
        run(jaeger, "--slow", "1.5s", "--service", "поиск")
        [query] = jaeger.queries("/api/v3/traces")
    assert (query["query.service_name"], query["query.num_traces"]) == ("поиск", "100")
    assert query["query.duration_min"] == "1500000us"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", query["query.start_time_min"])


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], True),
        (["--errors"], True),
        (["--slow", "100ms"], True),
        (["--slow", "101ms"], False),
        (["--model", "gpt-4o"], True),
        (["--model", "gpt-4"], False),
        (["--model", "gpt-4o", "--errors", "--slow", "100ms"], True),
    ],
)
@pytest.mark.parametrize("answers", [CLASSIC, V3], ids=["before 2.21", "since 2.21"])
def test_only_what_fits_is_shown_whatever_jaeger_gave(answers: Answers, arguments: list[str], shown: bool) -> None:
    """A Jaeger that takes no notice of a filter does no harm."""
    with FakeBackend(answers) as jaeger:
        done = run(jaeger, *arguments)
    assert (ID in done.stdout) is shown
    assert ("No trace of поиск in the last 1 h is like that." in done.stderr) is not shown


def test_filters_together_mean_one_call() -> None:
    """A trace with a failed run and a good call of the model is not one in which the call failed."""
    with FakeBackend({**CLASSIC, "/api/traces": classic(*SPANS[1:])}) as jaeger:
        assert ID in run(jaeger, "--errors").stdout
        assert ID not in run(jaeger, "--errors", "--model", "gpt-4o").stdout


def test_a_store_that_cannot_search_for_errors_is_searched_through() -> None:
    """Jaeger's memory does not know `error`: without a hit the newest traces are looked at."""
    answers: Answers = {**CLASSIC, "/api/traces": lambda query: classic() if "tags" in query else classic(*SPANS)}
    with FakeBackend(answers) as jaeger:
        assert ID in run(jaeger, "--errors").stdout
        assert len(jaeger.queries("/api/traces")) == 2


def test_it_says_when_older_traces_were_not_looked_at() -> None:
    """As many came as were asked for, too few of them fit."""
    many = Reply({"data": [trace_of({**SPANS[1], "traceID": f"{number:032x}"}) for number in range(100)]})
    with FakeBackend({**CLASSIC, "/api/traces": many}) as jaeger:
        done = run(jaeger, "--slow", "1s")
    assert done.stderr.startswith("Older traces than the newest 100 of each service were not looked at")


def test_traces_of_all_services_come_once_and_the_newest_last() -> None:
    """A trace through two services is found in both; Jaeger's own are left out; the limit is of all together."""
    early = trace_of({**classic_span(1, "early"), "startTime": START_US - 1, "traceID": "1" * 32}, service="b")
    both: Answers = {
        "/api/services": Reply({"data": ["b", "jaeger", "поиск"]}),
        "/api/traces": lambda query: Reply(
            {"data": [trace_of(SPANS[1]), *([early] if query["service"] == "b" else [])]}
        ),
    }
    with FakeBackend(both) as jaeger:
        everything, newest = run(jaeger), run(jaeger, "--limit", "1")
        assert {query["service"] for query in jaeger.queries("/api/traces")} == {"b", "поиск"}
    assert re.findall(r"trace/(\w+)", everything.stdout) == ["1" * 32, ID]
    assert re.findall(r"trace/(\w+)", newest.stdout) == [ID]
