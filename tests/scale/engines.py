"""Kafka and OpenSearch for `make test-scale`: fetched from Maven Central by the pins in `stack/`, kept in the cache."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from rlm_otel.stack import files
from rlm_otel.stack.binaries import Found, Program, version_of
from rlm_otel.stack.building import Pins, fingerprint
from rlm_otel.stack.problem import StackProblem

ENGINES: Final = ("kafka", "opensearch")
_JAVA: Final = Program(name="java", names=("java",), oldest=(17,))
_DEPENDENCIES: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
_INSTALL: Final = "Install a JDK of version 17 or newer and Maven (Debian: openjdk-17-jdk-headless, maven)."

Say = Callable[[str], object]


def java(environ: Mapping[str, str]) -> Found:
    """The Java that runs both; it has to be able to compile, since `Run.java` is run from its source."""
    missing = [name for name in ("java", "javac", "mvn") if not shutil.which(name, path=environ.get("PATH", ""))]
    if missing:
        raise StackProblem(f"make test-scale runs Kafka and OpenSearch, and there is no {missing[0]} here. {_INSTALL}")
    path = Path(shutil.which("java", path=environ.get("PATH", "")) or "java")
    version = version_of(path, _JAVA) or ()
    if version < _JAVA.oldest:
        raise StackProblem(f"make test-scale needs Java 17 or newer, and {path} is older. {_INSTALL}")
    return Found(path, version)


def jars(engine: str, environ: Mapping[str, str], say: Say) -> Path:
    """The folder with all jars of an engine, each of them checked; fetched when the cache does not have it."""
    cache = files.cache_folder(environ)
    result = cache / f"{engine}-{fingerprint(Pins(folder=engine, packages=(), takes='a minute'))}"
    with files.locked(cache):
        if not result.is_dir():
            say(f"fetching {engine} from Maven Central (about 50 MB, once)")
            with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as temporary:
                _fetch(engine, Path(temporary) / "jars", environ)
                (Path(temporary) / "jars").rename(result)
    return result


def _fetch(engine: str, folder: Path, environ: Mapping[str, str]) -> None:
    pins = files.root() / "stack" / engine
    maven = shutil.which("mvn", path=environ.get("PATH", "")) or "mvn"
    command = [maven, "--quiet", "--batch-mode", "--strict-checksums", f"--file={pins / 'pom.xml'}", _DEPENDENCIES]
    command += [f"-DoutputDirectory={folder}", "-DincludeScope=runtime"]
    answer = subprocess.run(command, env=dict(environ), stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if answer.returncode:
        said = (answer.stdout + answer.stderr).decode("utf-8", "replace").strip().splitlines()
        raise StackProblem(f"Maven cannot fetch {engine}: is Maven Central in reach?", "\n".join(said[:6]))
    lines = (pins / "jars.sha256").read_text("utf-8").splitlines()
    wanted = {name: digest for digest, name in (line.split() for line in lines)}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    if wrong := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        raise StackProblem(f"What Maven fetched for {engine} is not what stack/{engine}/jars.sha256 says: {wrong}")


def main() -> None:
    """Have both ready, so that the tests themselves need no network; one line when that cannot be."""
    try:
        java(os.environ)
        for engine in ENGINES:
            jars(engine, os.environ, print)
    except StackProblem as problem:
        sys.exit(f"{problem}\n{problem.details}".strip())


if __name__ == "__main__":
    main()
