"""What the demo runs on a real model: calls that complete, then calls that do not."""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass
from typing import Any, Final

import openai

from rlm_otel.demo.workload import Make, Step, get_weather

_LONG_PREFIX: Final = "You are a careful assistant. You answer in one short sentence and you never guess. " * 24
_LONG_STORY: Final = "Tell a long story about a tram."


@dataclass(frozen=True, slots=True)
class RealWorkload:
    """The same few calls for any model; `request` goes along with each of them."""

    model: str
    request: Mapping[str, Any]
    tool_choice: str
    """`required` for a model that calls no tool of its own accord."""

    @property
    def completing(self) -> Mapping[str, Step]:
        """Calls that run to their end, so that what they used is known on both sides."""
        return {
            "a streamed chat": self.chat,
            "the same long beginning twice": self.repeat_a_prefix,
            "a tool call": self.use_a_tool,
        }

    @property
    def interrupted(self) -> Mapping[str, Step]:
        """Calls that are left, cancelled or refused."""
        return {
            "a stream is left early": self.stop_reading,
            "a call is cancelled": self.cancel,
            "calls are refused": self.be_refused,
        }

    def chat(self, make: Make) -> None:
        """A streamed answer, read to its end."""
        with closing(make(self.model, name="chat")) as chat, chat.stream("What is a tram?", **self.request) as answer:
            for _text in answer:
                pass

    def repeat_a_prefix(self, make: Make) -> None:
        """Two prompts with the same long beginning: the second finds it in the server's cache."""
        with closing(make(self.model, name="careful", system_prompt=_LONG_PREFIX)) as careful:
            careful.run("Name a colour.", **self.request)
            careful.run("Name a fruit.", **self.request)

    def use_a_tool(self, make: Make) -> None:
        """The model asks for a tool and answers with what it gave back."""
        with closing(make(self.model, name="weather", tools=[get_weather], max_turns=4)) as weather:
            weather.run("What is the weather in Lisbon?", tool_choice=self.tool_choice, **self.request)

    def stop_reading(self, make: Make) -> None:
        """A streamed answer that its reader leaves after the first words."""
        with closing(make(self.model, name="storyteller")) as storyteller:
            with storyteller.stream(_LONG_STORY) as story:
                for _text in story:
                    break

    def cancel(self, make: Make) -> None:
        """A task that is cancelled while it waits for the model."""

        async def wait_briefly() -> None:
            async with aclosing(make(self.model, name="impatient")) as impatient:
                async with asyncio.timeout(0.5):
                    await impatient.arun(_LONG_STORY)

        with suppress(TimeoutError):
            asyncio.run(wait_briefly())

    def be_refused(self, make: Make) -> None:
        """A wrong key (401) and a request that makes no sense (400); a server that minds neither answers both."""
        with closing(make(self.model, name="stranger", api_key="sk-wrong")) as stranger:
            _refused(lambda: stranger.run("Hello?", **self.request))
        with closing(make(self.model, name="confused")) as confused:
            _refused(lambda: confused.run("Hello?", **{**self.request, "temperature": "hot"}))


def _refused(call: Callable[[], object]) -> None:
    with suppress(openai.APIStatusError):
        call()
