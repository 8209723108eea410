"""Asks the running stack: what Prometheus and Jaeger have of a service, as soon as they have it."""

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar
from urllib.parse import urlencode
from urllib.request import urlopen

from grafana.build.expressions import Expression
from rlm_otel.received import ReceivedSpan
from rlm_otel.views import promql
from rlm_otel.views.backend import Backend, Refused
from rlm_otel.views.jaeger_classic import ClassicApi
from rlm_otel.views.jaeger_v3 import V3Api
from rlm_otel.views.prometheus import Prometheus, Sample
from rlm_otel.views.traces import Api, Search
from rlm_otel.views.tree import trees

T = TypeVar("T")
_POLL_S: Final = 0.2
_MANY: Final = 1500
"""As many traces as Jaeger gives for one question."""
HOUR_S: Final = 3600


def eventually(ask: Callable[[], T], satisfied: Callable[[T], bool] = bool, timeout_s: float = 30.0) -> T:
    """The first satisfying answer; after `timeout_s` the last one, for the test to say what is wrong with it."""
    deadline = time.monotonic() + timeout_s
    while not satisfied(answer := ask()) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return answer


class Shows(Protocol):
    """A running stack that can be asked."""

    jaeger_api: str
    prometheus_api: str


class Answers:
    """What one stack says."""

    def __init__(self, stack: Shows) -> None:
        self.stack = stack
        self.prometheus = Prometheus(Backend("Prometheus", "--prometheus", 9090, stack.prometheus_api))
        jaeger = Backend("Jaeger", "--jaeger", 16686, stack.jaeger_api)
        self.classic: Api = ClassicApi(jaeger)
        self.v3: Api = V3Api(jaeger)

    def spans(self, service: str, api: Api | None = None) -> list[ReceivedSpan]:
        """All spans of a service, of the last hours, in the order in which they began."""
        now_ns = time.time_ns()
        search = Search(
            service=service,
            start_ns=now_ns - 24 * HOUR_S * 10**9,
            end_ns=now_ns + 10**9,
            depth=_MANY,
            min_duration=None,
            attributes={},
        )
        return sorted((api or self.v3).find(search), key=lambda span: (span.start_ns, span.end_ns))

    def has_trace(self, trace_id: str) -> bool:
        """Whether Jaeger has a trace, however old."""
        try:
            return bool(self.v3.trace(trace_id))
        except Refused:
            return False

    def at(self, expression: str) -> list[Sample]:
        """All series of an expression now."""
        return self.prometheus.at(time.time(), expression)

    def counted(self, counter: str, service: str, *by: str, matchers: str = "") -> dict[tuple[str, ...], float]:
        """The growth of a counter of ours in the last hour, by attributes, 0 left out; exact for short processes."""
        labels = [promql.label(name) for name in by]
        selector = f'{promql.counter(counter)}{{service_name="{service}"{matchers}}}'
        samples = self.at(promql.exact_increase(selector, "1h", labels))
        return {tuple(one.labels.get(label, "") for label in labels): one.value for one in samples if one.value}

    def values(self, expression: Expression, start_s: float, end_s: float, step_s: int) -> list[Sample]:
        """The last finite value of each series of an expression, asked as Grafana (or the rule engine) would."""
        if expression.kind in ("instant", "variable"):
            found = self.get("query", query=expression.expr, time=end_s)
        else:
            step_s = expression.step_s or step_s
            start, end = (at // step_s * step_s for at in (start_s, end_s))
            found = self.get("query_range", query=expression.expr, start=start, end=end, step=step_s)
        samples = [_last(one) for one in found["result"]]
        return [one for one in samples if one is not None]

    def exemplars(self, query: str, start_s: float, end_s: float) -> list[dict[str, str]]:
        """The labels of all exemplars that Prometheus gives for a query."""
        found = self.get("query_exemplars", query=query, start=start_s, end=end_s)
        return [exemplar["labels"] for one in found for exemplar in one["exemplars"]]

    def get(self, path: str, **parameters: object) -> Any:
        """`data` of Prometheus' answer."""
        return self._json(f"{self.stack.prometheus_api}/api/v1/{path}", parameters)["data"]

    def jaeger(self, path: str, **parameters: object) -> Any:
        """Jaeger's answer."""
        return self._json(f"{self.stack.jaeger_api}/api/{path}", parameters)

    @staticmethod
    def _json(url: str, parameters: Mapping[str, object]) -> Any:
        with urlopen(f"{url}?{urlencode(parameters)}", timeout=30) as answer:
            return json.load(answer)


def outline(spans: Iterable[ReceivedSpan]) -> str:
    """Names of spans as a tree, children in the order in which they began."""
    branches = [branch for tree in trees(spans) for branch in tree]
    return "\n".join("  " * len(branch.rails) + branch.span.name for branch in branches)


def of_service(expression: str, service: str) -> str:
    """An expression of a dashboard in which all variables are All, with this service chosen."""
    return expression.replace('service_name=~".*"', f'service_name=~"{service}"')


def _last(series: Mapping[str, Any]) -> Sample | None:
    points = [float(text) for _, text in series.get("values", [series.get("value")])]
    finite = [value for value in points if math.isfinite(value)]
    return Sample(series["metric"], finite[-1]) if finite else None
