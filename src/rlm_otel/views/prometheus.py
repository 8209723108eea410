"""Prometheus' HTTP API: values at one time, and times at which there is a value."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict, cast

from rlm_otel.views.backend import Backend, ViewError
from rlm_otel.views.durations import seconds_of

_PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A series at one time."""

    labels: Mapping[str, str]
    value: float


class _Series(TypedDict):
    metric: dict[str, str]
    value: tuple[float, str]
    """In the answer to an instant query."""
    values: list[tuple[float, str]]
    """In that to a range query."""


class Prometheus:
    """Asks one Prometheus, and collects the warnings that come with its answers."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.warnings: list[str] = []

    def at(self, time_s: float, expression: str) -> list[Sample]:
        """All series of an expression at a time."""
        series = self._result("/api/v1/query", "vector", {"query": expression, "time": f"{time_s:.3f}"})
        try:
            return [Sample(it["metric"], float(it["value"][1])) for it in series]
        except (LookupError, TypeError, ValueError):
            raise self._backend.strange() from None

    def times(self, expression: str, start_s: float, end_s: float, step_s: int) -> set[int]:
        """Which of the steps from the start on have a value, by their number."""
        span = {"start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": str(step_s)}
        series = self._result("/api/v1/query_range", "matrix", {"query": expression, **span})
        try:
            return {round((time_s - start_s) / step_s) for it in series for time_s, _ in it["values"]}
        except (LookupError, TypeError, ValueError):
            raise self._backend.strange() from None

    def retention_s(self) -> float | None:
        """How long it keeps samples; None where it does not say, or keeps them by size alone."""
        try:
            answer = self._backend.ask("/api/v1/status/runtimeinfo", {})
        except ViewError:  # others that speak its API do not have this
            return None
        match answer:
            case {"data": {"storageRetention": str(text)}}:  # "15d", "40d or 4GiB"
                return seconds_of(text.partition(" or ")[0])
        return None

    def _result(self, path: str, kind: str, parameters: Mapping[str, str]) -> list[_Series]:
        answer = self._backend.ask(path, parameters, timeout_s=_PATIENCE_S)
        match answer:
            case {"status": "success", "data": {"resultType": str(got), "result": list(result)}} if got == kind:
                said = cast("dict[str, list[str]]", answer).get("warnings") or []
                self.warnings += [str(it) for it in said if it not in self.warnings]
                return cast("list[_Series]", result)
        raise self._backend.strange()
