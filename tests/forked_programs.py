"""Runs programs one by one, each in a process of its own that need not import the big packages anew.

They are imported here, once; nothing of rlm_otel is. Reads jobs from stdin, a JSON object a line, each with a folder
that has a program.py and what the environment says besides; writes stdout.txt and stderr.txt there, and the exit code
to stdout, a line each.
"""

import gc
import json
import os
import sys
from pathlib import Path

import genai_prices  # noqa: F401
import openai
import opentelemetry.exporter.otlp.proto.http.trace_exporter
import opentelemetry.sdk.trace  # noqa: F401


def main() -> None:
    """Forks for each program; only the child comes to `exec`, and leaves as an interpreter does."""
    with openai.OpenAI(api_key="any") as client:
        _ = client.chat.completions  # loaded when first asked for
    gc.freeze()  # else each child's first collection copies all of it
    while line := sys.stdin.readline():
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            become(job["directory"], job["environ"])
            return
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def become(directory: str, environ: dict[str, str]) -> None:
    """Runs the program of this folder as `__main__`."""
    os.chdir(directory)
    os.environ.update(environ)
    for descriptor, name in ((1, "stdout.txt"), (2, "stderr.txt")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), descriptor)
    sys.argv = ["program.py"]
    sys.path[0] = directory
    main_module = sys.modules["__main__"].__dict__
    source = Path("program.py").read_text(encoding="utf-8")
    exec(compile(source, "program.py", "exec"), main_module)


if __name__ == "__main__":
    main()
