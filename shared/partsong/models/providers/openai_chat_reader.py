"""What Chat Completions streams, as chunks: as OpenAI sends it, and as compatible servers do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import JsonValue

from partsong.contracts.talk.chunks import (
    Chunk,
    End,
    Reasoning,
    ReasoningState,
    Refusal,
    Start,
    StopReason,
    Text,
    ToolArgs,
    ToolStart,
    Usage,
)
from partsong.models.core.arguments import parse_arguments, tool_end
from partsong.models.providers import openai_client

if TYPE_CHECKING:
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionChunk
    from openai.types.chat.chat_completion_chunk import ChoiceDelta, ChoiceDeltaToolCall

__all__ = ["Reader"]

_STOP: dict[str, StopReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "blocked",
}

_THOUGHTS = ("reasoning_content", "reasoning")
"""What servers call the text of a thought; some say it under both names at once."""


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    i: int
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def goes_on(self, id: str, name: str) -> bool:
        """Whether a piece of that id and name is of this call, and not of the next one under the same index."""
        if id and id != self.id:
            return False
        return not name or (name == self.name and not (self.texts and parse_arguments(self.text)))


class Reader:
    """Events in, chunks out. The end is only known when the body is: the usage comes after the finish reason."""

    def __init__(self, request_id: str | None) -> None:
        self._request_id = request_id
        self._response_id = ""
        self._calls: list[_Call] = []
        self._open: dict[int, _Call] = {}
        """The latest call of each index."""
        self._thoughts: dict[str, list[str]] = {}
        """What was thought, under each name it came by."""
        self._native: str | None = None
        self._refused = False

    def read(self, event: ChatCompletionChunk) -> Iterator[Chunk]:
        """The chunks of one event."""
        if not self._response_id:
            self._response_id = event.id or "response"
            yield Start(
                provider="openai-chat",
                model=event.model,
                response_id=event.id,
                request_id=self._request_id,
            )
        for choice in event.choices or ():
            if choice.delta is not None:
                yield from self._delta(choice.delta)
            if choice.finish_reason and self._native is None:
                self._native = choice.finish_reason
                yield from self._close_calls()
        if event.usage is not None:
            yield _usage(event.usage)

    def ended(self) -> Iterator[Chunk]:
        """What the end of the body means: nothing, if the model had not finished before."""
        if self._native is None:
            return
        stop = _STOP.get(self._native, "other")
        if stop == "stop" and (self._calls or self._refused):
            stop = "tool_calls" if self._calls else "refusal"
        yield End(stop=stop, native=self._native)

    def _delta(self, delta: ChoiceDelta) -> Iterator[Chunk]:
        extra = delta.model_extra or {}
        for name in _THOUGHTS:
            if isinstance(thought := extra.get(name), str) and thought:
                self._thoughts.setdefault(name, []).append(thought)
                yield Reasoning(text=thought)
                break
        if delta.content:
            yield Text(text=delta.content)
        if delta.refusal:
            self._refused = True
            yield Refusal(text=delta.refusal)
        for piece in delta.tool_calls or ():
            yield from self._piece(piece)

    def _piece(self, piece: ChoiceDeltaToolCall) -> Iterator[Chunk]:
        """A piece of a tool call.

        Id and name come with the first one. Some servers give all calls the same index or none, some no ids.
        """
        function, call = piece.function, self._open.get(piece.index)
        name = (function and function.name) or ""
        if call is None or not call.goes_on(piece.id or "", name):
            number = len(self._calls) + 1
            call = _Call(piece.id or f"call_{self._response_id}_{number}", name, number)
            self._calls.append(call)
            self._open[piece.index] = call
            yield ToolStart(i=number, id=call.id, name=name)
        if function and function.arguments:
            text = _text(function.arguments)
            call.texts.append(text)
            yield ToolArgs(i=call.i, id=call.id, text=text)

    def _close_calls(self) -> Iterator[Chunk]:
        """The calls, whole now, and before them what the model thought, which it wants back with their results."""
        thoughts: dict[str, JsonValue] = {n: "".join(said) for n, said in self._thoughts.items()}
        if thoughts and self._calls:
            yield ReasoningState(form="reasoning_item", opaque=thoughts)
        for call in self._calls:
            yield tool_end(call.id, call.name, call.text, i=call.i)


def _text(arguments: JsonValue) -> str:
    """Arguments are text, but some servers send them as the object that they are."""
    return arguments if isinstance(arguments, str) else openai_client.compact(arguments)


def _usage(usage: CompletionUsage) -> Usage:
    read, out = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        input_total=usage.prompt_tokens or 0,
        output_total=usage.completion_tokens or 0,
        cache_read=(read and read.cached_tokens) or 0,
        cache_write=(read and read.cache_write_tokens) or 0,
        reasoning=(out and out.reasoning_tokens) or 0,
    )
