"""Where each signal goes and who said so: arguments, then `OTEL_*`, then defaults, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

Signal = Literal["traces", "metrics", "logs"]
Protocol = Literal["http/protobuf", "grpc"]

SIGNALS: Final[tuple[Signal, ...]] = ("traces", "metrics", "logs")
PROTOCOLS: Final[tuple[Protocol, ...]] = ("http/protobuf", "grpc")
DEFAULT_ENDPOINTS: Final[Mapping[Protocol, str]] = {
    "http/protobuf": "http://localhost:4318",
    "grpc": "http://localhost:4317",
}
_EXPORTERS: Final[Mapping[str, tuple[str, Protocol | None]]] = {
    "otlp": ("otlp", None),
    "otlp_proto_http": ("otlp", "http/protobuf"),  # the names that `opentelemetry-instrument` knows
    "otlp_proto_grpc": ("otlp", "grpc"),
    "console": ("console", None),
    "none": ("none", None),
}
_DEFAULT_TIMEOUT_S: Final = 10.0
_DEFAULT_INTERVAL_MS: Final = 15_000.0


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and who gave it: `argument endpoint`, the name of a variable, or `default`."""

    value: str
    source: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `configure` was called with."""

    service_name: str | None = None
    endpoint: str | None = None
    headers: Mapping[str, str] | None = None
    protocol: str | None = None

    def __post_init__(self) -> None:
        if self.protocol is not None and self.protocol not in PROTOCOLS:
            msg = f"protocol={self.protocol!r} is not known; use one of: {', '.join(PROTOCOLS)}."
            raise ValueError(msg)


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """Where one signal goes."""

    signal: Signal
    otlp: bool
    console: bool
    exporters_source: str
    protocol: Protocol
    protocol_source: str
    endpoint: Setting
    """The URL as the exporter gets it: for HTTP with the path of the signal."""
    headers: Mapping[str, str] = field(repr=False)
    headers_source: str
    timeout_s: float
    warnings: tuple[str, ...] = ()
    """What could not be read, as sentences."""

    @property
    def shown(self) -> str:
        """The endpoint without a password or a query, fit for logs."""
        parts = urlsplit(self.endpoint.value)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}" if host else self.endpoint.value.partition("?")[0]


def is_disabled(environ: Mapping[str, str]) -> bool:
    """Whether `OTEL_SDK_DISABLED` switches everything off."""
    return environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def wants_logs(environ: Mapping[str, str]) -> bool:
    """Whether the environment names a destination for log records."""
    return any(environ.get(name, "").strip() for name in ("OTEL_LOGS_EXPORTER", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"))


def read_destination(signal: Signal, options: Options, environ: Mapping[str, str]) -> Destination:
    """Settle one signal's destination; a variable that makes no sense is named in `warnings` and counts as unset."""
    warnings: list[str] = []
    kinds, implied, exporters_source = _exporters(signal, environ, warnings)
    protocol, protocol_source = _protocol(signal, options, environ, implied, warnings)
    headers, headers_source = _headers(signal, options, environ, warnings)
    return Destination(
        signal=signal,
        otlp="otlp" in kinds,
        console="console" in kinds,
        exporters_source=exporters_source,
        protocol=protocol,
        protocol_source=protocol_source,
        endpoint=_endpoint(signal, options, environ, protocol),
        headers=headers,
        headers_source=headers_source,
        timeout_s=_timeout_s(signal, environ, warnings),
        warnings=tuple(warnings),
    )


def read_service(options: Options, environ: Mapping[str, str], program: str) -> tuple[Setting, dict[str, str]]:
    """The service's name, and the resource attributes that the environment gives; `program` is `sys.argv[0]`."""
    attributes = _pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", ""), "OTEL_RESOURCE_ATTRIBUTES", [])
    if options.service_name:
        name = Setting(options.service_name, "argument service_name")
    elif given := environ.get("OTEL_SERVICE_NAME", "").strip():
        name = Setting(given, "OTEL_SERVICE_NAME")
    elif attributes.get("service.name"):
        name = Setting(attributes["service.name"], "OTEL_RESOURCE_ATTRIBUTES")
    else:
        name = Setting(_program_name(program), "default: the program's name")
    return name, {**attributes, "service.name": name.value}


def read_interval_ms(environ: Mapping[str, str]) -> tuple[float, tuple[str, ...]]:
    """How often metrics go out, in milliseconds, and what could not be read."""
    text = environ.get("OTEL_METRIC_EXPORT_INTERVAL", "").strip()
    number = _positive(text)
    if text and number is None:
        return _DEFAULT_INTERVAL_MS, (f"OTEL_METRIC_EXPORT_INTERVAL={text!r} is no number above 0; 15000 is used.",)
    return number or _DEFAULT_INTERVAL_MS, ()


def _either(signal: Signal, what: str, environ: Mapping[str, str]) -> Setting | None:
    """The signal's own variable, else the one for all signals; an empty one is unset."""
    for name in (f"OTEL_EXPORTER_OTLP_{signal.upper()}_{what}", f"OTEL_EXPORTER_OTLP_{what}"):
        if value := environ.get(name, "").strip():
            return Setting(value, name)
    return None


def _exporters(
    signal: Signal, environ: Mapping[str, str], warnings: list[str]
) -> tuple[set[str], Protocol | None, str]:
    name = f"OTEL_{signal.upper()}_EXPORTER"
    given = [entry.strip().lower() for entry in environ.get(name, "").split(",") if entry.strip()]
    if unknown := [entry for entry in given if entry not in _EXPORTERS]:
        warnings.append(
            f"{name}: {', '.join(unknown)} is not known and ignored; use one or more of: otlp, console, none."
        )
    known = [_EXPORTERS[entry] for entry in given if entry in _EXPORTERS]
    if not known:
        return {"otlp"}, None, "default"
    return {kind for kind, _ in known}, next((implied for _, implied in known if implied), None), name


def _protocol(
    signal: Signal, options: Options, environ: Mapping[str, str], implied: Protocol | None, warnings: list[str]
) -> tuple[Protocol, str]:
    for protocol in PROTOCOLS:
        if options.protocol == protocol:
            return protocol, "argument protocol"
    if implied:
        return implied, f"OTEL_{signal.upper()}_EXPORTER"
    setting = _either(signal, "PROTOCOL", environ)
    if setting is None:
        return "http/protobuf", "default"
    for protocol in PROTOCOLS:
        if setting.value.lower() == protocol:
            return protocol, setting.source
    warnings.append(
        f"{setting.source}={setting.value!r} is not known; http/protobuf is used. Known are: {', '.join(PROTOCOLS)}."
    )
    return "http/protobuf", "default"


def _endpoint(signal: Signal, options: Options, environ: Mapping[str, str], protocol: Protocol) -> Setting:
    own = environ.get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT", "").strip()
    if options.endpoint:
        base = Setting(options.endpoint.strip(), "argument endpoint")
    elif own:
        # By the specification this one is used as it is: no path is appended.
        return Setting(_with_scheme(own, signal, environ), f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
    else:
        base = _either(signal, "ENDPOINT", environ) or Setting(DEFAULT_ENDPOINTS[protocol])
    url = _with_scheme(base.value, signal, environ).rstrip("/")
    for known in SIGNALS:  # a full URL of one signal given as the base: meant kindly, would end as /v1/traces/v1/traces
        url = url.removesuffix(f"/v1/{known}")
    return Setting(url if protocol == "grpc" else f"{url}/v1/{signal}", base.source)


def _with_scheme(endpoint: str, signal: Signal, environ: Mapping[str, str]) -> str:
    """`collector:4317` means plain text, unless `OTEL_EXPORTER_OTLP_INSECURE=false` says otherwise."""
    if "://" in endpoint or endpoint.startswith("unix:"):
        return endpoint
    insecure = _either(signal, "INSECURE", environ)
    return f"https://{endpoint}" if insecure and insecure.value.lower() == "false" else f"http://{endpoint}"


def _headers(
    signal: Signal, options: Options, environ: Mapping[str, str], warnings: list[str]
) -> tuple[dict[str, str], str]:
    setting = _either(signal, "HEADERS", environ)
    headers = _pairs(setting.value, setting.source, warnings) if setting else {}
    lowered = {name.lower(): value for name, value in headers.items()}  # gRPC takes no capitals in metadata
    lowered |= {name.lower(): value for name, value in (options.headers or {}).items()}
    return lowered, "argument headers" if options.headers else setting.source if setting else "default"


def _pairs(text: str, source: str, warnings: list[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for number, item in enumerate(filter(None, (item.strip() for item in text.split(","))), start=1):
        name, equals, value = item.partition("=")
        if equals and name.strip():
            pairs[unquote(name).strip()] = unquote(value).strip()
        else:  # the item itself is not shown: it may be a key
            warnings.append(f"{source}: entry {number} has no `name=value` form and is ignored.")
    return pairs


def _timeout_s(signal: Signal, environ: Mapping[str, str], warnings: list[str]) -> float:
    setting = _either(signal, "TIMEOUT", environ)
    if setting is None:
        return _DEFAULT_TIMEOUT_S
    number = _positive(setting.value)
    if number is None:
        warnings.append(f"{setting.source}={setting.value!r} is no number of seconds above 0; 10 is used.")
    return number or _DEFAULT_TIMEOUT_S


def _positive(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if 0 < number < float("inf") else None


def _program_name(program: str) -> str:
    parts = program.replace("\\", "/").rstrip("/").split("/")
    if parts[-1] == "__main__.py":  # python -m package
        parts.pop()
    name = parts[-1] if parts else ""
    return name.removesuffix(".py").removesuffix(".exe") if name not in {"", "-c", "-", "-m"} else "python"
