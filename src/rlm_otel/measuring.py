"""From an event to measurements: `gen_ai.*` carry what the conventions list, ours a bounded identity and labels."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple, assert_never

from rlm_otel import semconv as sc
from rlm_otel.events import Finished, ModelCall, Operation, Origin, Retrying, Run, Started, ToolCall
from rlm_otel.outcome import Cost, RateLimit, Reply, RunResult, Score, Unpriced, Usage
from rlm_otel.values import Attributes, present

DeclaredLabels = Mapping[str, tuple[str, ...]]
"""Label keys that metrics may carry, and their values; any other value is shown as `other`."""


class Measurement(NamedTuple):
    """A value for one instrument. Measurements share their attributes: nobody may change them."""

    instrument: str
    value: int | float
    attributes: Attributes


class Shared(Attributes):
    """Attributes that many measurements carry, and the same with some more: each is made once, and then the same object
    each time, by which its series is found.
    """

    __slots__ = ("_more",)

    def __init__(self, attributes: Attributes) -> None:
        super().__init__(attributes)
        self._more: dict[tuple[tuple[str, str], ...], Shared] = {}

    def plus(self, *pairs: tuple[str, str]) -> "Shared":
        """With one of few values, such as an outcome, which do not come from a server."""
        if not pairs:
            return self
        more = self._more.get(pairs)
        if more is None:
            more = self._more[pairs] = Shared({**self, **dict(pairs)})
        return more

    def with_error(self, finished: Finished) -> "Shared":
        """With the class of the failure, where there is one."""
        return self if finished.failure is None else self.plus((sc.ERROR_TYPE, finished.failure.type))


_NO_IDENTITY: Final = Shared({})


# Who is measured ---------------------------------------------------------------------------------------------------


def identity(operation: Operation, origin: Origin, reply: Reply | None = None) -> Attributes:
    """The low-cardinality attributes that the `gen_ai.*` metrics of an operation share: never ids, never text."""
    match operation:
        case Run():
            return dict(_workflow_identity(operation.workflow) or _run_identity(origin.agent, operation.model))
        case ModelCall():
            return dict(served(operation, reply))
        case ToolCall():
            return dict(_tool_identity(operation.name, operation.type, origin.agent))
        case _:
            assert_never(operation)


def start_identity(started: Started, declared: DeclaredLabels) -> Attributes:
    """What `rlm.client.active` and `oldest_active` carry: the same when a call begins and when it has ended."""
    call = started.operation
    own = _own(call, None) if isinstance(call, ModelCall) else _NO_IDENTITY
    return own.plus(*_labels(started.origin, declared))


# A service has a handful of models, tools and agents: the dictionaries are made once.
@lru_cache(maxsize=1024)
def _call_identity(name: str, provider: str, model: str, answered: str | None) -> Shared:
    pairs = (
        (sc.OPERATION_NAME, name),
        (sc.PROVIDER_NAME, provider),
        (sc.REQUEST_MODEL, model or None),
        (sc.RESPONSE_MODEL, answered),
    )
    return Shared(present(pairs))


@lru_cache(maxsize=1024)
def _served_identity(
    name: str,
    provider: str,
    model: str,
    answered: str | None,
    address: str | None,
    port: int | None,
    tier: str | None,
) -> Shared:
    more = (
        (sc.SERVER_ADDRESS, address),
        (sc.SERVER_PORT, port if address is not None else None),
        (sc.OPENAI_RESPONSE_SERVICE_TIER, tier),
    )
    return Shared({**_call_identity(name, provider, model, answered), **present(more)})


@lru_cache(maxsize=1024)
def _run_identity(agent: str | None, model: str | None) -> Shared:
    return Shared(present(((sc.AGENT_NAME, agent), (sc.REQUEST_MODEL, model))))


@lru_cache(maxsize=1024)
def _workflow_identity(workflow: str | None) -> Shared:
    return Shared({sc.WORKFLOW_NAME: workflow} if workflow else {})


@lru_cache(maxsize=1024)
def _score_identity(name: str, label: str | None) -> Attributes:
    return present(((sc.EVALUATION_NAME, name), (sc.EVALUATION_LABEL, label)))


@lru_cache(maxsize=1024)
def _tool_identity(name: str, kind: str, agent: str | None) -> Shared:
    return Shared(present(((sc.TOOL_NAME, name), (sc.TOOL_TYPE, kind), (sc.AGENT_NAME, agent))))


def _own(call: ModelCall, reply: Reply | None) -> Shared:
    return _call_identity(call.name, call.provider, call.model, reply.model if reply is not None else None)


def served(call: ModelCall, reply: Reply | None, tier: str | None = None) -> Shared:
    """Who is measured by the `gen_ai.*` metrics of a model call, its server too: the same object each time."""
    answered = reply.model if reply is not None else None
    return _served_identity(call.name, call.provider, call.model, answered, call.server_address, call.server_port, tier)


def _labels(origin: Origin, declared: DeclaredLabels) -> tuple[tuple[str, str], ...]:
    if not declared or not origin.labels:
        return ()
    return tuple(
        (f"{sc.RLM_LABEL}.{key}", value if value in declared[key] else sc.OTHER_LABEL)
        for key, value in origin.labels
        if key in declared
    )


# What is measured --------------------------------------------------------------------------------------------------


def measurements(finished: Finished, declared: DeclaredLabels, retried: int = 0) -> list[Measurement]:
    """All that the end of an operation measures.

    `retried`: how many `Retrying` events the call had. An attempt is counted there or here, never twice: a call that
    was cancelled while it waited to retry had no further one.
    """
    operation = finished.operation
    match operation:
        case Run():
            return list(_run(operation, finished, declared))
        case ModelCall():
            own = _own(operation, finished.result if isinstance(finished.result, Reply) else None)
            own = own.plus(*_labels(finished.origin, declared))
            return [*_model_call(operation, finished), *_own_model_call(operation, finished, own, retried)]
        case ToolCall():
            tool = _tool_identity(operation.name, operation.type, finished.origin.agent)
            return [Measurement(sc.TOOL_DURATION, finished.elapsed_s, tool.with_error(finished))]
        case _:
            assert_never(operation)


def retry_measurements(retrying: Retrying, declared: DeclaredLabels) -> list[Measurement]:
    """One attempt that failed and is repeated."""
    call = retrying.operation
    if not isinstance(call, ModelCall):
        return []
    own = _own(call, None).plus(*_labels(retrying.origin, declared))
    return [Measurement(sc.ATTEMPTS, 1, own.plus((sc.ERROR_TYPE, retrying.failure.type)))]


def score_measurements(score: Score) -> list[Measurement]:
    """A score; one without a number measures nothing, nor does a negative one: OpenTelemetry's histograms refuse it."""
    if score.value is None or score.value < 0:
        return []
    return [Measurement(sc.FEEDBACK, score.value, _score_identity(score.name, score.label))]


def _run(run: Run, finished: Finished, declared: DeclaredLabels) -> Iterator[Measurement]:
    if run.workflow is not None:
        workflow = _workflow_identity(run.workflow)
        yield Measurement(sc.WORKFLOW_DURATION, finished.elapsed_s, workflow.with_error(finished))
        labels = _NO_IDENTITY.plus(*_labels(finished.origin, declared))
        yield Measurement(sc.RUN_DEPTH, finished.origin.depth, labels)
        return
    who, agent = _run_identity(finished.origin.agent, run.model), _run_identity(finished.origin.agent, None)
    yield Measurement(sc.AGENT_DURATION, finished.elapsed_s, who.with_error(finished))
    if isinstance(finished.result, RunResult):
        yield Measurement(sc.AGENT_INFERENCE_CALLS, finished.result.inference_calls, agent)
        yield Measurement(sc.AGENT_TOOL_CALLS, finished.result.tool_calls, agent)
    yield Measurement(sc.RUN_DEPTH, finished.origin.depth, who.plus(*_labels(finished.origin, declared)))


def _model_call(call: ModelCall, finished: Finished) -> Iterator[Measurement]:
    reply = finished.result if isinstance(finished.result, Reply) else None
    who = served(call, reply)
    # `openai.response.system_fingerprint` stays away: it changes with each deployment of the vendor.
    counted = who
    if call.provider == sc.PROVIDER_OPENAI and reply is not None and reply.service_tier is not None:
        counted = served(call, reply, reply.service_tier)
    if call.name not in sc.INFERENCE:
        yield Measurement(sc.OPERATION_DURATION, finished.elapsed_s, counted.with_error(finished))
        return
    yield Measurement(sc.INFERENCE_DURATION, finished.elapsed_s, counted.with_error(finished))
    if call.stream:
        if finished.first_chunk_s is not None:
            yield Measurement(sc.INFERENCE_FIRST_CHUNK, finished.first_chunk_s, who)
        for gap in finished.chunk_gaps_s:
            yield Measurement(sc.INFERENCE_CHUNK, gap, who)
    if finished.usage is not None:
        yield from _tokens(finished.usage, counted)


def _tokens(usage: Usage, who: Shared) -> Iterator[Measurement]:
    unsplit = who.plus((sc.TOKEN_MODALITY, sc.UNKNOWN_MODALITY))
    for instrument, total, split in (
        (sc.INPUT_TOKENS, usage.input_tokens, usage.input_by),
        (sc.OUTPUT_TOKENS, usage.output_tokens, usage.output_by),
        (sc.CACHE_READ_TOKENS, usage.cache_read_tokens or None, ()),
        (sc.CACHE_WRITE_TOKENS, usage.cache_write_tokens or None, ()),
        (sc.REASONING_TOKENS, usage.reasoning_tokens or None, ()),
    ):
        if total is None or total < 0:
            continue
        if split:
            yield from _by_modality(instrument, total, split, who)
        else:
            yield Measurement(instrument, total, unsplit)
    for instrument, total in ((sc.CALL_INPUT_TOKENS, usage.input_tokens), (sc.CALL_OUTPUT_TOKENS, usage.output_tokens)):
        if total is not None and total >= 0:
            yield Measurement(instrument, total, who)


def _by_modality(instrument: str, total: int, split: tuple[tuple[str, int], ...], who: Shared) -> Iterator[Measurement]:
    """One add a modality, the rest as `unknown`, so that the sum is the total."""
    known = {name: count for name, count in split if name in sc.MODALITIES and count > 0}
    if sum(known.values()) > total:  # a split that does not add up says nothing
        known = {}
    rest = total - sum(known.values())
    if rest or not known:
        known[sc.UNKNOWN_MODALITY] = rest
    for modality, count in known.items():
        yield Measurement(instrument, count, who.plus((sc.TOKEN_MODALITY, modality)))


def _own_model_call(call: ModelCall, finished: Finished, own: Shared, retried: int) -> Iterator[Measurement]:
    yield Measurement(sc.OPERATIONS, 1, own.plus((sc.RLM_OUTCOME, finished.outcome)))
    if finished.attempts > retried:  # else the last one is already counted as retried
        yield Measurement(sc.ATTEMPTS, 1, own.with_error(finished))
    if call.stream and call.name in sc.INFERENCE and finished.first_token_s is not None:
        yield Measurement(sc.FIRST_TOKEN, finished.first_token_s, own)
    match finished.cost:
        case Cost(usd, source) if usd >= 0:
            yield Measurement(sc.COST, float(usd), own.plus((sc.RLM_COST_SOURCE, source)))
        case Unpriced(reason):
            yield Measurement(sc.UNPRICED, 1, own.plus((sc.RLM_REASON, reason)))
    for limit in finished.result.rate_limits if isinstance(finished.result, Reply) else ():
        yield from _rate_limit(limit, own)


def _rate_limit(limit: RateLimit, own: Shared) -> Iterator[Measurement]:
    attributes = own.plus((sc.RLM_RATELIMIT_KIND, limit.kind))
    if limit.remaining is not None:
        yield Measurement(sc.RATELIMIT_REMAINING, limit.remaining, attributes)
    if limit.limit is not None:
        yield Measurement(sc.RATELIMIT_LIMIT, limit.limit, attributes)
