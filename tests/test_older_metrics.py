"""`semconv="legacy"` and `"both"`: model calls under the metric names that the conventions had before."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from rlm_otel import semconv as sc
from rlm_otel.emitter import Emitter
from rlm_otel.instruments import OLDER_INSTRUMENTS
from rlm_otel.older import RENAMED, TOKENS
from rlm_otel.testing import Answer, Failure, Tokens
from tests.rig import Rig
from tests.surface_calls import observe

pytestmark = pytest.mark.older_metrics

REGISTRY = json.loads((Path(__file__).parent / "data" / "genai-registry.json").read_text(encoding="utf-8"))
OLDER: dict[str, Any] = REGISTRY["legacy_metrics"]
USAGE = Tokens(input=8, output=3, cached=2, reasoning=1)
IDENTITY = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o",
    "gen_ai.response.model": "gpt-4o",
    "server.address": "127.0.0.1",
}


def called(rigs: Callable[..., Rig], semconv: Literal["legacy", "both", "latest"]) -> Rig:
    """One streamed call with its tokens."""
    rig = rigs(semconv=semconv, chunk_times=True)
    stream = rig.rlm(Answer(chunks=("a ", "b ", "c"), usage=USAGE, service_tier="default")).stream("Как дела?")
    assert "".join(stream) == "a b c"
    return rig


def names(rig: Rig) -> set[str]:
    """The metrics of client calls."""
    return {name for name in rig.metric_names if name.startswith("gen_ai.client.")}


def test_s11_by_default_only_the_latest_names_are_recorded(rigs: Callable[..., Rig]) -> None:
    """No instrument of the older ones is even made."""
    assert not names(called(rigs, "latest")) & {*(one.name for one in OLDER_INSTRUMENTS), sc.OPERATION_DURATION}


def test_s11_legacy_records_the_older_names_instead(rigs: Callable[..., Rig]) -> None:
    """What has an older name is under that alone; what never had one stays."""
    assert names(called(rigs, "legacy")) == {
        "gen_ai.client.operation.duration",
        "gen_ai.client.operation.time_to_first_chunk",
        "gen_ai.client.operation.time_per_output_chunk",
        "gen_ai.client.token.usage",
        "gen_ai.client.inference.usage.cache_read.input_tokens",
        "gen_ai.client.inference.usage.reasoning.output_tokens",
    }


def test_s11_both_records_each_value_twice(rigs: Callable[..., Rig]) -> None:
    """The older names have the values of the latest, and everything that `latest` records is there."""
    rig = called(rigs, "both")
    assert names(rig) == names(called(rigs, "latest")) | names(called(rigs, "legacy"))
    for latest, older in RENAMED.items():
        assert (rig.value(older), rig.count(older)) == (rig.value(latest), rig.count(latest))


def test_tokens_are_one_histogram_by_type(rigs: Callable[..., Rig]) -> None:
    """Input and output are two records of `gen_ai.client.token.usage`; each leads to the span of its call."""
    rig = called(rigs, "legacy")
    points = rig.points("gen_ai.client.token.usage")
    port = {"server.port": rig.span("chat gpt-4o").attributes["server.port"]}
    assert [(point.attributes, point.value, point.count) for point in points] == [
        (IDENTITY | port | {"gen_ai.token.type": "input"}, 8, 1),
        (IDENTITY | port | {"gen_ai.token.type": "output"}, 3, 1),
    ]
    assert {one.span_id for point in points for one in point.exemplars} == {rig.span("chat gpt-4o").span_id}


def test_a_failed_call_is_in_the_older_duration_with_its_error(rigs: Callable[..., Rig]) -> None:
    """It says what went wrong; no tokens are invented."""
    rig = rigs(semconv="legacy")
    with pytest.raises(Exception, match="bad prompt"):
        rig.rlm(Failure(400, message="bad prompt")).run("Привет")
    assert rig.count("gen_ai.client.operation.duration", error_type="openai.BadRequestError") == 1
    assert rig.points("gen_ai.client.token.usage") == []


def test_embeddings_had_their_input_in_the_older_histogram(rigs: Callable[..., Rig]) -> None:
    """The latest names have no metric for it; output there is none."""
    rig = rigs(semconv="both")
    answer = Answer(usage=Tokens(input=4, output=0))
    observe(Emitter([rig.callback]), answer, "embeddings.create", model="text-embedding-3-small", input="кот")
    points = rig.points("gen_ai.client.token.usage")
    assert [(point.attributes["gen_ai.token.type"], point.value) for point in points] == [("input", 4)]
    assert rig.count("gen_ai.client.operation.duration", gen_ai_operation_name="embeddings") == 1


def test_the_table_is_that_of_the_registry() -> None:
    """What an older name stands for, its unit, buckets and attributes."""
    ours = {name for name in OLDER if name != "gen_ai.workflow.duration"}  # under that one nobody records any more
    assert ours == {*RENAMED.values(), sc.OLDER_TOKEN_USAGE}
    assert set(OLDER[sc.OLDER_TOKEN_USAGE]["replaced_by"]) == TOKENS
    for latest, older in RENAMED.items():
        assert older == sc.OPERATION_DURATION or OLDER[older]["replaced_by"] == [latest]
    for instrument in OLDER_INSTRUMENTS:
        known = OLDER[instrument.name]
        assert (instrument.kind, instrument.unit) == (known["instrument"], known["unit"])
        assert list(instrument.buckets or ()) == known["buckets"]
        assert set(instrument.attributes) == set(known["attributes"])
