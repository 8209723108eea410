"""A stream put together again, chunk by chunk, on the way of the user's loop: it keeps strings, no chunks."""

from collections.abc import Callable
from typing import Any

from rlm_otel.fence import fence
from rlm_otel.messages import Message, Part, Reasoning, Text, ToolRequest
from rlm_otel.outcome import Reply, Usage
from rlm_otel.reader.fields import extras, items, json_text, read, reasoning, text
from rlm_otel.reader.reply import header, known_headers, read_cost, read_rate_limits, read_usage, usage_of
from rlm_otel.reader.request import read_parts


class ChunkReader:
    """Reads the chunks of one stream. `headers` are those of the HTTP response."""

    __slots__ = (
        "_add_text",
        "_choices",
        "_fingerprint",
        "_headers",
        "_id",
        "_model",
        "_tier",
        "_unread",
        "_usage",
        "generated",
        "visible",
    )

    def __init__(self, headers: object = None) -> None:
        self.generated: bool = False
        """Whether any text, reasoning or piece of a tool call was seen: a role-only prelude is none of them."""
        self.visible: bool = False
        """Whether any text of the answer was seen."""
        self._headers = headers
        self._choices: dict[int, _Choice] = {}
        self._add_text: Callable[[str], None] | None = None
        self._usage: object = None
        # The last block as it came: blocks are cumulative, some vendors send one with each chunk, one is worth reading.
        self._id: str | None = None
        self._model: str | None = None
        self._tier: str | None = None
        self._fingerprint: str | None = None
        self._unread = False

    # `Any`: read without a look at the type, because every test here is paid once a chunk; and from the objects' own
    # dicts, since pydantic's models answer for an attribute four times as slowly.
    def feed(self, chunk: Any) -> str:
        """Takes note of one chunk; the text it adds to the first choice's answer, "" if none."""
        if self._add_text is not None:
            try:
                (choice,) = chunk.__dict__["choices"]
                of_choice = choice.__dict__
                delta = of_choice["delta"]
                of_delta = delta.__dict__
                said: str = of_delta["content"]
                usage = chunk.__dict__["usage"]
                if (
                    said
                    and said.__class__ is str
                    and of_choice["finish_reason"] is None
                    and of_delta["tool_calls"] is None
                    and of_delta["refusal"] is None
                    and of_choice["index"] == 0
                    and (not (more := delta.__pydantic_extra__) or not reasoning(more))
                ):
                    self._add_text(said)
                    if usage is not None:
                        self._usage = usage
                    self.generated = self.visible = True
                    return said
            except (AttributeError, KeyError, TypeError, ValueError):
                pass  # no ordinary text chunk of the SDK: the careful way reads it
        with fence("rlm_otel", "reader"):  # a bug of ours must not end the user's stream
            return self._feed_carefully(chunk)
        self._unread = True
        return ""

    def _feed_carefully(self, chunk: object) -> str:
        self._id = text(read(chunk, "id")) or self._id
        self._model = text(read(chunk, "model")) or self._model
        self._tier = text(read(chunk, "service_tier")) or self._tier
        self._fingerprint = text(read(chunk, "system_fingerprint")) or self._fingerprint
        self._usage = usage_of(chunk) or self._usage
        return "".join([self._feed_choice(c) for c in items(read(chunk, "choices")) if c is not None])

    def _feed_choice(self, choice: object) -> str:
        index = read(choice, "index")
        number = index if isinstance(index, int) else 0
        state = self._choices.get(number)
        if state is None:
            state = self._choices[number] = _Choice()
            if number == 0:
                self._add_text = state.text.append
        state.reason = text(read(choice, "finish_reason")) or state.reason
        self._usage = extras(choice).get("usage") or self._usage  # Moonshot's place for it
        delta = read(choice, "delta")
        if delta is None:
            return ""
        said, generated = state.feed(delta)
        self.generated = self.generated or generated
        self.visible = self.visible or bool(said)
        return said if number == 0 else ""

    def complete(self) -> bool:
        """Whether each choice has a finish reason, and there was one at all; otherwise the stream was torn.

        Where a chunk could not be read nobody can tell: then it counts as complete.
        """
        finished = bool(self._choices) and all(choice.reason is not None for choice in self._choices.values())
        return finished or self._unread

    def result(self) -> tuple[Reply, Usage | None]:
        """The reply as far as it came, and the tokens counted."""
        choices = [choice for _, choice in sorted(self._choices.items())]
        headers = known_headers(self._headers)
        reply = Reply(
            messages=tuple(choice.message() for choice in choices),
            finish_reasons=tuple(choice.reason for choice in choices),
            id=self._id,
            model=self._model,
            service_tier=self._tier,
            system_fingerprint=self._fingerprint,
            request_id=header(headers, "x-request-id"),
            rate_limits=read_rate_limits(headers),
        )
        return reply, read_usage(self._usage)

    def pieces(self) -> int:
        """How many pieces came so far; another thread may ask."""
        return sum(
            len(choice.text) + len(choice.reasoning) + sum(len(call.arguments) for call in list(choice.calls))
            for choice in list(self._choices.values())
        )

    @property
    def reported_cost(self) -> float | None:
        """What the vendor itself says that the call cost so far, in USD."""
        return read_cost(self._usage)


class _Choice:
    """One choice as far as it came."""

    __slots__ = ("calls", "reason", "reasoning", "role", "text")

    def __init__(self) -> None:
        self.role = "assistant"
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.calls: list[_Call] = []
        self.reason: str | None = None

    def feed(self, delta: object) -> tuple[str, bool]:
        """Takes note of one delta: the text it adds to the answer, and whether it holds anything generated."""
        self.role = text(read(delta, "role")) or self.role
        said: list[str] = []
        thought = reasoning(delta)
        thoughts = [thought] if thought else []
        content = read(delta, "content")
        if isinstance(content, str):
            said.append(content)
        elif content is not None:  # Mistral streams typed parts
            parts = read_parts(content)
            said.extend(part.content for part in parts if isinstance(part, Text))
            thoughts.extend(part.content for part in parts if isinstance(part, Reasoning))
        if refusal := text(read(delta, "refusal")):
            said.append(refusal)
        asked = self._feed_calls(delta)
        self.text.extend(said)
        self.reasoning.extend(thoughts)
        answer = "".join(said)
        return answer, bool(answer or thoughts or asked)

    def message(self) -> Message:
        """The choice as one message."""
        parts: list[Part] = [Reasoning("".join(self.reasoning))] if self.reasoning else []
        if said := "".join(self.text):
            parts.append(Text(said))
        parts.extend(ToolRequest(call.name, "".join(call.arguments), call.call_id) for call in self.calls)
        return Message(self.role, tuple(parts))

    def _feed_calls(self, delta: object) -> bool:
        pieces = [piece for piece in items(read(delta, "tool_calls")) if piece is not None]
        for piece in pieces:
            called = read(piece, "function") or extras(piece).get("custom")
            self._call(read(piece, "index"), text(read(piece, "id")), text(read(called, "name"))).feed(called)
        old_form = read(delta, "function_call")
        if old_form is not None:
            self._call(0, None, text(read(old_form, "name"))).feed(old_form)
        return bool(pieces) or old_form is not None

    def _call(self, index: object, call_id: str | None, name: str | None) -> "_Call":
        """The call that a piece belongs to. Some servers leave out the index, or give each of several calls index 0."""
        known = [call for call in self.calls if call.index == index] if index is not None else self.calls
        call = known[-1] if known else None
        if call is None or (call_id and name and call.call_id and call_id != call.call_id):
            call = _Call(index)
            self.calls.append(call)
        call.call_id = call.call_id or call_id
        return call


class _Call:
    """One tool call as far as it came."""

    __slots__ = ("arguments", "call_id", "index", "name")

    def __init__(self, index: object) -> None:
        self.index = index
        self.name = ""
        self.call_id: str | None = None
        self.arguments: list[str] = []

    def feed(self, called: object) -> None:
        name = text(read(called, "name"))
        if name and name != self.name:  # some servers repeat the name on each piece
            self.name += name
        arguments = read(called, "arguments")
        self.arguments.append(json_text(extras(called).get("input") if arguments is None else arguments))
