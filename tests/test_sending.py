"""`flush` and `shutdown`: what was told to no callback of the application's is sent where no exit would send it."""

import pytest

from rlm_otel.receiver import Receiver
from tests.fresh_interpreter import run as run_python

pytestmark = pytest.mark.programs

ASK = """
import os, signal
import openai, rlm_otel
from rlm_otel.testing import Answer, ScriptedServer

with ScriptedServer([Answer("Hello!")]) as server, openai.OpenAI(base_url=server.base_url, api_key="any") as client:
    rlm_otel.instrument_openai(client)
    client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}])
"""


@pytest.mark.parametrize("ends", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGTERM)"], ids=["_exit", "SIGTERM"])
@pytest.mark.parametrize("send", ["flush", "shutdown"])
def test_s102_what_is_finished_is_sent_before_a_process_ends_hard(send: str, ends: str) -> None:
    """Frozen, killed, or ended by a signal as uvicorn ends: nothing that belongs to an exit runs then."""
    with Receiver() as receiver:
        done = run_python(
            f"{ASK}    assert rlm_otel.{send}(timeout_s=5)\n    {ends}",
            OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
        )
        assert done.returncode in (0, -15), done.stderr
        assert [span.name for span in receiver.spans()] == ["chat gpt-4o"]
        assert "gen_ai.client.inference.duration" in {point.metric for point in receiver.latest_points()}


def test_where_nothing_was_observed_nothing_is_made() -> None:
    """Nothing is to be sent, and no SDK is imported to find that out."""
    done = run_python(
        "import sys, rlm_otel\n"
        "assert rlm_otel.flush() and rlm_otel.shutdown(timeout_s=1)\n"
        "print('opentelemetry.sdk' in sys.modules)"
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
