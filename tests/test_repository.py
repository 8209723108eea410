"""What is committed names no machine and no registry, and every public name can be used and looked up."""

import inspect
import re
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Final, get_args

import pytest

import rlm_otel
import rlm_otel.callbacks
import rlm_otel.events
import rlm_otel.testing

ROOT: Final = Path(__file__).parents[1]
HOME: Final = re.compile(r"(?<![\w.<}])(?:/home/|/Users/|/root/|[A-Za-z]:\\Users\\)\w")
# Built from parts, so that this file names none of them either.
REGISTRIES: Final = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("maven", "org"),
        ("maven", "apache", "org"),
        ("deb", "debian", "org"),
    )
]


MODULES: Final = [rlm_otel, rlm_otel.callbacks, rlm_otel.testing]


def tracked() -> dict[str, str]:
    """The text of all files under version control, by path."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no git checkout: nothing tells which files are committed")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    paths = [path for path in listed.split("\0") if path and (ROOT / path).is_file()]
    assert "pyproject.toml" in paths
    return {path: (ROOT / path).read_bytes().decode("utf-8", "replace") for path in paths}


def test_no_file_names_a_place_on_some_machine() -> None:
    """Neither a home directory nor the directory of this very checkout."""
    here = re.compile(re.escape(str(ROOT)) + r"\b")
    assert [path for path, text in tracked().items() if HOME.search(text) or here.search(text)] == []


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is for whoever installs them to decide."""
    assert [(path, host) for path, text in tracked().items() for host in REGISTRIES if host in text.lower()] == []


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_every_requirement_is_pinned_and_has_hashes(path: Path) -> None:
    """One version each, checked by hash, and no option that says where to look."""
    lines = [line.strip().removesuffix("\\").strip() for line in path.read_text("utf-8").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    text = "\n".join(lines) + "\n"
    assert text != "\n"
    assert re.sub(r"[a-z0-9._-]+==\S+\n(--hash=sha256:[0-9a-f]{64}\n)+", "", text) == ""


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_public_name_says_what_it_is_for(module: ModuleType) -> None:
    """Each resolves, and what can have a docstring has one."""
    values = {name: getattr(module, name) for name in module.__all__}
    described = [name for name, value in values.items() if inspect.isclass(value) or inspect.isroutine(value)]
    assert [name for name in described if not (values[name].__doc__ or "").strip()] == []
    assert set(module.__all__) <= set(dir(module))


def test_no_public_name_is_also_a_module() -> None:
    """Importing that module anywhere would put it in the name's place."""
    modules = {path.stem for path in (ROOT / "src" / "rlm_otel").iterdir()}
    assert set(rlm_otel.__all__) & modules == set()


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_page_of_public_names_has_each_of_them_and_no_other(module: ModuleType) -> None:
    """docs/api.md has a section for each module, with a table whose first column names them."""
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    [section] = re.findall(rf"^## {re.escape(module.__name__)}\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE)
    rows = "".join(re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE))
    assert sorted(re.findall(r"`(\w+)`", rows)) == sorted(module.__all__)


def test_the_page_of_public_names_has_the_events() -> None:
    """That module has names of its own besides, so the page names each event and operation that a listener may get."""
    page = (ROOT / "docs" / "api.md").read_text("utf-8")
    _, _, section = page.partition("\n## rlm_otel.events\n")
    names = {
        name for row in re.findall(r"^\| (`[^|]+) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    unions = (*get_args(rlm_otel.events.Event), *get_args(rlm_otel.events.Operation))
    assert names == {one.__name__ for one in unions}
