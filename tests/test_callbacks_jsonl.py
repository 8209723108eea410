"""`JSONLLogger`: one valid JSON object a line, whatever the content and whoever else writes to the file."""

import json
from pathlib import Path

import pytest

import rlm_otel
from rlm_otel.ambient import attributes
from rlm_otel.callbacks import JSONLLogger
from rlm_otel.errors import LimitReached
from rlm_otel.events import Link, ModelCall, Started
from rlm_otel.fence import failures, forget_failures
from rlm_otel.messages import Message, Text
from tests.callback_rig import CHAT, RUN, Refused, Rig

Entry = dict[str, object]


def entries(path: Path) -> list[Entry]:
    """The file's lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "журнал.jsonl"


def test_a_run_as_lines(path: Path) -> None:
    """The tutorial's names and fields, then who and where."""
    with JSONLLogger(path) as logger:
        rig = Rig(logger)
        with attributes(team="поиск"), rig.run(agent="кот") as run:
            rig.call(run, seconds=0.5)
            rig.tool(run)
    common = {"run_id": "op-1", "depth": 0, "agent": "кот", "labels": {"team": "поиск"}}
    call = {"operation_id": "op-2", "parent_id": "op-1", **common, "model": "gpt-4o", "provider": "openai", "turn": 1}
    tool = {"operation_id": "op-3", "parent_id": "op-1", **common, "tool_call_id": "call_1", "turn": 1}
    usage = {"input_tokens": 10, "output_tokens": 35, "cache_read_tokens": 4, "reasoning_tokens": 5}
    sums = {"outcome": "completed", "elapsed_s": 0.5, "usage": usage, "cost": 0.00037, "cost_source": "local"}
    started, ended = "2023-11-14T22:13:20.000000+00:00", "2023-11-14T22:13:20.500000+00:00"
    assert entries(path) == [
        {
            "timestamp": started,
            "event": "run_start",
            "prompt": "Привет!",
            "operation_id": "op-1",
            **common,
            "model": "gpt-4o",
            "provider": "openai",
        },
        {"timestamp": started, "event": "llm_start", "prompt": "Привет!", **call},
        {
            "timestamp": ended,
            "event": "llm_end",
            "tokens": 45,
            "response": "Хорошо 🐱",
            **sums,
            "attempts": 1,
            "finish_reason": "stop",
            **call,
        },
        {"timestamp": ended, "event": "tool_start", "tool": "search", "input": '{"q": "кот"}', **tool},
        {
            "timestamp": ended,
            "event": "tool_end",
            "tool": "search",
            "output": "мяу",
            "outcome": "completed",
            "elapsed_s": 0.0,
            **tool,
        },
        {
            "timestamp": ended,
            "event": "run_end",
            "response": "Ответ",
            "inference_calls": 1,
            "tool_calls": 1,
            **sums,
            "operation_id": "op-1",
            **common,
            "model": "gpt-4o",
            "provider": "openai",
        },
    ]


def test_lines_carry_the_ids_of_the_spans(path: Path) -> None:
    """So that a line leads to its trace."""

    class Tracer:
        def begin(self, started: Started, /) -> Link:
            return Link("0" * 31 + "1", "0" * 15 + "2")

        def current(self, link: Link, /) -> object: ...

        def suppressed(self) -> object: ...

        def on_event(self, event: object, /) -> None: ...

    with JSONLLogger(path) as logger:
        Rig(Tracer(), logger).call(None)
    assert [(e["trace_id"], e["span_id"]) for e in entries(path)] == [("0" * 31 + "1", "0" * 15 + "2")] * 2


def test_s105_lines_name_the_template_and_the_workflow(path: Path) -> None:
    """The prompt's name and version on what is made of it, the workflow's name on its own lines."""
    with JSONLLogger(path) as logger:
        with rlm_otel.prompt("greeting", "3"), rlm_otel.run("night", workflow=True, callbacks=[logger]):
            with rlm_otel.llm_call(provider="ollama", model="qwen3") as call:
                call.finish("Привет")
    named = {"prompt_name": "greeting", "prompt_version": "3"}
    assert [{name: entry.get(name) for name in named} for entry in entries(path)] == [named] * 4
    assert [entry.get("workflow") for entry in entries(path)] == ["night", None, None, "night"]


def test_failures_and_retries(path: Path) -> None:
    """A failed call is one `error` line, and not another one for each run that it leaves."""
    with JSONLLogger(path) as logger:
        rig = Rig(logger)
        error = Refused("слишком часто: sk-abcdefgh12345678")
        run = rig.begin(RUN)
        rig.tool(run, error=ValueError("нет города"))
        call = rig.begin(CHAT, run)
        rig.emitter.retry(call.retrying(1, 2, error, 0.5), None)
        call.finish(error)
        run.finish(error)
        with pytest.raises(LimitReached), rig.run():
            raise LimitReached("хватит")
    known = {"error_type": "tests.callback_rig.Refused", "status": 429, "code": "rate_limit_exceeded"}
    refused = {"error": "слишком часто: [redacted]", **known, "request_id": "req_1"}
    lines = entries(path)
    assert [e["event"] for e in lines] == [
        "run_start",
        "tool_start",
        "tool_end",
        "llm_start",
        "retry",
        "error",
        "run_end",
        "run_start",
        "error",
        "run_end",
    ]
    assert (lines[2]["error"], lines[2]["outcome"]) == ("нет города", "failed")
    assert lines[4].items() >= {"attempt": 1, "max_attempts": 2, "delay_s": 0.5, **refused}.items()
    assert lines[5].items() >= {"outcome": "failed", "operation_id": "op-3", **refused}.items()
    assert lines[6].items() >= {"outcome": "failed", "operation_id": "op-1", **refused}.items()
    assert (lines[8]["error"], lines[8]["error_type"]) == ("хватит", "rlm_otel.errors.LimitReached")


def test_without_content_no_text_is_written(path: Path) -> None:
    """Of an error its class, status, code and request id remain."""
    with JSONLLogger(path, content=False) as logger:
        rig = Rig(logger)
        with rig.run() as run:
            rig.call(run)
            rig.tool(run, error=ValueError("секрет"))
            with pytest.raises(Refused):
                rig.call(run, error=Refused("секрет"))
    text = path.read_text(encoding="utf-8")
    assert not [word for word in ("Привет", "Хорошо", "кот", "мяу", "секрет", "Ответ") if word in text]
    assert entries(path)[6]["error"] == "tests.callback_rig.Refused"
    assert entries(path)[6]["request_id"] == "req_1"


def test_texts_are_redacted_then_cut(path: Path) -> None:
    """A secret that the cut would leave half of is gone before; a hook that fails drops the text."""
    forget_failures()

    def hook(text: str) -> str | None:
        if "мяу" in text:
            raise RuntimeError("hook is broken")
        return text.replace("Иван", "[имя]")

    with JSONLLogger(path, limit=20, redact=hook) as logger:
        rig = Rig(logger)
        prompt = (Message("user", (Text("Иван: sk-abcdefgh12345678 и ещё много слов"),)),)
        rig.call(None, operation=ModelCall(provider="openai", model="gpt-4o", messages=prompt))
        rig.tool(None)
    lines = entries(path)
    assert lines[0]["prompt"] == "[имя]: [redacted]..."
    assert "output" not in lines[3]
    assert sum(count for (_, where), count in failures().items() if where == "redact") == 1
    forget_failures()


@pytest.mark.parametrize("text", ["a\nb\r\n\x00\x1b[2J", "\ud83d", "\u2028\u2029\x85\x9b", '"}{\\', "🐱" * 300])
def test_any_content_is_one_valid_line(path: Path, text: str) -> None:
    """Also for readers that take other characters for line ends."""
    with JSONLLogger(path, limit=1000) as logger:
        Rig(logger).call(None, text=text)
    data = path.read_bytes()
    assert len(data.decode().splitlines()) == data.count(b"\n") == 2
    assert entries(path)[1]["response"] == text.replace("\ud83d", "?")


def test_text_is_readable(path: Path) -> None:
    """Cyrillic and emoji are written as they are."""
    with JSONLLogger(path) as logger:
        Rig(logger).call(None)
    assert '"response": "Хорошо 🐱"' in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [{"content": "none"}, {"limit": 0}, {"redact": "x"}])
def test_arguments_that_make_no_sense_are_errors(path: Path, arguments: dict[str, object]) -> None:
    """They name themselves, and no file is made."""
    with pytest.raises(ValueError, match=next(iter(arguments))):
        JSONLLogger(path, **arguments)  # type: ignore[arg-type]  # the point of the test
    assert not path.exists()
