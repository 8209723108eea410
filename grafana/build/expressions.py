"""Every expression that is checked in, as Prometheus gets it: of panels, variables, recording rules and alerts."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypedDict, cast

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
DASHBOARDS: Final = ROOT / "grafana" / "dashboards"
RULES: Final = ROOT / "prometheus" / "rules"

Kind = Literal["range", "instant", "variable", "record", "alert"]


class Target(TypedDict):
    """A query of a panel, as far as we read it."""

    refId: str
    expr: str
    instant: bool
    legendFormat: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """One expression, macros and variables filled in.

    `dashboard`, `panel`, `ref`: where it stands; of a rule: its file, its group, its name. `kind`: how it is asked: a
    `range` query, or an `instant` one; a `variable` is an instant query whose series have the label `ref`. `step_s`:
    the least step of a range query, to which its points are aligned (a day's bar stands where the day begins).
    `exemplar`: Prometheus is asked for its exemplars too. `legend`: how a series of it is named.
    """

    dashboard: str
    panel: str
    ref: str
    expr: str
    kind: Kind
    step_s: int = 0
    exemplar: bool = False
    legend: str = ""


def all_expressions(*, rate_interval_s: int = 300, range_s: int = 3600) -> list[Expression]:
    """Those of the checked-in dashboards and rules; both times fill in the macros, each variable matches everything."""
    found: list[Expression] = []
    for path in sorted(DASHBOARDS.glob("*.json")):
        board = json.loads(path.read_text(encoding="utf-8"))
        for panel in board["panels"]:
            found += _of_panel(path.stem, panel, rate_interval_s, range_s)
        found += _of_variables(path.stem, board["templating"]["list"])
    for path in sorted(RULES.glob("*.yml")):
        found += _of_rules(path)
    return found


def fill_in(text: str, *, rate_interval_s: int = 300, range_s: int = 3600) -> str:
    """Grafana's macros and the dashboards' variables in an expression, as Grafana does it with All chosen."""
    macros: Mapping[str, str] = {
        "__rate_interval_ms": str(rate_interval_s * 1000),
        "__rate_interval": f"{rate_interval_s}s",
        "__range_s": str(range_s),
        "__range": f"{range_s}s",
    }
    return re.sub(r"\$\{?(\w+)(?::\w+)?\}?", lambda found: macros.get(found[1], ".*"), text)


def _of_panel(dashboard: str, panel: Mapping[str, object], rate_interval_s: int, range_s: int) -> Iterator[Expression]:
    for target in cast("list[Target]", panel.get("targets", [])):
        yield Expression(
            dashboard=dashboard,
            panel=str(panel["title"]),
            ref=target["refId"],
            expr=fill_in(target["expr"], rate_interval_s=rate_interval_s, range_s=range_s),
            kind="instant" if target["instant"] else "range",
            step_s=86400 if panel.get("interval") == "1d" else 0,
            exemplar=bool(target.get("exemplar")),
            legend=target["legendFormat"],
        )


def _of_variables(dashboard: str, variables: list[Mapping[str, str]]) -> Iterator[Expression]:
    for variable in variables:
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
        if asked is not None:
            expr = f"group by ({asked[2]}) ({fill_in(asked[1])})"
            yield Expression(
                dashboard=dashboard, panel=f"${variable['name']}", ref=asked[2], expr=expr, kind="variable"
            )


def _of_rules(path: Path) -> Iterator[Expression]:
    for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            kind: Kind = "record" if "record" in rule else "alert"
            yield Expression(
                dashboard=path.name, panel=group["name"], ref=rule[kind], expr=rule["expr"].strip(), kind=kind
            )
