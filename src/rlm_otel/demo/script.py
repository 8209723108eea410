"""What the scripted server answers in the demo: for each prompt its answers in order, at a believable speed."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from rlm_otel.demo import workload
from rlm_otel.testing import Answer, Failure, Item, RecordedRequest, Tokens, Tool, rate_limits

_GUIDE: Final = "What is worth seeing in Lisbon in two days?"
_HEADROOM: Final = rate_limits(
    remaining_requests=4_998, limit_requests=5_000, remaining_tokens=448_200, limit_tokens=450_000
)

SCRIPT: Final[Mapping[str, Sequence[Item]]] = {
    workload.TRIP: (
        Answer(
            tool_calls=(
                Tool("get_weather", {"city": "Lisbon"}),
                Tool("ask_guide", {"question": _GUIDE}),
            ),
            usage=Tokens(input=1_310, output=46, cached=0),
            delay_s=0.15,
            first_token_delay_s=0.25,
            chunk_delay_s=0.02,
            headers=_HEADROOM,
        ),
        Answer(
            "Go up to the castle while the sun is out, and keep the tile museum for tomorrow's showers: it is open "
            "from ten. In the evening take the tram down to the river. 🚋",
            usage=Tokens(input=1_472, output=38, cached=1_280),
            delay_s=0.1,
            first_token_delay_s=0.2,
            chunk_delay_s=0.01,
            headers=_HEADROOM,
        ),
    ),
    _GUIDE: (
        Answer(
            tool_calls=(Tool("opening_hours", {"place": "Museu Nacional do Azulejo"}),),
            usage=Tokens(input=212, output=21),
            delay_s=0.3,
        ),
        Answer(
            "The castle, the tram and the tile museum, which is open from 10 to 18.",
            usage=Tokens(input=251, output=19),
            delay_s=0.25,
        ),
    ),
    workload.STUBBORN: (
        Failure(429, message="Rate limit reached for gpt-4o-mini.", retry_after=0.2, delay_s=0.05),
        Failure(500, message="The server had an error while processing your request.", delay_s=0.1),
        Answer("Até amanhã!", usage=Tokens(input=19, output=5), delay_s=0.2),
    ),
    workload.TOO_LONG: (
        Failure(
            400,
            code="context_length_exceeded",
            message="This model's maximum context length is 128000 tokens. However, your messages have 131542.",
            delay_s=0.1,
        ),
    ),
    workload.STORY: (
        Answer(
            "Once upon a time a yellow tram grew tired of its rails. " * 8,
            usage=Tokens(input=17, output=104),
            delay_s=0.1,
            first_token_delay_s=0.15,
            chunk_delay_s=0.05,
        ),
    ),
    workload.PUZZLES[0]: (
        Answer("Four, if you count the stairs.", usage=Tokens(input=1_190, output=333, reasoning=320), delay_s=0.9),
    ),
    workload.PUZZLES[1]: (
        Answer(
            "The one under the arcades.",
            usage=Tokens(input=1_204, output=267, cached=1_152, reasoning=256),
            delay_s=0.7,
        ),
    ),
}


class Script:
    """Answers requests by the prompt that their conversation began with: give it to `ScriptedServer(respond=...)`."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, request: RecordedRequest) -> Item:
        """The next answer of its conversation."""
        prompt = next(message["content"] for message in request.body["messages"] if message["role"] == "user")
        with self._lock:
            turn = self._asked[prompt]
            self._asked[prompt] += 1
        return SCRIPT[prompt][turn]
