"""Two services that call models for some minutes, with ordinary troubles, so that there is something to draw.

Real calls through `OTelCallback`, on servers that answer from a script: in the last third one model gets slow and the
other one is rate-limited, as a dashboard should show.
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Final

import openai

from rlm_otel import RLM, OTelCallback, attributes
from rlm_otel.demo.script import Script
from rlm_otel.demo.workload import STEPS
from rlm_otel.telemetry import configure
from rlm_otel.testing import Answer, Failure, Hang, Item, RecordedRequest, ScriptedServer, Tokens, rate_limits

SEED: Final = 4
TIMEOUT_S: Final = 6.0
ANY_KEY: Final = "not-needed"
LABELS: Final = {"team": ("search", "support"), "feature": ("chat", "summary", "routing")}
PATIENCE_S: Final = {"gpt-4o": 0.9, "gpt-4o-mini": 0.3, "o4-mini": 2.2, "house-model-7b": 0.5}
WORDS: Final = "The tram goes up the hill past the castle and the old market, then down to the river. " * 4


class Vendor:
    """Answers any request at a believable speed; `share` says how much of the time is over (0 to 1)."""

    def __init__(self, share: Callable[[], float]) -> None:
        self._share, self._random, self._lock = share, random.Random(SEED), threading.Lock()

    def __call__(self, request: RecordedRequest) -> Item:
        """The next answer, or failure, of this model."""
        with self._lock:
            return self._next(request.body["model"])

    def _next(self, model: str) -> Item:
        draw, late = self._random.random(), self._share() > 2 / 3
        if draw < (0.4 if late and model == "gpt-4o-mini" else 0.03):
            return Failure(429, retry_after=0.5, delay_s=0.05)
        if draw > 0.985:
            return Failure(500, delay_s=0.2)
        if draw > 0.975:
            return Failure(400, delay_s=0.1)
        if draw > 0.97:
            return Hang()
        slow = self._random.lognormvariate(0, 0.35) * (2.5 if late and model == "gpt-4o" else 1)
        asked = self._random.randint(300, 3000)
        used = 0.1 + 0.85 * self._share() if model == "gpt-4o-mini" else 0.3
        return Answer(
            WORDS[: self._random.randint(60, len(WORDS))],
            usage=Tokens(
                input=asked,
                output=self._random.randint(30, 400),
                cached=asked // 2 if draw > 0.4 else 0,
                reasoning=20 if model == "o4-mini" else None,
            ),
            delay_s=PATIENCE_S[model] * slow / 3,
            first_token_delay_s=PATIENCE_S[model] * slow / 3,
            chunk_delay_s=0.01,
            headers=rate_limits(
                remaining_requests=int(500 * (1 - used)),
                limit_requests=500,
                remaining_tokens=int(90_000 * (1 - used * 0.8)),
                limit_tokens=90_000,
            )
            if model in ("gpt-4o-mini", "o4-mini")  # the trips have their own for gpt-4o
            else {},
        )


def be_busy(endpoint: str, seconds: float) -> None:
    """Make calls and send their telemetry to `endpoint` (OTLP over HTTP); returns when the time is over."""
    began = time.monotonic()

    def share() -> float:
        return (time.monotonic() - began) / seconds

    with ScriptedServer(respond=Vendor(share)) as vendor:
        users = [
            ("shop", "search", "chat", "gpt-4o"),
            ("shop", "search", "summary", "gpt-4o-mini"),
            ("shop", "support", "chat", "gpt-4o-mini"),
            ("back-office", "support", "summary", "o4-mini"),
            ("back-office", "support", "routing", "house-model-7b"),
        ]
        with sending("shop", endpoint) as shop, sending("back-office", endpoint) as office:
            callbacks = {"shop": shop, "back-office": office}
            threads = [
                threading.Thread(
                    target=_use, args=(vendor.base_url, callbacks[service], share, *rest), name=rest[-1], daemon=True
                )
                for service, *rest in users
            ]
            threads.append(threading.Thread(target=_travel, args=(shop, share), name="trips", daemon=True))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()


@contextmanager
def sending(service: str, endpoint: str) -> Iterator[OTelCallback]:
    """A callback of a service of this name, all of whose telemetry is sent at the end of the block."""
    settings = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=demo"}
    with configure(service_name=service, endpoint=endpoint, environ=settings) as telemetry:
        yield OTelCallback(telemetry, labels=LABELS, chunk_times=True)


def _use(
    base_url: str, callback: OTelCallback, share: Callable[[], float], team: str, feature: str, model: str
) -> None:
    asked = random.Random(f"{team} {feature}")
    with closing(
        RLM.from_openai(
            model, base_url=base_url, api_key=ANY_KEY, callbacks=[callback], name=feature, timeout=TIMEOUT_S
        )
    ) as rlm:
        while share() < 1:
            with attributes(team=team, feature=feature), suppress(openai.OpenAIError):
                if asked.random() < 0.7:
                    with rlm.stream("What is worth seeing?") as answer:
                        for _text in answer:
                            pass
                else:
                    rlm.run("What is worth seeing?")
            time.sleep(asked.uniform(0.1, 0.8))


def _travel(callback: OTelCallback, share: Callable[[], float]) -> None:
    """What `rlm-otel demo` does, again and again: agents with tools, nested runs, a stream left early."""
    script = Script()

    def respond(request: RecordedRequest) -> Item:
        return script(request)

    with ScriptedServer(respond=respond) as server:
        make = partial(RLM.from_openai, base_url=server.base_url, api_key=ANY_KEY, callbacks=[callback])
        while share() < 1:
            script = Script()  # its answers are used up after one round
            with attributes(team="search", feature="chat"):
                for step in STEPS.values():
                    step(make)
            time.sleep(4)
