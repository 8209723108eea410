"""What `bench.py` measures once: the time of an import, and the bytes that stay of each call."""

import gc
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from statistics import median


def import_ms(times: int) -> float:
    """CPU of loading what a program attaches, over the OpenTelemetry API, in new processes."""
    code = (
        "import time, opentelemetry.trace, opentelemetry.metrics, opentelemetry._logs; began = time.process_time();"
        "from rlm_otel import RLM, OTelCallback; print((time.process_time() - began) * 1000)"
    )
    return median(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(times))


def kept_bytes(calls: int, work: Callable[[int], None]) -> float:
    """What stays in memory of each call; `work` makes so many and waits until all is exported."""
    sizes = []
    tracemalloc.start()
    for _ in range(2):
        work(calls)
        gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    return (sizes[1] - sizes[0]) / calls
