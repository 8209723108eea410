"""The logging filter: ids of the current span on the application's own records."""

import io
import logging

import pytest

from rlm_otel.logs import TraceContextFilter


@pytest.mark.parametrize(("ids", "expected"), [(("4bf9", "00f0"), "4bf9 00f0 да\n"), (None, "- - да\n")])
def test_log_records_carry_the_ids(ids: tuple[str, str] | None, expected: str) -> None:
    """The application's own lines can be found from the trace; outside of a span they carry dashes."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(TraceContextFilter(lambda: ids))
    handler.setFormatter(logging.Formatter("%(trace_id)s %(span_id)s %(message)s"))
    handler.handle(logging.makeLogRecord({"msg": "да"}))
    assert stream.getvalue() == expected


def test_a_failing_source_of_ids_harms_no_log_line() -> None:
    """The record passes with dashes."""

    def source() -> tuple[str, str]:
        raise RuntimeError("no ids today")

    record = logging.makeLogRecord({"msg": "x"})
    assert TraceContextFilter(source).filter(record) is True
    assert record.__dict__["trace_id"] == "-"
