"""The adapter for the openai SDK: what an application's own clients ask becomes model calls."""

from rlm_otel.adapters.openai.client import instrument_openai
from rlm_otel.adapters.openai.handle import Handle

__all__ = ["Handle", "instrument_openai"]
