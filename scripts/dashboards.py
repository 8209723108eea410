"""Writes grafana/dashboards/*.json from grafana/build; `--check` only says whether they are up to date."""

import json
import sys
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from grafana.build import cost, llm_overview, reliability, runs_tools  # noqa: E402 - found through the line above

FOLDER = ROOT / "grafana" / "dashboards"
BUILDS = {
    "llm-overview": llm_overview.build,
    "runs-tools": runs_tools.build,
    "reliability": reliability.build,
    "cost": cost.build,
}


def texts() -> dict[str, str]:
    """The text of each file, by its name."""
    return {
        f"{name}.json": json.dumps(build(), cls=JSONEncoder, indent=2, ensure_ascii=False) + "\n"
        for name, build in BUILDS.items()
    }


def main(arguments: list[str]) -> int:
    """Writes the files, or with `--check` compares them."""
    made = texts()
    if "--check" not in arguments:
        FOLDER.mkdir(parents=True, exist_ok=True)
        for name, text in made.items():
            (FOLDER / name).write_text(text, encoding="utf-8", newline="\n")
        return 0
    found = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.json")}
    stale = sorted(name for name in made.keys() | found.keys() if made.get(name) != found.get(name))
    if stale:
        print(f"out of date: {', '.join(stale)}; run: python scripts/dashboards.py", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
