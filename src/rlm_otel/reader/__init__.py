"""The one reader of the OpenAI SDK's requests, replies, chunks and errors; it knows the SDK's shapes, not the SDK."""

from rlm_otel.reader.chunks import ChunkReader
from rlm_otel.reader.failure import error_type, read_failure, retry_after
from rlm_otel.reader.reply import read_cost, read_rate_limits, read_reply, read_usage
from rlm_otel.reader.request import read_messages, read_request, read_tools
from rlm_otel.reader.surfaces import Asked, StreamReader, Surface, surface_of
from rlm_otel.reader.vendor import provider_of

__all__ = [
    "Asked",
    "ChunkReader",
    "StreamReader",
    "Surface",
    "error_type",
    "provider_of",
    "read_cost",
    "read_failure",
    "read_messages",
    "read_rate_limits",
    "read_reply",
    "read_request",
    "read_tools",
    "read_usage",
    "retry_after",
    "surface_of",
]
