"""The configuration files of the viewing stack: they fit each other, lose nothing, and keep secrets out."""

import json
import os
import re
import subprocess
from itertools import chain
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from rlm_otel import semconv

ROOT: Final = Path(__file__).parents[1]
DEFAULT: Final = re.compile(r"\$\{env:([A-Z_]+):-([^}]*)\}")

Settings = dict[str, Any]


def load(path: str) -> Settings:
    """A YAML file of the checkout, with the defaults of its environment variables put in."""
    text = (ROOT / path).read_text("utf-8")
    settings: Settings = yaml.safe_load(DEFAULT.sub(lambda found: found[2], text))
    return settings


COMPOSE: Final = load("docker-compose.yml")
COLLECTOR: Final = load("collector/config.yaml")
JAEGER: Final = load("jaeger/config.yaml")
PROMETHEUS: Final = load("prometheus/prometheus.yml")
DATASOURCES: Final = load("grafana/provisioning/datasources/datasources.yaml")
PROGRAMS: Final = {"collector": COLLECTOR, "jaeger": JAEGER}
ADDRESS: Final = re.compile(r"(?:http://)?([a-z][a-z-]+):(\d+)")


def seconds(duration: str) -> int:
    """A duration such as `300s`, `10m`, `168h` or `40d`."""
    return int(duration[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[duration[-1]]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_component_is_defined_and_used(program: str) -> None:
    """A pipeline names only what there is, and nothing lies about unused."""
    settings = PROGRAMS[program]
    pipelines = settings["service"]["pipelines"].values()
    connectors = set(settings.get("connectors", {}))
    for kind in ("receivers", "processors", "exporters"):
        used = set(chain.from_iterable(pipeline.get(kind, []) for pipeline in pipelines))
        assert used - connectors == set(settings.get(kind, {})), kind
        if kind != "processors":
            assert connectors <= used, kind
    assert set(settings["service"]["extensions"]) == set(settings["extensions"])


def test_memory_is_watched_before_anything_is_done() -> None:
    """In each pipeline, and below what the container may have."""
    pipelines = COLLECTOR["service"]["pipelines"]
    assert {pipeline["processors"][0] for pipeline in pipelines.values()} == {"memory_limiter"}
    assert (
        COLLECTOR["processors"]["memory_limiter"]["limit_mib"],
        COMPOSE["services"]["otel-collector"]["mem_limit"],
    ) == (
        400,
        "512m",
    )


def test_what_the_collector_accepted_survives_a_crash() -> None:
    """Each queue is on disk; Jaeger batches nothing in its memory."""
    exporters = COLLECTOR["exporters"]
    queues = {name: settings["sending_queue"]["storage"] for name, settings in exporters.items() if name != "file/logs"}
    assert queues == {"otlp_grpc/jaeger": "file_storage/queue", "otlp_http/prometheus": "file_storage/queue"}
    assert exporters["otlp_grpc/jaeger"]["retry_on_failure"]["max_elapsed_time"] == "12h"
    assert JAEGER["service"]["pipelines"]["traces"]["processors"] == []


def test_a_request_to_jaeger_is_never_too_large_for_it() -> None:
    """Accepted by the collector, batched, accepted by Jaeger: each with room for the one before."""
    taken = COLLECTOR["receivers"]["otlp"]["protocols"]
    batch = COLLECTOR["exporters"]["otlp_grpc/jaeger"]["sending_queue"]["batch"]
    mib = 1024 * 1024
    assert taken["grpc"]["max_recv_msg_size_mib"] * mib == taken["http"]["max_request_body_size"] == batch["max_size"]
    assert JAEGER["receivers"]["otlp"]["protocols"]["grpc"]["max_recv_msg_size_mib"] * mib >= 2 * batch["max_size"]


def test_late_samples_are_still_taken() -> None:
    """Prometheus' window is longer than the collector goes on trying."""
    tried = COLLECTOR["exporters"]["otlp_http/prometheus"]["retry_on_failure"]["max_elapsed_time"]
    assert seconds(PROMETHEUS["storage"]["tsdb"]["out_of_order_time_window"]) >= 2 * seconds(tried)


def test_traces_stay_a_week_and_metrics_longer_than_a_month() -> None:
    """So that a month's cost can be asked for."""
    badger = JAEGER["extensions"]["jaeger_storage"]["backends"]["traces"]["badger"]
    assert seconds(badger["ttl"]["spans"]) == 7 * 86400
    assert badger["ephemeral"] is False
    assert PROMETHEUS["storage"]["tsdb"]["retention"]["time"] == "40d"


def test_prometheus_is_started_with_what_its_file_needs() -> None:
    """OTLP and exemplars are off unless a flag says otherwise."""
    command = COMPOSE["services"]["prometheus"]["command"]
    assert {"--web.enable-otlp-receiver", "--enable-feature=exemplar-storage"} <= set(command)
    assert [path for path in PROMETHEUS["rule_files"] if Path(path).is_absolute()] == []


def test_target_files_exist_and_name_services() -> None:
    """They are all that differs without Docker, so nothing else in the file may name a host."""
    jobs = [*PROMETHEUS["scrape_configs"], *PROMETHEUS["alerting"]["alertmanagers"]]
    assert [key for job in jobs for key in job if key.endswith("_configs")] == ["file_sd_configs"] * len(jobs)
    files = [name for job in jobs for source in job["file_sd_configs"] for name in source["files"]]
    targets = [json.loads((ROOT / "prometheus" / name).read_text("utf-8")) for name in files]
    hosts = {target.rpartition(":")[0] for groups in targets for group in groups for target in group["targets"]}
    assert hosts == {"localhost", "otel-collector", "jaeger", "alertmanager"}
    assert hosts - {"localhost"} <= set(COMPOSE["services"])


def test_programs_call_each_other_where_they_listen() -> None:
    """Every default address names a service and a port on which that service listens."""
    texts = [(ROOT / path).read_text("utf-8") for path in ("collector/config.yaml", "jaeger/config.yaml")]
    values = [*(found[2] for text in texts for found in DEFAULT.finditer(text))]
    values += COMPOSE["services"]["grafana"]["environment"].values()
    called = {match.groups() for value in values if (match := ADDRESS.fullmatch(value)) and match[1] != "localhost"}
    assert called == {("jaeger", "4317"), ("jaeger", "16686"), ("prometheus", "9090")}
    assert JAEGER["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] == "0.0.0.0:4317"
    assert JAEGER["extensions"]["jaeger_query"]["http"]["endpoint"] == "0.0.0.0:16686"


def test_what_listens_in_a_container_listens_to_the_others() -> None:
    """The default of these programs is localhost, where in a container nobody is."""
    listening = [COLLECTOR["extensions"]["health_check"], *COLLECTOR["receivers"]["otlp"]["protocols"].values()]
    listening += [JAEGER["extensions"]["healthcheckv2"]["http"], *JAEGER["receivers"]["otlp"]["protocols"].values()]
    assert {place["endpoint"].partition(":")[0] for place in listening} == {"0.0.0.0"}


def test_the_monitor_tab_finds_its_metrics() -> None:
    """Jaeger asks for milliseconds, classic buckets and Prometheus' suffixes."""
    span_metrics = COLLECTOR["connectors"]["span_metrics"]
    asked = JAEGER["extensions"]["jaeger_storage"]["metric_backends"]["span_metrics"]["prometheus"]
    assert (span_metrics["namespace"], span_metrics["histogram"]["unit"]) == ("traces.span.metrics", "ms")
    assert "explicit" in span_metrics["histogram"]
    assert (asked["normalize_calls"], asked["normalize_duration"]) == (True, True)
    assert PROMETHEUS["otlp"]["translation_strategy"] == "UnderscoreEscapingWithSuffixes"
    assert json.loads((ROOT / "jaeger/ui.json").read_text("utf-8"))["monitor"] == {"menuEnabled": True}


def test_grafana_is_given_every_variable_that_its_files_name() -> None:
    """Grafana puts nothing in the place of an unknown one."""
    files = (ROOT / "grafana" / "provisioning").rglob("*.yaml")
    text = "".join(path.read_text("utf-8") for path in files)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    names = set(re.findall(r"(?<!\$)\$\{?([A-Z_]+)", "\n".join(lines)))
    assert names == {"PROMETHEUS_URL", "JAEGER_URL", "JAEGER_PUBLIC_URL", "DASHBOARDS_PATH"}
    assert names <= set(COMPOSE["services"]["grafana"]["environment"])


def test_data_sources_point_at_each_other() -> None:
    """An exemplar leads to a trace, a trace to its metrics."""
    metrics, traces = DATASOURCES["datasources"]
    exemplars = metrics["jsonData"]["exemplarTraceIdDestinations"]
    assert (metrics["uid"], traces["uid"]) == ("prometheus", "jaeger")
    assert [destination["name"] for destination in exemplars] == ["trace_id", "trace_id"]
    assert exemplars[1]["datasourceUid"] == traces["uid"]
    assert traces["jsonData"]["tracesToMetrics"]["datasourceUid"] == metrics["uid"]


def test_the_start_page_is_there_and_jaeger_links_to_it() -> None:
    """Grafana opens with the overview, and a trace leads to it."""
    home = Path(COMPOSE["services"]["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    overview = json.loads((ROOT / "grafana" / "dashboards" / home.name).read_text("utf-8"))
    link = json.loads((ROOT / "jaeger" / "ui.json").read_text("utf-8"))["linkPatterns"][0]["url"]
    assert link.startswith(f"http://localhost:3000/d/{overview['uid']}?")


# Secrets -----------------------------------------------------------------------------------------------------------

BLOCKED_KEYS: Final = [re.compile(rule) for rule in COLLECTOR["processors"]["redaction"]["blocked_key_patterns"]]
# Go writes the end of the text as \z, Python 3.11 as \Z; the rest is the same in both.
BLOCKED_VALUES: Final = [
    re.compile(rule.replace(r"\z", r"\Z")) for rule in COLLECTOR["processors"]["redaction"]["blocked_values"]
]


def redacted(text: str) -> str:
    """The text as the processor leaves it."""
    for rule in BLOCKED_VALUES:
        text = rule.sub("****", text)
    return text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("ключ sk-" + "a" * 24 + " 🔑", "ключ **** 🔑"),
        ("Authorization: Bearer " + "abc.DEF-123", "Authorization: ****"),
        ('{"key": "AIza' + "b" * 35 + '"}', '{"key": "****"}'),
        ("AKIA" + "A" * 16, "****"),
        ("eyJ" + "a" * 9 + ".eyJ" + "b" * 9 + ".c", "****"),
        ("-----BEGIN " + "RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY----- end", "**** end"),
        ("-----BEGIN " + "PRIVATE KEY-----\ncut off", "****"),
        ("http://user:pass@host/x", "http****host/x"),
    ],
    ids=["openai", "bearer", "google", "aws", "jwt", "key block", "key block cut off", "address"],
)
def test_secrets_are_taken_out(text: str, left: str) -> None:
    """And nothing around them."""
    assert redacted(text) == left


def test_ordinary_text_stays_as_it_is() -> None:
    """What only looks like a secret at first sight, and what the package has put in a secret's place."""
    text = "a task-oriented bearer of news; risk-benefit; http://host:8080/a@b; Bearer [redacted]; [redacted] кот 🐈"
    assert redacted(text) == text


def test_no_attribute_of_ours_has_a_name_that_is_blocked() -> None:
    """Masking `gen_ai.usage.input_tokens` would be the classic mistake."""
    names = [value for name, value in vars(semconv).items() if name.isupper() and isinstance(value, str)]
    assert "gen_ai.usage.input_tokens" in names
    assert [name for name in names if any(rule.fullmatch(name) for rule in BLOCKED_KEYS)] == []
    secret = ["http.request.header.authorization", "API-Key", "db.password", "client_secret"]
    assert [name for name in secret if not any(rule.fullmatch(name) for rule in BLOCKED_KEYS)] == []


def test_secrets_are_taken_out_before_anything_is_handed_on() -> None:
    """Of attributes, events and logs; the status message becomes an attribute for it, and itself again."""
    pipelines = COLLECTOR["service"]["pipelines"]
    assert pipelines["traces"]["processors"] == [
        "memory_limiter",
        "transform/open_status",
        "redaction",
        "transform/cut",
        "transform/close_status",
    ]
    assert pipelines["logs"]["processors"] == ["memory_limiter", "redaction"]


# Alerts ------------------------------------------------------------------------------------------------------------


def start_alertmanager(tmp_path: Path, webhook: str) -> subprocess.CompletedProcess[str]:
    """Run the container's start script with `echo` in Alertmanager's place."""
    environment = {"PATH": os.environ["PATH"], "ALERT_WEBHOOK_URL": webhook}
    environment |= {"ALERTMANAGER": "echo", "ALERTMANAGER_CONFIG": str(tmp_path / "alertmanager.yml")}
    command = ["sh", str(ROOT / "alertmanager" / "start.sh")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)


def test_the_webhook_gets_into_alertmanagers_file(tmp_path: Path) -> None:
    """Whatever characters the address has; nobody else may read it."""
    webhook = "https://hooks.example/a?b=1&c='d'|e\\f#g"
    result = start_alertmanager(tmp_path, webhook)
    assert (result.returncode, result.stderr) == (0, "")
    rendered = tmp_path / "alertmanager.yml"
    assert f"--config.file={rendered}" in result.stdout
    assert rendered.stat().st_mode & 0o077 == 0
    receivers = yaml.safe_load(rendered.read_text("utf-8"))["receivers"]
    assert receivers == [{"name": "webhook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}]


def test_alertmanager_without_a_webhook_says_what_to_do(tmp_path: Path) -> None:
    """One line, and no start."""
    result = start_alertmanager(tmp_path, "")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == "Where shall alerts go? Set ALERT_WEBHOOK_URL in .env, or leave out the profile 'alerts'.\n"
