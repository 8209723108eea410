"""`BaseCallback`: subclass it and define only the hooks that you want, sync or async."""

from typing import Any


class BaseCallback:
    """Named hooks around runs, model calls and tools; each does nothing until overridden.

    A hook takes what it names: the parameters that its docstring begins with, any of `**kwargs`, or fewer; it may be
    `async def`. Subclasses need not call `super().__init__()`: this class holds no state. An exception in a hook is
    logged once and never reaches the program; set `raise_error = True` to let it through, raise `rlm_otel.StopRun` to
    stop the run.

    Every hook's `**kwargs` carries `operation_id`, `parent_id`, `run_id` (the enclosing run), `root_id`, `trace_id`,
    `span_id` (end hooks; None without an `OTelCallback`), `model`, `agent` and `depth`.
    """

    raise_error: bool = False

    # `Any` throughout: type checkers then accept every narrower hook of a subclass.

    def on_run_start(self, *args: Any, **kwargs: Any) -> Any:
        """`(prompt: str, **kwargs)`: a run begins; `prompt` is the text of its last user message."""

    def on_run_end(self, *args: Any, **kwargs: Any) -> Any:
        """`(result: RunResult, **kwargs)`: a run ended, whatever the way.

        See `outcome`, `error`, and its sums `usage`, `cost` and `elapsed_s` (seconds).
        """

    def on_llm_start(self, *args: Any, **kwargs: Any) -> Any:
        """`(prompt: str, **kwargs)`: a model is about to be called. `messages` holds the whole prompt."""

    def on_token(self, *args: Any, **kwargs: Any) -> Any:
        """`(token: str)`: a piece of the root run's answer arrived; a run streams if some callback defines this."""

    def on_llm_end(self, *args: Any, **kwargs: Any) -> Any:
        """`(response: Response, **kwargs)`: a model call ended without a failure.

        See `outcome`, `usage`, `cost`, `elapsed_s` and `first_token_s` (seconds).
        """

    def on_tool_start(self, *args: Any, **kwargs: Any) -> Any:
        """`(tool_name: str, tool_input, **kwargs)`: a tool is about to run, with the arguments that the model wrote.

        `tool_input` is the object of their JSON text, or the text where it is none.
        """

    def on_tool_end(self, *args: Any, **kwargs: Any) -> Any:
        """`(tool_name: str, tool_output: str, **kwargs)`: a tool ended; `error` is what it raised, else None.

        `tool_output` is the text that the model is shown.
        """

    def on_retry(self, *args: Any, **kwargs: Any) -> Any:
        """`(attempt: int, max_attempts: int, error, **kwargs)`: an attempt failed and will be repeated.

        `attempt` counts from 1, `max_attempts` is how many retries there may be, `delay_s` (seconds) is the wait; the
        time that this hook takes is part of it.
        """

    def on_error(self, *args: Any, **kwargs: Any) -> Any:
        """`(error, **kwargs)`: a run or model call failed for good; called once, where it arose."""
