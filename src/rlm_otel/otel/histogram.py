"""Histograms whose series are looked up once: most of the price of the SDK's `record` is to find the series again."""

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from opentelemetry.context import Context
from opentelemetry.metrics import Histogram

from rlm_otel.values import Attributes

_MOST_KNOWN: Final = 256


class _Measurement(NamedTuple):
    """What the SDK's aggregations read of a measurement; its own class cleans attributes that are clean already."""

    value: int | float
    time_unix_nano: int
    instrument: Histogram
    context: Context
    attributes: Attributes


_Storages = Mapping[Any, Any]
"""The SDK's, by reader: another object whenever a reader comes or goes."""


class _Series(NamedTuple):
    """Where the values of one series go; `aggregations` is None for one that has to take the public way."""

    attributes: Attributes
    storages: _Storages
    aggregations: tuple[Callable[[_Measurement, bool], None], ...] | None


class FastHistogram:
    """Records as the SDK's `Histogram.record` does; a series that was met before goes straight to its aggregations.

    They are found by names that are private to the SDK. Where one of these is missing, or something is unusual (deltas,
    a view that drops attributes, too many series, no SDK), each record takes the public way.
    Attributes are never changed once they were given: the very same object is the same series.
    """

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._consumer: Any = getattr(histogram, "_measurement_consumer", None)
        self._known: dict[int, _Series] = {}
        """By the id of the attributes, which a series holds so that it stays theirs."""

    def record(self, value: int | float, attributes: Attributes | None = None, context: Context | None = None) -> None:
        """Records a value; the context is for its exemplar."""
        series = self._known.get(id(attributes))
        if series is None or series.storages is not self._consumer._reader_storages:
            self._histogram.record(value, attributes, context)
            if attributes is not None and self._consumer is not None:
                self._learn(attributes)
        elif series.aggregations is None or context is None or not self._is_recorded(value):
            self._histogram.record(value, attributes, context)
        else:
            now = time.time_ns()
            sampled = self._consumer._sdk_config.exemplar_filter.should_sample(value, now, attributes, context)
            measurement = _Measurement(value, now, self._histogram, context, series.attributes)
            for aggregate in series.aggregations:
                aggregate(measurement, sampled)

    def _is_recorded(self, value: float) -> bool:
        enabled: bool = self._histogram._is_enabled()  # type: ignore[attr-defined]  # the SDK's, not the API's
        return enabled and value >= 0 and math.isfinite(value)

    def _learn(self, attributes: Attributes) -> None:
        """Finds where the value of this series, recorded just now, went."""
        try:
            self._histogram._is_enabled  # type: ignore[attr-defined]  # noqa: B018 - missing in older SDKs
            self._consumer._sdk_config.exemplar_filter.should_sample  # noqa: B018
            storages = self._consumer._reader_storages
            found = list(_aggregations(self._histogram, storages, attributes))
        except (AttributeError, ImportError):
            self._consumer = None  # another SDK than the one that this was written for
            self._known.clear()
            return
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        usual = tuple(aggregate for aggregate in found if aggregate is not None)
        self._known[id(attributes)] = _Series(attributes, storages, usual if len(usual) == len(found) else None)


def _aggregations(
    histogram: Histogram, storages: _Storages, attributes: Attributes
) -> Iterator[Callable[[_Measurement, bool], None] | None]:
    """What adds up the series, one a reader and view; None where it is unusual."""
    from opentelemetry.sdk.metrics._internal._view_instrument_match import _hash_attributes

    key = _hash_attributes(dict(attributes))
    for storage in storages.values():
        for match in storage._get_or_init_view_instrument_match(histogram):
            if match._reset_on_collect or match._view._attribute_keys is not None:
                yield None
            else:
                yield getattr(match._attributes_aggregation.get(key), "aggregate", None)
