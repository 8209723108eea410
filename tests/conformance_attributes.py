"""Holds attributes of spans, metrics and events against the registry: names, types, enums, and the few value rules."""

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from tests.conformance_content import REGISTRY_FILE, content_violations

REGISTRY: Final[dict[str, Any]] = json.loads(REGISTRY_FILE.read_text(encoding="utf-8"))

# `double` is a float and nothing else: an int leaves as another type on the wire.
TYPES: Final = {"string": str, "int": int, "double": float, "boolean": bool}

# The registry leaves every enum open; for these a value of our own making is a mistake, a vendor's new one is not.
TRULY_OPEN: Final = {"error.type", "gen_ai.provider.name", "openai.request.service_tier"}

NEVER: Final[dict[str, object]] = {
    "gen_ai.request.stream": False,
    "gen_ai.conversation.compacted": False,
    "gen_ai.request.choice.count": 1,
}
"""Values that are said by leaving the attribute out."""


def attribute_violations(
    attributes: Mapping[str, Any],
    allowed: Collection[str] | None,
    *,
    user: bool,
    structured: bool = False,
) -> Iterator[str]:
    """Each broken rule; `allowed` names what the conventions declare here (None = any name they know).

    Names under `rlm.` are always let through, names under `app.` with `user`. `structured` as on events.
    """
    for name, value in attributes.items():
        if name.startswith("app.") and user:
            continue
        yield from _exportable(name, value)
        if name.startswith("rlm."):
            continue
        definition = _definition(name)
        if definition is None:
            yield f"{name}: unknown name, and not under rlm."
            continue
        if allowed is not None and not {name, name.rsplit(".", 1)[0]} & set(allowed):
            yield f"{name}: not declared here"
        yield from _value(name, value, definition, structured=structured)
    if "server.address" in attributes and "server.port" not in attributes:
        yield "server.port is missing beside server.address"


def declared(span_type: str, attributes: Mapping[str, Any]) -> set[str]:
    """Names this span may carry: its own, its vendor's, and MCP's where a tool span covers an MCP call."""
    names = set(REGISTRY["spans"][span_type]["attributes"])
    names.update(_refined(span_type, attributes))
    if span_type == "gen_ai.execute_tool.internal" and "mcp.method.name" in attributes:
        names.update(REGISTRY["spans"]["mcp.client"]["attributes"])
    return names


def needed(span_type: str, attributes: Mapping[str, Any], *, recommended: bool) -> list[str]:
    """Names that must be there, with those that are recommended without a condition when asked for."""
    own = REGISTRY["spans"][span_type]["attributes"]
    excused = REGISTRY["conformance"]["expected_but_not_flagged"]
    names = [name for name, rule in _refined(span_type, attributes).items() if rule["requirement"] == "required"]
    for name, rule in own.items():
        unconditional = rule["requirement"] == "recommended" and "condition" not in rule and name not in excused
        if name not in names and (rule["requirement"] == "required" or (recommended and unconditional)):
            names.append(name)
    return names


def _refined(span_type: str, attributes: Mapping[str, Any]) -> dict[str, Any]:
    vendor = attributes.get("gen_ai.provider.name")
    refinements = REGISTRY["span_refinements"].values()
    mine = [r for r in refinements if r["refines"] == span_type and vendor and r.get("provider") == vendor]
    return {name: rule for refinement in mine for name, rule in refinement["attributes"].items()}


def _definition(name: str) -> dict[str, Any] | None:
    known: dict[str, dict[str, Any]] = REGISTRY["attributes"]
    if name in known:
        return None if known[name].get("template") else known[name]
    template = known.get(name.rsplit(".", 1)[0], {})
    return template if template.get("template") else None


def _value(name: str, value: object, definition: Mapping[str, Any], *, structured: bool) -> Iterator[str]:
    kind = definition["type"]
    if kind == "any":
        yield from content_violations(name, value, structured=structured)
        return
    if not _has_type(value, kind):
        yield f"{name}: {value!r} is {type(value).__name__}, not {kind}"
        return
    if "enum" in definition and name not in TRULY_OPEN and value not in definition["enum"]:
        yield f"{name}: {value!r} is not one of {definition['enum']}"
    if name in NEVER and value == NEVER[name]:
        yield f"{name}: {value!r} is said by leaving it out"
    if value == "" and name != "exception.message":
        yield f"{name}: an unknown value is left out, not empty"
    if name.startswith("gen_ai.usage.") and name.count(".") > 2 and value == 0:
        yield f"{name}: a breakdown of zero tokens is left out"


def _has_type(value: object, kind: str) -> bool:
    if kind.endswith("[]"):
        return isinstance(value, (list, tuple)) and all(_has_type(item, kind[:-2]) for item in value)
    return isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _exportable(name: str, value: object) -> Iterator[str]:
    if value is None:
        yield f"{name}: an unknown value is left out, not None"
    try:
        str(value).encode()
    except UnicodeEncodeError:
        yield f"{name}: a lone surrogate cannot be exported"
