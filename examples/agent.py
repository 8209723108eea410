"""An agent with tools: the model asks for them, one of them makes a sub-call, another fails and the model is told.

OPENAI_API_KEY=... python examples/agent.py

invoke_agent travel
  chat gpt-4o
  execute_tool weather
    execute_tool forecast_service
  chat gpt-4o
  execute_tool book !LookupError
  chat gpt-4o
  execute_tool poem
    invoke_agent travel
      chat gpt-4o-mini
  chat gpt-4o
"""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field

import rlm_otel
from rlm_otel import RLM


@rlm_otel.tool(type="extension")
def forecast_service(city: str) -> str:
    """What the tool itself uses: a function of the application's own, not known to the model."""
    return f"rain in {city}"


def weather(city: Annotated[str, Field(description="name of the city")]) -> str:
    """Tells the weather of tomorrow."""
    return forecast_service(city)


def book(hotel: str) -> str:
    """Books a room."""
    raise LookupError(f"no hotel is called {hotel}")


def poem(about: str, llm_query: Callable[[str], str]) -> str:
    """Writes two lines."""
    return llm_query(f"Two lines about {about}.")


def main() -> None:
    agent = RLM.from_openai(
        "gpt-4o",
        name="travel",
        tools=[weather, book, poem],
        sub_model="gpt-4o-mini",
        max_depth=1,
        callbacks=[rlm_otel.OTelCallback()],
    )
    with agent:
        print(agent.run("Where should I go tomorrow? Book a room there, and write a poem."))


if __name__ == "__main__":
    main()
