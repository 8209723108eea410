"""Writes docs/telemetry.md from semconv.py and instruments.py; `--check` only says whether it is up to date."""

import ast
import itertools
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rlm_otel import semconv
from rlm_otel.content import EVENT_VARIABLE, LIMIT_BYTES, LIMIT_CHARS, MODE_VARIABLE
from rlm_otel.instruments import INSTRUMENTS, OLDER_INSTRUMENTS, Instrument
from rlm_otel.older import RENAMED, TOKENS

PAGE = Path(__file__).parents[1] / "docs" / "telemetry.md"

SPANS = """\
| span | kind | what it is |
|---|---|---|
| `invoke_agent {gen_ai.agent.name}` | INTERNAL | a run |
| `invoke_workflow {gen_ai.workflow.name}` | INTERNAL | a run that coordinates several: `run(name, workflow=True)` |
| `chat {gen_ai.request.model}` (`text_completion`, `embeddings`) | CLIENT | one call of a model, retries included |
| `fetch_response` | CLIENT | a stored response (Responses API) is read: nothing is generated, no tokens, no cost |
| `execute_tool {gen_ai.tool.name}` | INTERNAL | one execution of a tool, a REPL or a code block |

Model calls and tools are siblings under their run; a sub-run is a run under the tool or run that started it.
A span that failed or was cancelled has status ERROR and `error.type`; any other status is left unset.

| `rlm.outcome` | when | status |
|---|---|---|
| `completed` | each choice has a finish reason, or the last event came (Responses API) | unset |
| `closed` | the consumer stopped early: `break` in a `with`, `close()`, a `StopRun` | unset |
| `abandoned` | the last reference was dropped, or it was still open at shutdown | unset |
| `cancelled` | cancellation, Ctrl-C or a system exit ended it | ERROR |
| `failed` | any other exception, a stream that broke off, or a reply that says so itself (Responses API) | ERROR |
"""

SPAN_EVENTS = f"""\
- `{semconv.RETRY_EVENT}`: one attempt of a model call failed and will be repeated.
- `{semconv.EXCEPTION_EVENT}`: the exception of a failed or cancelled operation, once, where it arose. Under
  `OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN=logs` it is a log record instead.
"""

LOGS = f"""\
Each belongs to its operation's span, by trace and span id, and has the time of its end. None is made without a
destination for logs.

- `{semconv.DETAILS_LOG}` (DEBUG): inference ended, where content goes to events. It has all
  attributes of the span, and the content in structured form.
- `{semconv.OWN_DETAILS_LOG}` (DEBUG): the same of runs, tools and stored responses, where they have content.
- `{semconv.EXCEPTION_LOG}` (WARN): [the exception](#attributes-of-an-exception) of a model call, where
  `OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN` is `logs` (instead of the span event) or `logs/dup` (both).
- `{semconv.OWN_EXCEPTION_LOG}` (WARN): the same of a run or a tool.
- `{semconv.EVALUATION_LOG}`: [a score](#feedback).

`{EVENT_VARIABLE}=true` makes the first one without content too; `false` makes none of the first two, unless
`OTelCallback(content=...)` asks for them. The first two are not made for a trace that is sampled out; exceptions are.
"""

FEEDBACK = f"""\
What `rlm_otel.feedback(...)` records: the log record `{semconv.EVALUATION_LOG}` where logs are recorded, else a span
`{semconv.FEEDBACK_SPAN}` (INTERNAL, without a length) in the trace that was judged.
"""

CONTENT = f"""\
Off by default. `{MODE_VARIABLE}`
(`SPAN_ONLY`, `EVENT_ONLY`, `SPAN_AND_EVENT`) or `OTelCallback(content=...)` switches it on; on events it is in the log
records `{semconv.DETAILS_LOG}` and `{semconv.OWN_DETAILS_LOG}`.

- Each text passes the built-in redaction (API keys, bearer tokens, passwords, private keys), then the `redact`
  function. A text that the function drops, or fails on, is left out.
- One attribute holds at most {LIMIT_CHARS} characters, and {LIMIT_BYTES} bytes. Longer prompts lose their oldest
  messages first (never the system prompt); then texts are cut, with `...` where something is missing. What is left is
  always valid JSON.
- Media do not leave: base64 becomes `{{"type": "uri", "modality": "image", "uri": "sha256:<hex of its bytes>"}}`.
- Arguments and results of tools are objects: their own where the text is one, else `{{"value": ...}}`.
- The text of an error may quote a prompt, so it is content too: with content off, a failure tells its class, HTTP
  status, code and request id only.
"""


@dataclass(frozen=True)
class Attribute:
    """An attribute as its docstring in semconv.py describes it."""

    name: str
    type: str
    places: tuple[str, ...]
    meaning: str


def attributes() -> Iterator[Attribute]:
    """All attributes, in the order of semconv.py: those constants whose docstring says `type; places. Meaning`."""
    body = ast.parse(Path(semconv.__file__).read_text(encoding="utf-8")).body
    for constant, following in itertools.pairwise(body):
        match constant, following:
            case ast.AnnAssign(value=ast.Constant(str(name))), ast.Expr(ast.Constant(str(text))):
                described = re.fullmatch(r"([^;]+); ([a-z ]+)\. (.+)", " ".join(text.split()))
                if described is not None:
                    yield Attribute(name, described[1], tuple(described[2].split()), described[3])


def page() -> str:
    """The whole page."""
    known = list(attributes())
    sections = [
        "# Telemetry\n\nEverything that is emitted. Generated by `scripts/telemetry_docs.py`; do not edit.\n\n"
        f"Instrumentation scope `{semconv.SCOPE}`, schema `{semconv.SCHEMA_URL}`.\nNames under `gen_ai.`, `openai.`, "
        "`server.`, `error.` and `exception.` follow the OpenTelemetry\nGenAI conventions as of 2026-10-09; names "
        "under `rlm.` are ours. Durations are in seconds. What is not known is left out, never 0 or empty.\n",
        f"## Spans\n\n{SPANS}",
    ]
    for place, title in (
        ("run", "Attributes of a run"),
        ("model", "Attributes of a model call"),
        ("tool", "Attributes of a tool call"),
    ):
        sections.append(f"### {title}\n\n{_table(known, place)}")
    sections.append(f"## Span events\n\n{SPAN_EVENTS}")
    sections.append(f"### Attributes of `{semconv.RETRY_EVENT}`\n\n{_table(known, 'retry')}")
    sections.append(f"### Attributes of an exception\n\n{_table(known, 'exception')}")
    sections.append(f"## Log records\n\n{LOGS}")
    sections.append(f"## Feedback\n\n{FEEDBACK}\n{_table(known, 'feedback')}")
    sections.append(f"## Content\n\n{CONTENT}")
    sections.append(f"## Metrics\n\n{_metrics()}")
    sections.append(f"### Older names\n\n{_older()}")
    sections.append(f"### Attributes that only metrics have\n\n{_table(known, 'metric')}")
    return "\n".join(sections)


def _table(known: list[Attribute], place: str) -> str:
    rows = [f"| `{item.name}` | {item.type} | {item.meaning} |\n" for item in known if place in item.places]
    return "| attribute | type | meaning |\n|---|---|---|\n" + "".join(rows)


def _metrics() -> str:
    rows = "".join(map(_row, INSTRUMENTS))
    return (
        "| metric | instrument, unit | what it measures | attributes |\n|---|---|---|---|\n" + rows + "\n"
        "Declared labels (`OTelCallback(labels=...)`) are on `rlm.client.*` and `rlm.run.*` as well. Buckets:\n\n"
        + "".join(f"- `{item.name}`: {_numbers(item)}\n" for item in INSTRUMENTS if item.buckets is not None)
    )


def _older() -> str:
    renamed = "".join(f"| `{older}` | `{latest}` |\n" for latest, older in RENAMED.items())
    tokens = ", ".join(f"`{item.name}`" for item in INSTRUMENTS if item.name in TOKENS)
    return (
        '`OTelCallback(semconv="legacy")` records model calls under the names that the conventions had before, for\n'
        'dashboards that were built on those; `semconv="both"` records these and the latest, each value twice. What\n'
        "never had another name is the same either way. Spans and log records have the latest names always.\n\n"
        "| older | latest |\n|---|---|\n" + renamed + f"| `{semconv.OLDER_TOKEN_USAGE}` | {tokens} |\n\n"
        "| metric | instrument, unit | what it measures | attributes |\n|---|---|---|---|\n"
        + "".join(map(_row, OLDER_INSTRUMENTS))
        + f"\nThe buckets are those of the latest. `{semconv.OLDER_TOKEN_USAGE}` has the input of embeddings too.\n"
    )


def _row(item: Instrument) -> str:
    names = ", ".join(f"`{name}`" for name in item.attributes)
    return f"| `{item.name}` | {item.kind.replace('_', '-')}, `{item.unit}` | {item.description} | {names} |\n"


def _numbers(item: Instrument) -> str:
    return ", ".join(f"{bucket:.10g}" for bucket in item.buckets or ())


def main(arguments: list[str]) -> int:
    """Writes the page, or with `--check` compares it."""
    text = page()
    if "--check" not in arguments:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(text, encoding="utf-8", newline="\n")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
        return 0
    print(f"{PAGE.name} is out of date; run: python scripts/telemetry_docs.py", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
