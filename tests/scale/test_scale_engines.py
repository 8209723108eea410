"""What `make test-scale` says when it cannot have its engines; nothing here runs them."""

from pathlib import Path
from typing import Final

import pytest

from rlm_otel.stack.problem import StackProblem
from tests.scale import engines
from tests.stack.executables import write_program

INSTALL: Final = "Install a JDK of version 17 or newer and Maven (Debian: openjdk-17-jdk-headless, maven)."
JAVA_17: Final = "print('openjdk 17.0.15 2025-04-15')"
JAVA_11: Final = "print('openjdk 11.0.2 2019-01-15')"
# Fetches one file, and not the right one.
MAVEN: Final = """
import pathlib, sys
folder = next(word for word in sys.argv if word.startswith("-DoutputDirectory=")).partition("=")[2]
pathlib.Path(folder).mkdir()
pathlib.Path(folder, "kafka-clients-3.9.1.jar").write_bytes(b"another")
"""
NO_MAVEN: Final = "import sys; sys.exit('[ERROR] Unknown host')"


def tools(folder: Path, **programs: str) -> dict[str, str]:
    """An environment that has just these programs."""
    for name, source in programs.items():
        write_program(folder / "bin" / name, source)
    return {"PATH": f"{folder / 'bin'}", "HOME": str(folder)}


def test_a_missing_program_is_named_with_what_to_install(tmp_path: Path) -> None:
    """A runtime alone is not enough: the sources of the starters are compiled."""
    environ = tools(tmp_path, java=JAVA_17, mvn=MAVEN)
    with pytest.raises(StackProblem) as caught:
        engines.java(environ)
    assert caught.value.msg == f"make test-scale runs Kafka and OpenSearch, and there is no javac here. {INSTALL}"


def test_an_old_java_is_named(tmp_path: Path) -> None:
    """OpenSearch would end with a trace of its own."""
    environ = tools(tmp_path, java=JAVA_11, javac=JAVA_11, mvn=MAVEN)
    with pytest.raises(StackProblem) as caught:
        engines.java(environ)
    path = tmp_path / "bin" / "java"
    assert caught.value.msg == f"make test-scale needs Java 17 or newer, and {path} is older. {INSTALL}"


def test_what_is_not_the_pinned_file_is_not_run(tmp_path: Path) -> None:
    """And the cache does not keep it."""
    environ = tools(tmp_path, mvn=MAVEN)
    with pytest.raises(StackProblem) as caught:
        engines.jars("kafka", environ, print)
    assert caught.value.msg.startswith(
        "What Maven fetched for kafka is not what stack/kafka/jars.sha256 says: ['argparse4j"
    )
    assert [path.name for path in (tmp_path / ".cache" / "rlm-otel" / "binaries").iterdir()] == ["lock"]


def test_without_a_network_it_says_so(tmp_path: Path) -> None:
    """With what Maven said."""
    with pytest.raises(StackProblem) as caught:
        engines.jars("opensearch", tools(tmp_path, mvn=NO_MAVEN), print)
    assert caught.value.msg == "Maven cannot fetch opensearch: is Maven Central in reach?"
    assert caught.value.details == "[ERROR] Unknown host"
