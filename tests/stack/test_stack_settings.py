"""`.env`: read as Compose reads it, and made with a password that nobody else knows."""

from pathlib import Path

import pytest

from rlm_otel.stack.problem import StackProblem
from rlm_otel.stack.settings import Ports, read_ports, read_settings, write_env


def password(path: Path) -> str:
    (line,) = [line for line in path.read_text("utf-8").splitlines() if line.startswith("GRAFANA_ADMIN_PASSWORD")]
    return line.partition("=")[2]


def test_a_missing_env_file_is_written_with_a_random_password(tmp_path: Path) -> None:
    """Only its owner reads it, and the rest is what `.env.example` explains."""
    first, second = tmp_path / "a" / ".env", tmp_path / "b" / ".env"
    assert write_env(first)
    assert write_env(second)
    assert len(password(first)) == 24
    assert password(first) != password(second)
    assert first.stat().st_mode & 0o777 == 0o600
    assert "#GRAFANA_PORT=3000" in first.read_text("utf-8")


def test_a_password_stays(tmp_path: Path) -> None:
    """Grafana reads it only once: another one would lock its user out."""
    path = tmp_path / ".env"
    path.write_text("GRAFANA_ADMIN_PASSWORD = 'тайна'\n", "utf-8")
    assert not write_env(path)
    assert path.read_text("utf-8") == "GRAFANA_ADMIN_PASSWORD = 'тайна'\n"


def test_an_empty_password_is_filled_in(tmp_path: Path) -> None:
    """As when somebody copied `.env.example`; other lines stay as they are."""
    path = tmp_path / ".env"
    path.write_text("# Пояснение\nGRAFANA_ADMIN_PASSWORD=\nTRACE_TTL=24h\n", "utf-8")
    assert write_env(path)
    before, _, after = path.read_text("utf-8").splitlines()
    assert (before, after) == ("# Пояснение", "TRACE_TTL=24h")
    assert len(password(path)) == 24
    assert [one.name for one in tmp_path.iterdir()] == [".env"]


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    """Quotes, comments and `export` are not part of a value."""
    path = tmp_path / ".env"
    path.write_text("export A='один'\nB=two # a comment\n#C=3\nD=4\nno assignment\n", "utf-8")
    assert read_settings({"D": "5"}, path) == {"A": "один", "B": "two", "D": "5"}
    assert read_settings({"D": "5"}, tmp_path / "missing") == {"D": "5"}


def test_ports_are_chosen_by_name() -> None:
    """An empty one counts as not set."""
    assert read_ports({"PROMETHEUS_PORT": "19090", "JAEGER_PORT": ""}) == Ports(prometheus_port=19090)


@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "٣"])
def test_what_is_no_port_is_refused_by_name(text: str) -> None:
    """Before anything is started."""
    with pytest.raises(StackProblem) as raised:
        read_ports({"GRAFANA_PORT": text})
    assert raised.value.msg == f"GRAFANA_PORT={text} is no port: give a number from 1 to 65535."
