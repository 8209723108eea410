"""Writes docs/behaviours.md: of each of the 110 behaviours the tests that hold it; `--check` only compares."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "behaviours.md"
NAME: Final = re.compile(r"test_s(\d+)_\w+")

CHAPTERS: Final = (
    (1, "Tokens and cost"),
    (16, "Streams"),
    (36, "Time to the first token"),
    (41, "Errors and cancellation"),
    (53, "Retries"),
    (57, "Raw responses and arguments"),
    (65, "Content"),
    (75, "Context and parents"),
    (83, "Metrics"),
    (89, "Isolation"),
    (92, "Callbacks"),
    (98, "Delivery"),
    (105, "Runs and nesting"),
)

ALSO: Final[dict[int, tuple[str, ...]]] = {
    6: ("test_attach_errors::test_s1_usage_of_a_clients_call",),
    7: ("test_attach_errors::test_s3_usage_that_is_missing_stays_absent",),
    10: (
        "test_attach_errors::test_s1_usage_of_a_clients_call",
        "test_attach_numbers::test_s2_cached_tokens_of_a_call_are_counted_once",
    ),
    12: ("test_attach_numbers::test_s2_cached_tokens_of_a_call_are_counted_once",),
    20: ("test_attach_streams::test_s18_a_dropped_stream_of_a_client_is_abandoned",),
    37: ("test_attach_errors::test_s36_the_prelude_of_a_clients_stream_is_no_token",),
    38: (
        "test_attach_errors::test_s36_the_prelude_of_a_clients_stream_is_no_token",
        "test_attach_numbers::test_s37_the_first_token_of_a_client_is_the_first_that_was_generated",
    ),
    49: ("test_attach_numbers::test_s48_the_status_of_a_call_goes_with_its_error_type",),
    58: (
        "test_attach_streams::test_s16_a_drained_stream_of_a_client_is_completed",
        "test_attach_errors::test_s40_first_chunk_once_and_every_gap",
    ),
    69: ("test_attach_content::test_s68_a_long_chat_of_a_client_is_one_attribute",),
    71: ("test_content::test_no_value_is_longer_than_a_back_end_takes",),
    79: (
        "test_observed_generators::test_s77_a_block_in_an_async_generator_that_is_closed_elsewhere",
        "test_observed_generators::test_s77_a_generator_closed_in_another_task_or_thread",
    ),
    87: (
        "test_dashboards::test_every_expression_is_promql_over_what_we_emit",
        "stack/test_stack_expressions::test_every_panel_and_variable_returns_data",
        "stack/test_stack_expressions::test_every_recording_rule_is_recorded",
    ),
    88: ("test_attach_content::test_s72_a_call_that_is_not_sampled_is_not_serialised",),
    98: (
        "test_telemetry::test_shutdown_is_bounded_with_a_hanging_collector",
        "test_telemetry::test_the_exit_is_bounded_with_a_hanging_collector",
    ),
    101: (
        "test_telemetry::test_a_forked_child_delivers_under_its_own_instance_id",
        "test_otel_callback::test_a_forked_child_does_not_end_its_parents_spans",
    ),
    104: ("test_doctor::test_trouble_is_told_in_plain_words", "test_doctor::test_half_is_not_enough"),
}
"""Tests that hold a behaviour and are named after another one, or after none."""
LATER: Final = {
    9: "An answer from a cache of the application's is no call; adapters of frameworks that have a cache.",
    70: "A history that fits into the bound of a span is recorded with each call that sends it.",
    71: "Batches that are too large for the network are split.",
    97: "`make bench` measures it; no test holds a number.",
    98: "Lost data is counted, and a status call shows it.",
    99: "A spool on disk.",
    100: "One warning where a queue is full.",
    103: "Metrics leave every 15 seconds and spans in batches; no test waits for that.",
    109: "Adapters of libraries whose hooks have no id.",
}
"""What is not there yet, or is held by no test; where tests are listed as well, only this part."""

INTRO: Final = """\
# Behaviours

What the package does when things go well and when they do not, each line held by the tests named beside it. The numbers
are those of the list of 110 behaviours that we build against; what comes later is said as well.
Generated from the tests by `scripts/behaviours_docs.py`; run it after a change.
"""


class Behaviour(NamedTuple):
    """One test that holds it; without a test, what comes later."""

    number: int
    test: str
    says: str

    @property
    def row(self) -> str:
        """The line of the table."""
        return f"| {self.number} | {self.says.replace('|', '/')} | {f'`{self.test}`' if self.test else 'comes later'} |"


def behaviours() -> list[Behaviour]:
    """All of them, by number: the tests that are named after it, others, and what comes later. KeyError for no test."""
    said = {name: says for path in sorted((ROOT / "tests").rglob("test_*.py")) for name, says in _tests(path)}
    named = [(int(match[1]), name) for name in said if (match := NAME.fullmatch(name.partition("::")[2]))]
    also = [(number, name) for number, names in ALSO.items() for name in names]
    found = [Behaviour(number, name, said[name]) for number, name in named + also]
    found += [Behaviour(number, "", what) for number, what in LATER.items()]
    return sorted(found, key=lambda behaviour: behaviour.number)


def _tests(path: Path) -> Iterator[tuple[str, str]]:
    """Name and docstring of each test of a file."""
    where = path.relative_to(ROOT / "tests").with_suffix("").as_posix()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{where}::{node.name}", " ".join((ast.get_docstring(node) or "").split())


def page() -> str:
    """The page's text."""
    lines = [INTRO]
    chapters = list(CHAPTERS)
    for behaviour in behaviours():
        while chapters and chapters[0][0] <= behaviour.number:
            title = chapters.pop(0)[1]
            if chapters and chapters[0][0] <= behaviour.number:
                continue
            lines.append(f"\n## {title}\n\n| # | behaviour | test |\n|--:|---|---|")
        lines.append(behaviour.row)
    return "\n".join(lines) + "\n"


def main() -> int:
    """Writes the page, or with `--check` compares it."""
    text = page()
    if "--check" in sys.argv[1:]:
        if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        print("docs/behaviours.md is stale: run scripts/behaviours_docs.py", file=sys.stderr)
        return 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
