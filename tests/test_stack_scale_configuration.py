"""The configuration of the tiers beyond one machine: they fit each other, and what one accepted it keeps on disk."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

ROOT: Final = Path(__file__).parents[1]
DEFAULT: Final = re.compile(r"\$\{env:([A-Z0-9_]+):-([^}]*)\}")
ADDRESS: Final = re.compile(r"(?:http://)?([a-z][a-z0-9-]+):(\d+)")
LISTENING: Final = {"otel-gateway-1:4317", "otel-gateway-2:4317", "kafka:9092", "opensearch:9200"}
MIB: Final = 1024 * 1024


def read(path: str) -> str:
    """A file of the checkout, with the defaults of its environment variables put in."""
    return DEFAULT.sub(lambda found: found[2], (ROOT / path).read_text("utf-8"))


def load(path: str) -> dict[str, Any]:
    """The same, as settings."""
    settings: dict[str, Any] = yaml.safe_load(read(path))
    return settings


COMPOSE: Final = load("docker-compose.scale.yml")
SINGLE: Final = load("collector/config.yaml")
FRONT: Final = load("collector/front.yaml")
GATEWAY: Final = load("collector/gateway.yaml")
KAFKA: Final = load("collector/kafka.yaml")
INGESTER: Final = load("jaeger/ingester.yaml")
QUERY: Final = load("jaeger/query.yaml")
EXPORTERS: Final = {
    "front": FRONT["exporters"]["load_balancing"],
    "gateway": GATEWAY["exporters"]["otlp_grpc/jaeger"],
    "kafka": KAFKA["exporters"]["kafka"],
}


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_what_was_accepted_is_on_disk_until_the_next_one_has_it(exporter: str) -> None:
    """And it is tried again for ever."""
    settings = EXPORTERS[exporter]
    assert settings["sending_queue"]["storage"] == "file_storage/queue"
    assert settings["retry_on_failure"]["max_elapsed_time"] == "0s"


def test_the_fronts_have_one_queue_and_no_second_one_in_memory() -> None:
    """The exporter to each gateway has one of its own by default, which a crash would lose."""
    inner = FRONT["exporters"]["load_balancing"]["protocol"]["otlp"]
    assert (inner["sending_queue"], inner["retry_on_failure"]) == ({"enabled": False}, {"enabled": False})


def test_the_ingester_tells_kafka_only_of_what_its_store_has_taken() -> None:
    """No batch in between, no mark on an error, and it begins with the oldest."""
    receiver = INGESTER["receivers"]["kafka"]
    assert INGESTER["service"]["pipelines"]["traces"]["processors"] == []
    assert receiver["message_marking"] == {"after": True, "on_error": False}
    assert receiver["initial_offset"] == "earliest"


def test_a_large_request_fits_through_every_tier() -> None:
    """What a front accepts at once, a gateway does, and Kafka's exporter and broker."""
    accepted = SINGLE["receivers"]["otlp"]["protocols"]["grpc"]["max_recv_msg_size_mib"] * MIB
    assert GATEWAY["receivers"]["otlp"]["protocols"]["grpc"]["max_recv_msg_size_mib"] * MIB == accepted
    assert KAFKA["exporters"]["kafka"]["producer"]["max_message_bytes"] == accepted
    assert COMPOSE["services"]["kafka"]["environment"]["KAFKA_MESSAGE_MAX_BYTES"] > accepted
    for exporter in ("front", "kafka"):
        assert EXPORTERS[exporter]["sending_queue"]["batch"]["max_size"] * 2 == accepted


def test_ingester_and_query_read_the_same_indices() -> None:
    """Only the ingester makes their templates; Jaeger looks back as long as traces are to stay."""
    stores = [one["extensions"]["jaeger_storage"]["backends"]["traces"]["opensearch"] for one in (INGESTER, QUERY)]
    assert [store["server_urls"] for store in stores] == ["[http://opensearch:9200]"] * 2
    assert [store["indices"]["index_prefix"] for store in stores] == ["rlm", "rlm"]
    assert (stores[1]["create_mappings"], stores[1]["max_span_age"]) == (False, "168h")


def test_every_default_address_is_a_service() -> None:
    """Of the overlay, or of the base."""
    files = ["collector/front.yaml", "collector/gateway.yaml", "collector/kafka.yaml"]
    files += ["jaeger/ingester.yaml", "jaeger/query.yaml"]
    values = [found[2] for path in files for found in DEFAULT.finditer((ROOT / path).read_text("utf-8"))]
    called = {":".join(found) for value in values for found in ADDRESS.findall(value)}
    assert called == LISTENING | {"jaeger:4317", "prometheus:9090"}
    assert {address.partition(":")[0] for address in LISTENING} <= set(COMPOSE["services"])


def test_memory_is_watched_before_anything_is_done() -> None:
    """Below what the container may have."""
    pipeline = GATEWAY["service"]["pipelines"]["traces"]
    assert pipeline["processors"] == ["memory_limiter", "tail_sampling"]
    assert GATEWAY["processors"]["memory_limiter"]["limit_mib"] == 400
    assert COMPOSE["services"]["otel-gateway-1"]["mem_limit"] == "512m"


def test_what_is_kept_is_what_the_settings_say() -> None:
    """Errors always; the other three are settings with defaults."""
    sampling = GATEWAY["processors"]["tail_sampling"]
    policies = {policy["name"]: policy[policy["type"]] for policy in sampling["policies"]}
    assert policies == {
        "errors": {"status_codes": ["ERROR"]},
        "slow": {"threshold_ms": 20000},
        "expensive": {"error_mode": "ignore", "span": ['span.attributes["rlm.cost.amount"] >= 0.50']},
        "rest": {"sampling_percentage": 10},
    }
