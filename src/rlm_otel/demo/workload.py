"""What the demo runs: five things that a service does with language models, some of which go wrong."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import aclosing, closing, suppress
from typing import Final

import openai

from rlm_otel import RLM

Make = Callable[..., RLM]
"""`RLM.from_openai` with the server's address and the callbacks filled in."""
Step = Callable[[Make], None]

TRIP: Final = "Two days in Lisbon: how is the weather, and what should I see?"
STUBBORN: Final = "Translate 'see you tomorrow' into Portuguese."
TOO_LONG: Final = "Summarise the history of Lisbon, all of it."
STORY: Final = "Tell me a story about a tram."
PUZZLES: Final = ("How many ways lead from Rossio to Alfama?", "Which of them is the shortest in the rain?")


def get_weather(city: str) -> str:
    """The weather in a city, today and tomorrow."""
    time.sleep(0.45)  # some slow service
    return f"{city}: sunny, 24 degrees; tomorrow showers"


def ask_guide(question: str, llm_query: Callable[[str], str]) -> str:
    """Ask a guide who knows the city."""
    return llm_query(question)  # an agent as a tool: a run of its own, inside this one


def opening_hours(place: str) -> str:
    """When a place is open."""
    time.sleep(0.1)
    return f"{place}: 10 to 18"


def plan_a_trip(make: Make) -> None:
    """A streamed answer that needs two tools at once, one of them an agent itself."""
    tools = [get_weather, ask_guide, opening_hours]
    with closing(make("gpt-4o", name="planner", tools=tools, sub_model="gpt-4o-mini")) as planner:
        with planner.stream(TRIP) as answer:
            for _text in answer:
                pass  # a service would show it


def survive_two_failures(make: Make) -> None:
    """A call that is told to wait, then meets a server error, then succeeds."""
    with closing(make("gpt-4o-mini", name="translator")) as translator:
        translator.run(STUBBORN)


def ask_too_much(make: Make) -> None:
    """A call that the server refuses: the prompt is too long."""
    with closing(make("gpt-4o", name="historian")) as historian, suppress(openai.BadRequestError):
        historian.run(TOO_LONG)


def stop_reading(make: Make) -> None:
    """A streamed answer that its reader leaves after the first words."""
    with closing(make("gpt-4o", name="storyteller")) as storyteller:
        with storyteller.stream(STORY) as story:
            for _text in story:
                break


def think_twice(make: Make) -> None:
    """A reasoning model, two questions at once in an event loop; the second finds most of its prompt in the cache."""

    async def think() -> None:
        async with aclosing(make("o4-mini", name="thinker")) as thinker:
            await asyncio.gather(*(thinker.arun(puzzle, reasoning_effort="low") for puzzle in PUZZLES))

    asyncio.run(think())


STEPS: Final[Mapping[str, Step]] = {
    "an agent plans a trip": plan_a_trip,
    "a call survives two failures": survive_two_failures,
    "a call is refused": ask_too_much,
    "a stream is left early": stop_reading,
    "a reasoning model thinks": think_twice,
}
"""In the order in which they run; the key says what is going on."""
