"""When `rlm-otel traces` cannot show anything, it says why and what to do, in one line."""

import json

import pytest
from click.testing import CliRunner

from rlm_otel.views.cli import traces
from tests.fake_backend import NOT_FOUND, PAGE, Answers, FakeBackend, Reply
from tests.jaeger_answers import CLASSIC, ID, SERVICES, V3, V3_NONE, V3_SERVICES, classic, run


def test_no_jaeger_is_one_line_that_says_how_to_start_it() -> None:
    """Exit code 1; a password in the address is not repeated."""
    with FakeBackend({}) as gone:
        url = gone.url
    done = CliRunner().invoke(traces, ["--jaeger", url.replace("//", "//me:secret@")])
    assert (done.exit_code, done.stderr) == (
        1,
        f"Error: Jaeger is not reachable at {url} (Connection refused). Start the stack with `rlm-otel up`, "
        "or say where it is with --jaeger URL.\n",
    )


@pytest.mark.parametrize("otherwise", [PAGE, NOT_FOUND], ids=["a web page", "404"])
def test_something_else_at_the_address_is_told(otherwise: Reply) -> None:
    """Neither API is there."""
    with FakeBackend({}, otherwise) as other:
        done = run(other)
    assert done.exit_code == 1
    assert "is that Jaeger? It usually listens on port 16686; give its address with --jaeger URL." in done.stderr


def test_an_answer_in_another_form_is_no_traceback() -> None:
    """For both APIs."""
    for answers in (
        {**CLASSIC, "/api/traces": Reply({"data": [{"spans": [{}]}]})},
        {**CLASSIC, "/api/services": Reply([])},
        {
            **V3,
            "/api/v3/traces": Reply(
                {"result": {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "no hex"}]}]}]}}
            ),
        },
    ):
        with FakeBackend(answers) as jaeger:
            done = run(jaeger)
        assert done.exit_code == 1
        assert done.stderr.startswith(f"Error: {jaeger.url} answered in a form that is not known here: is that Jaeger?")


@pytest.mark.parametrize("answers", [{"/api/services": SERVICES}, {"/api/v3/services": V3_SERVICES}])
def test_a_trace_that_is_not_there_is_told(answers: Answers) -> None:
    """Both APIs say 404 in their own words."""
    missing = Reply({"data": None, "errors": [{"code": 404, "msg": "trace not found"}]}, 404)
    with FakeBackend({**answers, f"/api/traces/{ID}": missing, f"/api/v3/traces/{ID}": V3_NONE}) as jaeger:
        done = run(jaeger, "--trace", ID)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"Error: Jaeger has no trace {ID}: a new one takes some seconds to arrive")


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({**CLASSIC, "/api/traces": classic()}, "No trace of поиск in the last 1 h. Try a longer --since"),
        ({**V3, "/api/v3/traces": V3_NONE}, "No trace of поиск in the last 1 h. Try a longer --since"),
        ({"/api/services": Reply({"data": []})}, "has no traces of any service. Check that one sends here"),
        ({"/api/v3/services": Reply({})}, "has no traces of any service. Check that one sends here"),
    ],
)
def test_nothing_found_says_what_to_check(answers: Answers, said: str) -> None:
    """It is no failure; stdout stays empty, so that JSON stays JSON."""
    with FakeBackend(answers) as jaeger:
        done, as_json = run(jaeger), run(jaeger, "--json")
    assert (done.exit_code, done.stdout, said in done.stderr) == (0, "", True)
    assert json.loads(as_json.stdout) == []


def test_what_jaeger_refuses_is_said_in_its_words() -> None:
    """As one line."""
    refusal = Reply({"data": None, "errors": [{"code": 500, "msg": "badger:\nno space\x1b[2J left"}]}, 500)
    with FakeBackend({**CLASSIC, "/api/traces": refusal}) as jaeger:
        done = run(jaeger)
    assert done.stderr == f"Error: Jaeger at {jaeger.url} answered 500: badger: no space\\x1b[2J left.\n"


def test_an_unknown_service_is_told_with_those_that_are_known() -> None:
    """A typing error is seen at once."""
    with FakeBackend(CLASSIC) as jaeger:
        done = run(jaeger, "--service", "поиcк")
    assert done.stderr == "Error: Jaeger knows no service поиcк; it has: jaeger, поиск.\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--since", "yesterday"], "yesterday is no duration: write it like 90s, 30m, 1h30m, 7d or 500ms."),
        (["--slow", "0s"], "0s is no duration"),
        (["--trace", "../services"], "../services is no trace id: it has up to 32 hex digits."),
        (["--limit", "0"], "0 is not in the range"),
    ],
)
def test_options_that_make_no_sense_are_told(arguments: list[str], said: str) -> None:
    """Exit code 2; nothing is asked."""
    done = CliRunner().invoke(traces, arguments)
    assert (done.exit_code, said in done.stderr) == (2, True)


@pytest.mark.parametrize("url", ["foo", "file:///etc/passwd", "http://", "http://h:port", "http://[::1"])
def test_an_address_that_is_none_is_told(url: str) -> None:
    """Files are not read either."""
    done = CliRunner().invoke(traces, ["--jaeger", url])
    assert done.stderr == f"Error: --jaeger {url} is no address; write it like http://127.0.0.1:16686.\n"


def test_user_and_password_in_the_address_are_sent() -> None:
    """As HTTP wants them; neither shows in the link."""
    with FakeBackend(CLASSIC) as jaeger:
        done = CliRunner().invoke(traces, ["--jaeger", jaeger.url.replace("//", "//me:p%40ss@")])
        assert jaeger.headers[0]["Authorization"] == "Basic bWU6cEBzcw=="
    assert f"{jaeger.url}/trace/{ID}" in done.stdout
