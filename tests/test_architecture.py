"""Dependencies point inward, and exactly one place swallows exceptions: read from the sources, not from habit."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import pytest

PACKAGE: Final = Path(__file__).parents[1] / "src" / "rlm_otel"
CORE: Final = {"events", "messages", "errors", "outcome", "quick", "semconv", "clock"}
"""Plain facts that everything else rests on: the standard library and one another."""
OUTPUT: Final = (
    *("otel", "telemetry", "private", "exporters", "bounded", "doctor"),
    *("receiver", "received", "testing", "cli", "demo", "serve", "views", "stack"),
    "adapters.openai.instrumentor",
)
"""The only ones that know OpenTelemetry; what observes (runner, reader, emitter, callbacks) imports none of them."""
BROAD: Final = {"Exception", "BaseException"}


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module. `when` is `typing` (for a type checker only), `call` (inside a function), else `load`."""

    module: str
    when: str


@cache
def sources() -> dict[str, ast.Module]:
    """The package's files as syntax trees, by dotted name inside the package; the package itself is ``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        found[name.removesuffix("__init__").removesuffix(".")] = ast.parse(path.read_text("utf-8"))
    return found


def imports(node: ast.AST, when: str = "load") -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, when) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from (Import(f"{child.module}.{alias.name}", when) for alias in child.names)
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from imports(child, "typing")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and when == "load":
            yield from imports(child, "call")
        else:
            yield from imports(child, when)


def is_in(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def found(wanted: tuple[str, ...], whens: tuple[str, ...] = ("load", "call")) -> set[tuple[str, str]]:
    """(file, module) of all imports of these packages at these times."""
    return {
        (name, one.module)
        for name, tree in sources().items()
        for one in imports(tree)
        if one.when in whens and is_in(one.module, *wanted)
    }


@pytest.mark.parametrize("name", sorted(CORE))
def test_the_core_needs_nothing_but_the_standard_library(name: str) -> None:
    """It imports one another at most; what is for a type checker only is not loaded."""
    allowed = sys.stdlib_module_names | {"rlm_otel"}
    modules = [one.module for one in imports(sources()[name]) if one.when != "typing"]
    assert [module for module in modules if module.split(".")[0] not in allowed] == []
    assert [module for module in modules if is_in(module, "rlm_otel") and module.split(".")[1] not in CORE] == []


def test_only_the_output_side_knows_opentelemetry() -> None:
    """Not even for its types."""
    knowing = {name for name, _ in found(("opentelemetry",), ("load", "call", "typing"))}
    assert {name for name in knowing if not is_in(name, *OUTPUT)} == set()
    assert is_in("otel.callback", *knowing)


def test_what_observes_never_leads_to_opentelemetry() -> None:
    """Runner, reader, emitter and callbacks import nothing of ours that does: all know-how of it is one way off."""
    ours = found(tuple(f"rlm_otel.{name}" for name in OUTPUT))
    assert {(name, module) for name, module in ours if not is_in(name, *OUTPUT)} == set()


def test_openai_is_imported_when_it_is_used() -> None:
    """`import rlm_otel` and everything but the demo start without it, and only who talks to a model needs it."""
    assert {name for name, _ in found(("openai",), ("load",)) if not is_in(name, "demo")} == set()
    adapter = {f"adapters.openai.{name}" for name in ("call", "client", "process", "retries")}
    assert {name for name, _ in found(("openai",), ("call",))} == {"clients", "retries", *adapter}


def broad_handlers() -> Iterator[tuple[str, ast.ExceptHandler]]:
    """Each `except` for everything, with its file."""
    for name, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ExceptHandler):
                caught = ast.walk(node.type) if node.type else ()
                if node.type is None or BROAD & {ast.unparse(one) for one in caught}:
                    yield name, node


def raises(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) for node in ast.walk(handler))


def test_no_handler_swallows_everything() -> None:
    """A broad `except` raises again, but for those of these files: they hand the exception on to whoever raises it."""
    assert {name for name, handler in broad_handlers() if not raises(handler)} == {
        "bracket",  # of a start hook: raised once those that were told of the start are told of the end
        "callbacks.fifo",  # of an async hook: raised by the run
        "emitter",  # of a listener: raised once all have heard of the event
        "effects",  # these three: raised inside the steps, where the brackets are
        "steps",
        "generators",  # what is thrown into an async generator: raised where that waits
        "stream",
        "execution",  # of a tool: the model is told, and the span
    }


def test_nothing_is_suppressed_as_a_whole() -> None:
    """`suppress` names what it expects; only where another exception is about to be raised it may hide any."""
    suppressed = {
        name
        for name, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress")
        if BROAD & {ast.unparse(argument) for argument in node.args}
    }
    assert suppressed == {"steps"}


def test_the_fence_is_the_only_block_that_swallows() -> None:
    """Every other `with` lets its exception out."""
    exits = [
        (name, node)
        for name, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name in ("__exit__", "__aexit__")
    ]
    returned = {
        (name, ast.unparse(statement.value))
        for name, node in exits
        for statement in ast.walk(node)
        if isinstance(statement, ast.Return) and statement.value
    }
    assert {name for name, value in returned if value not in ("None", "False")} == {"fence"}
