"""Why an export failed and what to do about it, in plain words."""

import re
from dataclasses import dataclass
from typing import Final

from rlm_otel.destination import Destination


@dataclass(frozen=True, slots=True)
class ExportFailure:
    """What is known of one failed export."""

    destination: Destination
    status: int | None = None
    """HTTP status, where there was an answer."""
    text: str = ""
    """What the exporter, the transport or the server said."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One failure in plain words: `why` follows the endpoint in a sentence, `advice` is a sentence of its own."""

    why: str
    advice: str


_CONTAINER: Final = "Inside a container `localhost` is the container itself: use the collector's service name."
_REFUSED: Final = Trouble(
    "refused the connection: nothing listens there",
    f"Start a collector there, or set OTEL_EXPORTER_OTLP_ENDPOINT to where it is. {_CONTAINER}",
)
_SPEAKS_GRPC: Final = Trouble(
    "speaks gRPC, but we speak HTTP to it",
    "Set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or use the collector's HTTP port (usually 4318).",
)
_SPEAKS_HTTP: Final = Trouble(
    "speaks HTTP, but we speak gRPC to it",
    "Set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or use the collector's gRPC port (usually 4317).",
)
_UNKNOWN_HOST: Final = Trouble(
    "has a host name that cannot be resolved (DNS)",
    f"Check the spelling in OTEL_EXPORTER_OTLP_ENDPOINT and that this machine can resolve it. {_CONTAINER}",
)
_NO_TLS: Final = Trouble(
    "does not speak TLS, but the endpoint starts with https://",
    "Write http:// in the endpoint, or use the collector's TLS port.",
)
_NEEDS_TLS: Final = Trouble("wants TLS, but the endpoint starts with http://", "Write https:// in the endpoint.")
_UNTRUSTED: Final = Trouble(
    "has a TLS certificate that is not trusted here",
    "Set OTEL_EXPORTER_OTLP_CERTIFICATE to the file of the authority that signed it (PEM).",
)
_SILENT: Final = Trouble(
    "did not answer in time",
    "Check that the collector is alive and that no firewall swallows the traffic; "
    "OTEL_EXPORTER_OTLP_TIMEOUT (seconds) sets how long to wait.",
)
_HUNG_UP: Final = Trouble(
    "closed the connection without an answer",
    "Check that this is an OTLP port: one that wants TLS (https://) or speaks another protocol behaves like this.",
)
_NOT_AN_ENDPOINT: Final = Trouble(
    "is no URL that can be used", "Write the endpoint like http://localhost:4318 (gRPC: http://localhost:4317)."
)
_CREDENTIALS: Final = Trouble(
    "did not accept our credentials",
    "Set OTEL_EXPORTER_OTLP_HEADERS (such as `authorization=Bearer ...`) or headers= to what the backend asks for.",
)
_NO_SUCH_PATH: Final = Trouble(
    "is not a place that takes {signal}",
    "Give the base address (such as http://localhost:4318): the path /v1/{signal} is appended to it, but not to "
    "OTEL_EXPORTER_OTLP_{SIGNAL}_ENDPOINT, which is used as it is.",
)
_NO_SUCH_SIGNAL: Final = Trouble(
    "does not take {signal}",
    "Some backends take only traces (Jaeger has no metrics): send {signal} to a collector "
    "(OTEL_EXPORTER_OTLP_{SIGNAL}_ENDPOINT), or set OTEL_{SIGNAL}_EXPORTER=none.",
)
_NO_OTLP: Final = Trouble(
    "answered with a web page: it is no OTLP receiver",
    "Use the collector's OTLP port, usually 4318 (HTTP) or 4317 (gRPC).",
)
_MOVED: Final = Trouble(
    "redirects elsewhere, and exporters do not follow",
    "Set the endpoint to the final address; often it is https:// instead of http://.",
)
_PROXY: Final = Trouble(
    "is reached through a proxy, and that one failed",
    "Check HTTP_PROXY and HTTPS_PROXY; NO_PROXY=<the collector's host> goes around it.",
)
_TOO_LARGE: Final = Trouble(
    "says the batch is too large",
    "Lower OTEL_BSP_MAX_EXPORT_BATCH_SIZE, or raise the receiver's limit (gRPC: max_recv_msg_size_mib).",
)
_OVERLOADED: Final = Trouble(
    "says it gets too much or is not ready",
    "Look at the collector's own log and memory; nothing is wrong on this side.",
)
_REJECTED: Final = Trouble(
    "took the request but rejected what was in it", "Look at the collector's own log for the reason."
)

# The first match wins. Texts are those of requests/urllib3 and gRPC; status codes are asked before them.
_BY_TEXT: Final[tuple[tuple[re.Pattern[str], Trouble], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), trouble)
    for pattern, trouble in (
        (r"ProxyError|Cannot connect to proxy", _PROXY),
        (r"HTTP request to an HTTPS|plain HTTP request was sent to HTTPS", _NEEDS_TLS),
        (r"CERTIFICATE_VERIFY_FAILED|certificate verify failed|self.signed|unable to get local issuer", _UNTRUSTED),
        (r"WRONG_VERSION_NUMBER|SSL: UNKNOWN_PROTOCOL|RECORD_LAYER_FAILURE|record overflow", _NO_TLS),
        (r"UNAUTHENTICATED|PERMISSION_DENIED", _CREDENTIALS),
        (r"INVALID_ARGUMENT", _REJECTED),
        (r"Connection refused|actively refused", _REFUSED),
        (
            r"Name or service not known|Failed to resolve|nodename nor servname|getaddrinfo|name resolution|lookup",
            _UNKNOWN_HOST,
        ),
        (r"BadStatusLine|HTTP/0\.9", _SPEAKS_GRPC),
        (r"Failed parsing HTTP/2|Expected SETTINGS|http1\.x server|invalid content-type", _SPEAKS_HTTP),
        (r"No connection adapters|Invalid URL|No host supplied|MissingSchema|Failed to parse", _NOT_AN_ENDPOINT),
        (r"RESOURCE_EXHAUSTED.*larger than max|message larger than", _TOO_LARGE),
        (r"RESOURCE_EXHAUSTED", _OVERLOADED),
        (r"DEADLINE_EXCEEDED|timed out|timeout", _SILENT),
        (r"SSL|TLS", _UNTRUSTED),
        (r"Connection aborted|reset by peer|RemoteDisconnected|Socket closed|Endpoint closing", _HUNG_UP),
        (r"UNAVAILABLE", _OVERLOADED),
    )
)
_UNREACHABLE: Final = (_REFUSED, _UNKNOWN_HOST, _SPEAKS_GRPC, _SPEAKS_HTTP, _NO_TLS, _UNTRUSTED, _NOT_AN_ENDPOINT)
_BY_STATUS: Final = {
    400: _REJECTED,
    401: _CREDENTIALS,
    403: _CREDENTIALS,
    405: _NO_OTLP,
    407: _PROXY,
    413: _TOO_LARGE,
    415: _NO_OTLP,
    429: _OVERLOADED,
}


def explain(failure: ExportFailure) -> Trouble:
    """The failure in plain words."""
    trouble = _by_status(failure) if failure.status is not None else _by_text(failure)
    signal = failure.destination.signal
    advice = trouble.advice.replace("{signal}", signal).replace("{SIGNAL}", signal.upper())
    return Trouble(trouble.why.replace("{signal}", signal), advice)


def sentence(failure: ExportFailure) -> str:
    """Where, why and what to do, in one line."""
    trouble = explain(failure)
    destination = failure.destination
    where = f"{destination.shown} ({destination.protocol})"
    return f"{destination.signal} do not arrive: {where} {trouble.why}. {trouble.advice}"


def is_unreachable(failure: ExportFailure) -> bool:
    """Whether there was no server to talk to, so that trying again at once is of no use."""
    return failure.status is None and _by_text(failure) in _UNREACHABLE


def _by_status(failure: ExportFailure) -> Trouble:
    status = failure.status or 0
    if 200 <= status < 300:
        return _REJECTED if "rejected" in failure.text else _NO_OTLP
    if status == 400 and _by_text(failure) is _NEEDS_TLS:
        return _NEEDS_TLS
    if status == 404:
        right_path = failure.destination.endpoint.value.endswith(f"/v1/{failure.destination.signal}")
        missing = _NO_SUCH_SIGNAL if right_path else _NO_SUCH_PATH
        return Trouble(f"{missing.why} (404)", missing.advice)
    if 300 <= status < 400:
        known: Trouble | None = _MOVED
    else:
        known = _BY_STATUS.get(status) or (_OVERLOADED if status >= 500 else None)
    if known is None:
        return Trouble(f"refused the export with status {status}", "Look at the collector's own log for the reason.")
    return Trouble(f"{known.why} (status {status})", known.advice)


def _by_text(failure: ExportFailure) -> Trouble:
    if "UNIMPLEMENTED" in failure.text:  # gRPC's 404
        return _SPEAKS_HTTP if "http2 header with status" in failure.text else _NO_SUCH_SIGNAL
    for pattern, trouble in _BY_TEXT:
        if pattern.search(failure.text):
            return trouble
    said = " ".join(failure.text.split())[:200] or "nothing more is known"
    return Trouble(f"did not take it: {said}", "Look at the collector's own log.")
