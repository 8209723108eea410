"""Instruments, looked up once, and the recording of measurements in the context of their span."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from opentelemetry.context import Context
from opentelemetry.metrics import Meter

from rlm_otel import semconv as sc
from rlm_otel.instruments import INSTRUMENTS, OLDER_INSTRUMENTS, Instrument
from rlm_otel.measuring import Measurement
from rlm_otel.otel.in_flight import Observer, observer_of
from rlm_otel.otel.tally import tally_of
from rlm_otel.values import Attributes

Record = Callable[[int | float, Attributes | None, Context | None], None]


class Metrics:
    """All instruments of one meter. Values are recorded with the span's context: exemplars lead to the very span.

    `older`: there are to be the instruments of `older.py` too.
    """

    def __init__(self, meter: Meter, *, older: bool = False) -> None:
        self.observer: Final = observer_of(meter)
        observed = _observe(meter, self.observer)
        self._record: Final[Mapping[str, Record]] = {
            instrument.name: _recorder(meter, instrument, self.observer)
            for instrument in (*INSTRUMENTS, *(OLDER_INSTRUMENTS if older else ()))
            if instrument.name not in observed
        }

    def record(self, measurements: Iterable[Measurement], context: Context | None) -> None:
        """Records each value under its instrument."""
        record = self._record
        for measurement in measurements:
            record[measurement.instrument](measurement.value, measurement.attributes, context)

    def drop(self, reason: str) -> None:
        """Counts one item of telemetry that was not kept."""
        self._record[sc.DROPPED](1, {sc.RLM_REASON: reason}, None)


def _recorder(meter: Meter, instrument: Instrument, observer: Observer) -> Record:
    name, unit, description = instrument.name, instrument.unit, instrument.description
    match instrument.kind:
        case "counter":
            tally = tally_of(meter, name)
            meter.create_observable_counter(name, [tally.observe], unit, description)
            return tally.add
        case "up_down_counter":
            return meter.create_up_down_counter(name, unit, description).add
        case "gauge":
            tally = tally_of(meter, name)
            meter.create_observable_gauge(name, [tally.observe], unit, description)
            return tally.set
        case "histogram":
            return observer.histogram(meter, instrument).record


def _observe(meter: Meter, observer: Observer) -> set[str]:
    """Makes the instruments whose values are read at collection; gives back their names."""
    known = {instrument.name: instrument for instrument in INSTRUMENTS}
    for name, create, function in (
        (sc.ACTIVE, meter.create_observable_up_down_counter, observer.active),
        (sc.OLDEST_ACTIVE, meter.create_observable_gauge, observer.oldest_active),
        (sc.CALLBACK_FAILURES, meter.create_observable_counter, observer.callback_failures),
    ):
        create(name, [function], known[name].unit, known[name].description)
    return {sc.ACTIVE, sc.OLDEST_ACTIVE, sc.CALLBACK_FAILURES}
