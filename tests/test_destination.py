"""Where a signal goes: argument, then variable, then default, and a word about what makes no sense."""

import pytest

from rlm_otel.destination import Options, read_destination, read_service
from rlm_otel.telemetry import configure


@pytest.mark.parametrize(
    ("options", "environ", "expected"),
    [
        (Options(), {}, "http://localhost:4318/v1/traces [default]"),
        (Options(protocol="grpc"), {}, "http://localhost:4317 [default]"),
        (Options(endpoint="http://c:4318/"), {}, "http://c:4318/v1/traces [argument endpoint]"),
        (Options(endpoint="c:4318/v1/traces"), {}, "http://c:4318/v1/traces [argument endpoint]"),
        (
            Options(),
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/otlp"},
            "https://c/otlp/v1/traces [OTEL_EXPORTER_OTLP_ENDPOINT]",
        ),
        (
            Options(),
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b/in"},
            "http://b/in [OTEL_EXPORTER_OTLP_TRACES_ENDPOINT]",
        ),
        (
            Options(protocol="grpc"),
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317", "OTEL_EXPORTER_OTLP_INSECURE": "false"},
            "https://c:4317 [OTEL_EXPORTER_OTLP_ENDPOINT]",
        ),
        (Options(), {"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, "http://localhost:4318/v1/traces [default]"),
    ],
)
def test_the_endpoint_is_settled(options: Options, environ: dict[str, str], expected: str) -> None:
    """Argument, then the signal's variable as it is, then the general one with a path, then the default."""
    endpoint = read_destination("traces", options, environ).endpoint
    assert f"{endpoint.value} [{endpoint.source}]" == expected


def test_bad_variables_are_named_and_ignored() -> None:
    """A variable that makes no sense breaks nothing: one sentence each, no value that may be a key."""
    destination = read_destination(
        "traces",
        Options(),
        {
            "OTEL_TRACES_EXPORTER": "zipkin",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
            "OTEL_EXPORTER_OTLP_HEADERS": "s3cret",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "soon",
        },
    )
    assert (destination.otlp, destination.protocol, destination.timeout_s) == (True, "http/protobuf", 10.0)
    assert destination.warnings == (
        "OTEL_TRACES_EXPORTER: zipkin is not known and ignored; use one or more of: otlp, console, none.",
        "OTEL_EXPORTER_OTLP_PROTOCOL='http/json' is not known; http/protobuf is used. Known are: http/protobuf, grpc.",
        "OTEL_EXPORTER_OTLP_HEADERS: entry 1 has no `name=value` form and is ignored.",
        "OTEL_EXPORTER_OTLP_TIMEOUT='soon' is no number of seconds above 0; 10 is used.",
    )


def test_a_bad_argument_is_an_error() -> None:
    """What the programmer wrote wrongly is said at once."""
    with pytest.raises(ValueError, match="protocol='http' is not known; use one of: http/protobuf, grpc"):
        configure(protocol="http", environ={})


@pytest.mark.parametrize(
    ("argument", "environ", "program", "expected"),
    [
        ("a", {"OTEL_SERVICE_NAME": "b"}, "c.py", "a"),
        (None, {"OTEL_SERVICE_NAME": "b", "OTEL_RESOURCE_ATTRIBUTES": "service.name=c"}, "d.py", "b"),
        (None, {"OTEL_RESOURCE_ATTRIBUTES": "team=x,service.name=c%20c"}, "d.py", "c c"),
        (None, {}, "/srv/shop/serve.py", "serve"),
        (None, {}, "/srv/shop/__main__.py", "shop"),
        (None, {}, "-c", "python"),
        (None, {}, "", "python"),
    ],
)
def test_the_service_has_a_name(argument: str | None, environ: dict[str, str], program: str, expected: str) -> None:
    """Argument, variable, resource attributes, program; never unknown_service."""
    assert read_service(Options(service_name=argument), environ, program)[0].value == expected
