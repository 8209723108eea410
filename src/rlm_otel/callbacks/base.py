"""`BaseCallback`: subclass it and define only the hooks that you want, sync or async."""

from rlm_otel.callbacks.response import Response
from rlm_otel.events import RunResult


class BaseCallback:
    """Named hooks around runs, model calls and tools; each does nothing until overridden.

    Hooks may take fewer parameters than shown (they are bound by name), may be `async def`, and subclasses need not
    call `super().__init__()`: this class holds no state. An exception in a hook is logged once and never reaches the
    program; set `raise_error = True` to let it through, raise `rlm_otel.StopRun` to stop the run.

    Every hook's `**kwargs` carries `operation_id`, `parent_id`, `run_id` (the enclosing run), `root_id`,
    `trace_id`, `span_id` (end hooks; None without an `OTelCallback`), `model`, `agent` and `depth`.
    """

    raise_error: bool = False

    def on_run_start(self, prompt: str, **kwargs: object) -> object:
        """A run begins. `prompt` is the text of its last user message; `messages` has them all."""

    def on_run_end(self, result: RunResult, **kwargs: object) -> object:
        """A run ended, whatever the way: see `outcome`, `error` and its sums `usage`, `cost`, `elapsed_s` (seconds)."""

    def on_llm_start(self, prompt: str, **kwargs: object) -> object:
        """A model is about to be called. `messages` holds the whole prompt as `rlm_otel.messages.Message`s."""

    def on_token(self, token: str) -> object:
        """A piece of the root run's answer arrived; a run streams if some callback defines this."""

    def on_llm_end(self, response: Response, **kwargs: object) -> object:
        """A model call ended without a failure: `outcome`, `usage`, `cost`, `elapsed_s` (seconds), `first_token_s`."""

    def on_tool_start(self, tool_name: str, tool_input: object, **kwargs: object) -> object:
        """A tool is about to run. `tool_input` holds its arguments as the model wrote them: an object, or text."""

    def on_tool_end(self, tool_name: str, tool_output: str, **kwargs: object) -> object:
        """A tool ended; `error` is what it raised, else None. `tool_output` is the text that the model is shown."""

    def on_retry(self, attempt: int, max_attempts: int, error: BaseException, **kwargs: object) -> object:
        """Attempt `attempt` (from 1) failed and will be repeated in `delay_s` seconds, at most `max_attempts` times.

        The time that this hook takes is part of the wait.
        """

    def on_error(self, error: BaseException, **kwargs: object) -> object:
        """A run or model call failed for good; called once, where it arose."""
