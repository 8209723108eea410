"""What our instruments and attributes are called in Prometheus: translated from `instruments.py`, never typed anew."""

from typing import Final

from rlm_otel import semconv as sc
from rlm_otel.instruments import INSTRUMENTS, Instrument
from rlm_otel.views.promql import label

_BY_NAME: Final = {item.name: item for item in INSTRUMENTS}

SERVICE: Final = "service_name"
ENVIRONMENT: Final = "deployment_environment_name"
RESOURCE_LABELS: Final = (SERVICE, ENVIRONMENT)
"""Resource attributes that prometheus.yml promotes to labels of every metric."""


def series(name: str, suffix: str = "") -> str:
    """The series of an instrument; a histogram has three: `suffix` is `_bucket`, `_sum` or `_count`."""
    item = _BY_NAME[name]
    if (item.kind == "histogram") != bool(suffix):
        msg = f"{name} is a {item.kind}: a histogram, and only a histogram, is asked for with a suffix."
        raise ValueError(msg)
    return _base(item) + suffix


def _base(item: Instrument) -> str:
    # Units in braces are dropped, a monotonic sum ends in `_total`.
    unit = "_seconds" if item.unit == "s" else ""
    return label(item.name) + unit + ("_total" if item.kind == "counter" else "")


def labels_by_series() -> dict[str, frozenset[str]]:
    """Each series that we emit, with the labels it may carry; declared labels (`rlm_label_<key>`) are not listed."""
    known: dict[str, frozenset[str]] = {}
    for item in INSTRUMENTS:
        labels = frozenset(map(label, item.attributes)) | set(RESOURCE_LABELS) | {"job", "instance"}
        if item.kind == "histogram":
            known[_base(item) + "_bucket"] = labels | {"le"}
            known[_base(item) + "_sum"] = known[_base(item) + "_count"] = labels
        else:
            known[_base(item)] = labels
    return known


PROVIDER: Final = label(sc.PROVIDER_NAME)
MODEL: Final = label(sc.REQUEST_MODEL)
AGENT: Final = label(sc.AGENT_NAME)
TOOL: Final = label(sc.TOOL_NAME)
ERROR: Final = label(sc.ERROR_TYPE)
OUTCOME: Final = label(sc.RLM_OUTCOME)
REASON: Final = label(sc.RLM_REASON)
KIND: Final = label(sc.RLM_RATELIMIT_KIND)
COST_SOURCE: Final = label(sc.RLM_COST_SOURCE)
TEAM: Final = label(f"{sc.RLM_LABEL}.team")
FEATURE: Final = label(f"{sc.RLM_LABEL}.feature")
