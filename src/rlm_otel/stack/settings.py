"""The settings of the stack: `.env` as Docker Compose reads it, made with a random password when there is none."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rlm_otel.stack import files
from rlm_otel.stack.problem import StackProblem

_PASSWORD: Final = "GRAFANA_ADMIN_PASSWORD"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """The ports on this machine; each is set by the variable of its name in capitals, in `.env` or the environment."""

    otlp_grpc_port: int = 4317
    otlp_http_port: int = 4318
    otelcol_health_port: int = 13133
    otelcol_metrics_port: int = 8888
    jaeger_port: int = 16686
    prometheus_port: int = 9090
    grafana_port: int = 3000
    alertmanager_port: int = 9093
    # Jaeger's other ports are the collector's as well, and inside Docker nobody sees them.
    jaeger_grpc_port: int = 16685
    jaeger_otlp_grpc_port: int = 14317
    jaeger_otlp_http_port: int = 14318
    jaeger_health_port: int = 13134
    jaeger_metrics_port: int = 8889


def read_ports(settings: Mapping[str, str]) -> Ports:
    """The ports that `settings` ask for."""
    chosen: dict[str, int] = {}
    for name in Ports.__slots__:
        text = settings.get(name.upper(), "").strip()
        if text and not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
            raise StackProblem(f"{name.upper()}={text} is no port: give a number from 1 to 65535.")
        if text:
            chosen[name] = int(text)
    return Ports(**chosen)


def read_settings(environ: Mapping[str, str], env_file: Path) -> dict[str, str]:
    """What `.env` says, and over it the environment, as with Compose."""
    return {**_assignments(env_file), **environ}


def wants_alerts(settings: Mapping[str, str]) -> bool:
    """Whether Alertmanager is asked for: by Compose's profile, without Docker as well."""
    profiles = {one.strip() for one in settings.get("COMPOSE_PROFILES", "").split(",")}
    return not profiles.isdisjoint(("alerts", "*"))


def write_env(env_file: Path) -> bool:
    """Give `env_file` a random password for Grafana if it has none, readable by its owner; whether that was needed."""
    if _assignments(env_file).get(_PASSWORD):
        return False
    password = f"{_PASSWORD}={secrets.token_urlsafe(18)}"
    source = env_file if env_file.is_file() else files.root() / ".env.example"
    lines = source.read_text("utf-8").splitlines() if source.is_file() else []
    places = [number for number, line in enumerate(lines) if line.replace(" ", "").startswith(f"{_PASSWORD}=")]
    if places:
        lines[places[-1]] = password
    else:
        lines.append(password)
    files.make_folder(env_file.parent)
    new = env_file.with_name(f"{env_file.name}.new")
    try:
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        new.replace(env_file)
    except OSError as error:
        raise StackProblem(f"Cannot write {env_file}: {error.strerror}. Choose another folder: --dir FOLDER.") from None
    return True


def _assignments(path: Path) -> dict[str, str]:
    """The plain `NAME=value` lines of an env file; quotes around a value are not part of it."""
    if not path.is_file():
        return {}
    try:
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError as error:
        raise StackProblem(f"Cannot read {path}: {error.strerror}.") from None
    found: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.partition("=")
        if equals and not line.lstrip().startswith("#"):
            text = value.strip()
            quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
            found[name.strip().removeprefix("export ").strip()] = text[1:-1] if quoted else text.split(" #")[0].rstrip()
    return found
