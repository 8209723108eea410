"""A child that is forked while another thread of its parent chooses where telemetry goes."""

import os
import signal

import pytest
from opentelemetry.sdk.trace import TracerProvider

from rlm_otel import OTelCallback, telemetry
from rlm_otel.testing import Answer
from tests.rig import Rig


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_the_parents_choice(rig: Rig) -> None:
    """The thread that chooses is not there; a child that waited for it would never make its first call."""
    rig.rlm(Answer("hi"), callbacks=[OTelCallback(tracer_provider=TracerProvider())]).run("go")
    with telemetry._choosing:
        child = os.fork()
        if child == 0:
            signal.alarm(10)  # ends the child, where it waits
            telemetry._choosing.acquire()
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
