"""`rlm-otel cost` gives exact totals from Prometheus, with what is not in them beside, and what is missing said."""

import csv
import io
import json
from collections.abc import Iterable, Mapping

import pytest
from click.testing import CliRunner, Result

from rlm_otel.views.cli import cost
from rlm_otel.views.durations import seconds_of, told
from rlm_otel.views.promql import exact_increase
from tests.fake_backend import PAGE, Answers, FakeBackend, Query, Reply

Vector = Iterable[tuple[Mapping[str, str], str]]
TEAM, MODEL = "rlm_label_team", "gen_ai_request_model"
COST: Vector = [({TEAM: "search", MODEL: "gpt-4o"}, "1.5"), ({TEAM: "ads", MODEL: "gpt-4o"}, "12.300000000000001")]
CALLS: Vector = [
    ({TEAM: "search", MODEL: "gpt-4o"}, "30"),
    ({TEAM: "ads", MODEL: "gpt-4o"}, "1200"),
    ({MODEL: "own"}, "4"),
    ({TEAM: "ads", MODEL: "idle"}, "0"),
]
UNPRICED: Vector = [
    ({MODEL: "own", "rlm_reason": "no_price"}, "4"),
    ({TEAM: "search", MODEL: "gpt-4o", "rlm_reason": "no_usage"}, "1"),
    ({TEAM: "search", MODEL: "gpt-4o", "rlm_reason": "no_price"}, "0"),
]


def result(kind: str, series: list[object], **more: object) -> Reply:
    return Reply({"status": "success", "data": {"resultType": kind, "result": series}, **more})


def vector(samples: Vector, **more: object) -> Reply:
    return result("vector", [{"metric": labels, "value": [1795604100.322, value]} for labels, value in samples], **more)


def prometheus(*, missing: Iterable[range] = (), before: bool = False, empty: bool = False, **more: object) -> Answers:
    """One that has the samples above, and recorded all steps of the range but those `missing`."""
    by_metric = {"rlm_client_cost_total": COST, "rlm_client_operations_total": CALLS, "unpriced_total": UNPRICED}

    def query(asked: Query) -> Reply:
        if asked["query"].startswith("count_over_time"):
            return vector([({}, "5")] if before else [])
        [samples] = [samples for metric, samples in by_metric.items() if metric in asked["query"]]
        return vector([] if empty else samples, **more)

    def query_range(asked: Query) -> Reply:
        start, end, step = float(asked["start"]), float(asked["end"]), float(asked["step"])
        gone = {number for numbers in missing for number in numbers}
        numbers = [number for number in range(round((end - start) / step) + 1) if number not in gone]
        values = [[start + number * step, "4"] for number in numbers]
        return result("matrix", [{"metric": {"job": "prometheus"}, "values": values}] if values else [])

    return {
        "/api/v1/query": query,
        "/api/v1/query_range": query_range,
        "/api/v1/status/runtimeinfo": Reply({"status": "success", "data": {"storageRetention": "40d or 4GiB"}}),
    }


def run(answers: Answers, *arguments: str) -> Result:
    with FakeBackend(answers) as backend:
        return CliRunner().invoke(cost, ["--prometheus", backend.url, *arguments])


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


# What is asked and shown ---------------------------------------------------------------------------------------------


def test_every_key_has_its_label() -> None:
    """Ours by name, any other is a label that the application declared; all is asked for the same moment."""
    with FakeBackend(prometheus()) as backend:
        arguments = ["--by", "team,model,provider,service,environment,cost-center", "--since", "1h"]
        CliRunner().invoke(cost, ["--prometheus", backend.url, *arguments])
        queries = [query for query in backend.queries("/api/v1/query") if "sum by" in query["query"]]
    labels = (
        "rlm_label_team",
        "gen_ai_request_model",
        "gen_ai_provider_name",
        "service_name",
        "deployment_environment_name",
        "rlm_label_cost_center",
    )
    assert [query["query"] for query in queries] == [
        exact_increase("rlm_client_cost_total", "3600s", labels),
        exact_increase("rlm_client_operations_total", "3600s", labels),
        exact_increase("rlm_client_unpriced_total", "3600s", (*labels, "rlm_reason")),
    ]
    assert len({query["time"] for query in queries}) == 1


def test_the_table_shows_what_is_left_out_beside_each_total() -> None:
    """The most expensive first; what was not priced is unknown, not nought; what did nothing is not shown."""
    done = run(prometheus(), "--by", "team,model")
    assert done.exit_code == 0
    assert lines(done.stdout) == [
        "team    model       cost  calls  without a cost",
        "ads     gpt-4o  $12.3000  1,200               0",
        "search  gpt-4o   $1.5000     30               1",
        "-       own            -      4               4",
        "all             $13.8000  1,234               5",
        "Note: the cost leaves out 5 calls: 4 with a model that no price is known of (OTelCallback(prices=...) can "
        "name one), 1 whose reply had no token usage.",
    ]


def test_small_amounts_are_not_rounded_away() -> None:
    """Six decimals as soon as one of the groups needs them."""
    samples = vector([({MODEL: "gpt-4o"}, "0.00004")])
    answers = {**prometheus(), "/api/v1/query": lambda asked: samples if "cost" in asked["query"] else vector([])}
    assert "$0.000040" in run(answers).stdout


def test_csv_has_the_figures_as_they_are() -> None:
    """One line a group; notes go elsewhere."""
    done = run(prometheus(), "--by", "team,model", "--csv")
    assert list(csv.reader(io.StringIO(done.stdout))) == [
        ["team", "model", "cost_usd", "calls", "unpriced_calls"],
        ["ads", "gpt-4o", "12.3", "1200", "0"],
        ["search", "gpt-4o", "1.5", "30", "1"],
        ["", "own", "", "4", "4"],
    ]
    assert done.stderr.startswith("Note: the cost leaves out 5 calls")


def test_json_has_the_notes_too() -> None:
    """What is not known is null."""
    written = json.loads(run(prometheus(), "--by", "team,model", "--json").stdout)
    assert written["rows"][2] == {"team": None, "model": "own", "cost_usd": None, "calls": 4, "unpriced_calls": 4}
    assert written["all"] == {"cost_usd": 13.8, "calls": 1234, "unpriced_calls": 5}
    assert [note[:30] for note in written["notes"]] == ["the cost leaves out 5 calls: 4"]


def test_words_of_others_cannot_steer_the_terminal() -> None:
    """A label's value is somebody's text."""
    answers = {**prometheus(), "/api/v1/query": vector([({MODEL: "gpt\x1b[2J\n", "rlm_reason": ""}, "2")])}
    for arguments in ([], ["--csv"], ["--json"]):
        done = run(answers, *arguments)
        assert done.exit_code == 0
        assert "\x1b" not in done.output


# What is missing -----------------------------------------------------------------------------------------------------


def test_a_label_that_nothing_has_is_told() -> None:
    """A typing error, or a label that was never declared."""
    notes = json.loads(run(prometheus(), "--by", "model,taem", "--json").stdout)["notes"]
    assert notes[1:] == [
        "nothing has a taem (label rlm_label_taem in Prometheus): "
        "a service declares it with OTelCallback(labels={'taem': (...)})"
    ]


def test_a_range_that_is_longer_than_what_is_kept_is_told() -> None:
    """From when on there is something, how long that is, and what it means for the figures."""
    notes = json.loads(run(prometheus(missing=[range(5000)]), "--since", "60d", "--json").stdout)["notes"]
    [note] = [note for note in notes if "nothing from before" in note]
    assert "(it keeps 40 d): the figures cover at most 29 d" in note
    assert note.endswith("of the 60 d asked for, and of processes that already ran then all since their start")


def test_gaps_are_told() -> None:
    """How many, how long together, and what was lost."""
    answers = prometheus(missing=[range(10, 15), range(20, 21)])
    [note] = [note for note in json.loads(run(answers, "--since", "1h", "--json").stdout)["notes"] if "gap" in note]
    assert note.startswith("Prometheus recorded nothing for at least 12 min in 2 gaps, the longest from ")
    assert note.endswith("on: processes that lived only then are not counted")


def test_a_range_that_begins_in_a_gap_is_told() -> None:
    """Then there is no value to subtract: what ran on counts too much."""
    answers = prometheus(missing=[range(3)], before=True)
    notes = json.loads(run(answers, "--since", "1h", "--json").stdout)["notes"]
    assert notes[-1].endswith("processes that already ran then count from their start, not from the beginning")


def test_a_prometheus_that_does_not_watch_itself_cannot_tell_its_gaps() -> None:
    """It is said, not passed over."""
    notes = json.loads(run(prometheus(missing=[range(20_000)]), "--json").stdout)["notes"]
    assert notes[-1].startswith("whether everything was recorded cannot be told")


def test_nothing_recorded_says_what_to_check() -> None:
    """An empty table helps nobody."""
    done = run(prometheus(empty=True), "--since", "90m")
    text = " ".join(done.stdout.split())
    assert "no model call was recorded in the last 1 h 30 min. Check that the service sends metrics" in text


def test_warnings_of_prometheus_are_handed_on() -> None:
    """Such as those of a partial answer; each once."""
    notes = json.loads(run(prometheus(warnings=["partial response"]), "--json").stdout)["notes"]
    assert notes.count("partial response") == 1


# What goes wrong -----------------------------------------------------------------------------------------------------


def test_what_prometheus_refuses_is_said_in_its_words() -> None:
    """One line, exit code 1."""
    refusal = Reply({"status": "error", "errorType": "execution", "error": "query processing would load too many"}, 422)
    with FakeBackend({"/api/v1/query": refusal}) as backend:
        done = CliRunner().invoke(cost, ["--prometheus", backend.url])
    assert (done.exit_code, done.stderr) == (
        1,
        f"Error: Prometheus at {backend.url} answered 422: query processing would load too many.\n",
    )


def test_something_else_at_the_address_is_told() -> None:
    """Jaeger's page, for example."""
    with FakeBackend({}, PAGE) as other:
        done = CliRunner().invoke(cost, ["--prometheus", other.url])
    assert "is that Prometheus? It usually listens on port 9090; give its address with --prometheus URL." in done.stderr


@pytest.mark.parametrize(
    "answer", [Reply([]), Reply({"status": "success", "data": {}}), result("vector", [{"metric": {}, "value": [1]}])]
)
def test_an_answer_in_another_form_is_no_traceback(answer: Reply) -> None:
    """One line as well."""
    with FakeBackend({"/api/v1/query": answer}) as backend:
        done = CliRunner().invoke(cost, ["--prometheus", backend.url])
    assert done.exit_code == 1
    assert done.stderr.startswith(
        f"Error: {backend.url} answered in a form that is not known here: is that Prometheus?"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--by", "team,,model"], "team,,model is no list of names: write it like team,model."),
        (["--by", "a) or vector(1"], "a) or vector(1 is no list of names"),
        (["--since", "30"], "30 is no duration"),
        (["--csv", "--json"], "--csv and --json exclude each other: give one of them."),
    ],
)
def test_options_that_make_no_sense_are_told(arguments: list[str], said: str) -> None:
    """Exit code 2; nothing is asked."""
    done = CliRunner().invoke(cost, arguments)
    assert (done.exit_code, said in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("1.5s", 1.5), ("1h30m", 5400), ("2w", 1209600), ("", None), ("h", None)]
)
def test_durations_are_read_as_people_write_them(text: str, seconds: float | None) -> None:
    """What is none is None."""
    assert seconds_of(text) == seconds


def test_durations_are_told_in_two_units_at_most() -> None:
    """Enough for a reader."""
    assert [told(it) for it in (0.2, 45, 5400, 90061, 2592000)] == ["0 s", "45 s", "1 h 30 min", "1 d 1 h", "30 d"]
