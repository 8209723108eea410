"""Model calls under the older metric names of the conventions, for dashboards that were built on those."""

from collections.abc import Iterator
from typing import Final, Literal, get_args

from rlm_otel import semconv as sc
from rlm_otel.events import Finished, ModelCall
from rlm_otel.measuring import Measurement, served
from rlm_otel.outcome import Reply

Semconv = Literal["legacy", "both", "latest"]
"""Which metric names are recorded: the older ones, both, or those of the conventions as they are now."""
SEMCONVS: Final[tuple[Semconv, ...]] = get_args(Semconv)

RENAMED: Final = {
    sc.INFERENCE_DURATION: sc.OPERATION_DURATION,
    sc.INFERENCE_FIRST_CHUNK: sc.OLDER_FIRST_CHUNK,
    sc.INFERENCE_CHUNK: sc.OLDER_CHUNK,
}
"""What is the same under another name."""
TOKENS: Final = frozenset({sc.INPUT_TOKENS, sc.OUTPUT_TOKENS, sc.CALL_INPUT_TOKENS, sc.CALL_OUTPUT_TOKENS})
"""What was one histogram of calls, input and output apart; it had embeddings in it."""


def under(semconv: Semconv, finished: Finished, latest: list[Measurement]) -> list[Measurement]:
    """The measurements of an operation's end, given the latest ones, by the names that were asked for.

    Under `legacy` what has no older name (cached and reasoning tokens, all of `rlm.*`) stays.
    """
    match semconv:
        case "latest":
            return latest
        case "both":
            return [*latest, *_older(finished, latest)]
        case "legacy":
            kept = [one for one in latest if one.instrument not in RENAMED and one.instrument not in TOKENS]
            return [*kept, *_older(finished, latest)]


def _older(finished: Finished, latest: list[Measurement]) -> Iterator[Measurement]:
    for one in latest:
        if one.instrument in RENAMED:
            yield Measurement(RENAMED[one.instrument], one.value, one.attributes)
    call, usage = finished.operation, finished.usage
    if usage is None or not isinstance(call, ModelCall) or call.name == sc.FETCH_RESPONSE:
        return
    # Without the vendor's service tier, which the later names may carry.
    who = served(call, finished.result if isinstance(finished.result, Reply) else None)
    generated = usage.output_tokens if call.name in sc.INFERENCE else None
    for kind, total in (("input", usage.input_tokens), ("output", generated)):
        if total is not None and total >= 0:
            yield Measurement(sc.OLDER_TOKEN_USAGE, total, who.plus((sc.TOKEN_TYPE, kind)))
