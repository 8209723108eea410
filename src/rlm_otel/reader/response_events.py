"""A stream of the Responses API put together again, event by event: it keeps strings, no events."""

from collections.abc import Hashable
from dataclasses import replace
from typing import Final

from rlm_otel.errors import FailedReply
from rlm_otel.fence import fence
from rlm_otel.messages import Part, Reasoning, ServerTool, Text, ToolRequest
from rlm_otel.outcome import Failure, Reply, Usage
from rlm_otel.reader.failure import read_failure
from rlm_otel.reader.fields import items, read, text
from rlm_otel.reader.reply import read_cost
from rlm_otel.reader.response_envelope import ENDED, Envelope, read_envelope, read_error, read_response_usage
from rlm_otel.reader.response_items import called, is_compacted, read_item, read_output

_SAID: Final = frozenset({"response.output_text", "response.refusal"})
_THOUGHT: Final = frozenset({"response.reasoning_text", "response.reasoning_summary_text"})
_CALLED: Final = frozenset(
    {
        "response.function_call_arguments",
        "response.custom_tool_call_input",
        "response.mcp_call_arguments",
        "response.code_interpreter_call_code",
    }
)
_DELTA: Final = ".delta"
_DONE: Final = ".done"


class EventReader:
    """Reads the events of one stream. `headers` are those of the HTTP response.

    `stored`: the stream repeats a stored response. Nothing is generated, so no tokens are counted, and one that had
    failed is well fetched.
    """

    __slots__ = (
        "_compacted",
        "_ended",
        "_envelope",
        "_failure",
        "_headers",
        "_items",
        "_output",
        "_stored",
        "_unread",
        "generated",
        "visible",
    )

    def __init__(self, headers: object = None, *, stored: bool = False) -> None:
        self.generated: bool = False
        self.visible: bool = False
        self._headers = headers
        self._stored = stored
        self._items: dict[Hashable, _Item] = {}
        self._envelope = Envelope()
        self._output: tuple[Part, ...] = ()
        """What the last event says that the output was, where it does."""
        self._compacted = self._ended = self._unread = False
        self._failure: Failure | None = None

    def feed(self, event: object, /) -> str:
        """Takes note of one event; the text it adds to the answer, "" if none."""
        with fence("rlm_otel", "reader"):  # a bug of ours must not end the user's stream
            return self._feed(event)
        self._unread = True
        return ""

    def _feed(self, event: object) -> str:
        kind = text(read(event, "type")) or ""
        if kind.endswith(_DELTA):
            return self._piece(kind.removesuffix(_DELTA), event)
        if kind == "response.output_item.added":
            self._item(event).begin(read(event, "item"))
            self.generated = self.generated or self._item(event).is_call
        elif kind == "response.output_item.done":
            return self._shown(self._item(event).end(read(event, "item")))
        elif kind.endswith(_DONE) and kind.removesuffix(_DONE) in _SAID:
            return self._shown(self._item(event).late(event))
        elif kind == "error":
            self._fail(event)
        else:
            self._take(kind.removeprefix("response."), read(event, "response"))
        return ""

    def _piece(self, kind: str, event: object) -> str:
        piece = text(read(event, "delta"))
        if piece is None:
            return ""
        if kind in _SAID:
            self._item(event).say(event, piece)
            return self._shown(piece)
        if kind in _THOUGHT:
            self._item(event).think(event, piece)
            self.generated = True
        elif kind in _CALLED:
            self._item(event).arguments.append(piece)
            self.generated = True
        return ""

    def _shown(self, said: str) -> str:
        if said:
            self.generated = self.visible = True
        return said

    def _item(self, event: object) -> "_Item":
        """The item that an event is about. llama.cpp's server leaves out its index, and a call's own id."""
        index, item = read(event, "output_index"), read(event, "item")
        names = (read(event, "item_id"), read(item, "id"), read(item, "call_id"))
        key: Hashable = index if isinstance(index, int) else next((name for name in names if text(name)), None)
        found = self._items.get(key)
        if found is None:
            found = self._items[key] = _Item()
        return found

    def _take(self, happened: str, response: object) -> None:
        known, new = self._envelope, read_envelope(response)
        if happened in ENDED and new.status not in ENDED:  # from a server that says it in the event's type alone
            new = replace(new, status=happened)
        self._envelope = replace(
            new,
            id=new.id or known.id,
            model=new.model or known.model,
            status=new.status or known.status,
            service_tier=new.service_tier or known.service_tier,
            usage=new.usage if new.usage is not None else known.usage,
        )
        if self._envelope.status not in ENDED:
            return
        self._ended = True
        output = items(read(response, "output"))
        self._output = read_output(output)
        self._compacted = is_compacted(output)
        if not self._stored:
            self._failure = new.failure(response)

    def _fail(self, event: object) -> None:
        message, code = read_error(event) or read_error(read(event, "error")) or ("the stream ended in an error", None)
        self._failure = read_failure(FailedReply(message, event, code=code))

    def complete(self) -> bool:
        """Whether the response came to its end; where an event could not be read nobody can tell: then it did."""
        return self._ended or self._unread

    def failure(self) -> Failure | None:
        """What an error event or a failed response says; the SDK raises nothing for either."""
        return self._failure

    def result(self) -> tuple[Reply, Usage | None]:
        """The reply as far as it came, and the tokens counted."""
        parts = self._output or tuple(part for item in self._items.values() for part in item.parts())
        reply = self._envelope.reply(parts, self._headers, compacted=self._compacted)
        return reply, None if self._stored else read_response_usage(self._envelope.usage)

    def pieces(self) -> int:
        """How many pieces came so far; another thread may ask."""
        return sum(item.pieces() for item in list(self._items.values()))

    @property
    def reported_cost(self) -> float | None:
        """What the vendor itself says that the call cost so far, in USD."""
        return None if self._stored else read_cost(self._envelope.usage)


class _Item:
    """One item of the output as far as it came."""

    __slots__ = ("_done", "_item", "_kind", "_texts", "arguments")

    def __init__(self) -> None:
        self._kind = ""
        self._item: ToolRequest | ServerTool | None = None
        self._done: tuple[Part, ...] | None = None
        self._texts: dict[tuple[type[Text | Reasoning], Hashable], list[str]] = {}
        self.arguments: list[str] = []

    def begin(self, item: object) -> None:
        self._kind = text(read(item, "type")) or ""
        if self.is_call:
            self._item = called(self._kind, item, "")

    @property
    def is_call(self) -> bool:
        return self._kind.endswith("_call")

    def say(self, event: object, piece: str) -> None:
        self._texts.setdefault((Text, _whole(read(event, "content_index"))), []).append(piece)

    def think(self, event: object, piece: str) -> None:
        index = read(event, "summary_index")
        place = _whole(read(event, "content_index") if index is None else index)
        self._texts.setdefault((Reasoning, place), []).append(piece)

    def pieces(self) -> int:
        return len(self.arguments) + sum(map(len, list(self._texts.values())))

    def late(self, event: object) -> str:
        """The whole text of a part, from a server that sends no pieces."""
        said = text(read(event, "text")) or text(read(event, "refusal")) or ""
        if not said or (Text, _whole(read(event, "content_index"))) in self._texts:
            return ""
        self.say(event, said)
        return said

    def end(self, item: object) -> str:
        """Takes the item as it is in the end; its text where none of it came before."""
        self._done = read_item(item) if item is not None else None
        if any(kind is Text for kind, _ in self._texts):
            return ""
        return "".join(part.content for part in self._done or () if isinstance(part, Text))

    def parts(self) -> tuple[Part, ...]:
        if self._done is not None:
            return self._done
        parts: list[Part] = [kind("".join(pieces)) for (kind, _), pieces in self._texts.items()]
        if self._item is not None:
            parts.append(replace(self._item, arguments="".join(self.arguments)))
        return tuple(parts)


def _whole(index: object) -> int:
    return index if isinstance(index, int) else 0
