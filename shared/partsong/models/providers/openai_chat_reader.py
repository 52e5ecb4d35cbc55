"""What Chat Completions streams, as chunks: as OpenAI sends it, and as compatible servers do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from pydantic import JsonValue

from partsong.contracts.talk.chunks import (
    Chunk,
    End,
    Raw,
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
from partsong.models.core.arguments import tool_end
from partsong.models.core.call_pieces import Call, Calls, plain_name
from partsong.models.core.think_tags import ThinkTags
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


class Reader:
    """Events in, chunks out. The end is only known when the body is: the usage comes after the finish reason."""

    def __init__(
        self, request_id: str | None, *, tools: Iterable[str] = (), tagged: bool = False
    ) -> None:
        """`tools` are the names on offer; with `tagged`, what begins with `<think>` is a thought."""
        self._request_id = request_id
        self._response_id = ""
        self._calls = Calls(tools)
        self._tags = ThinkTags() if tagged else None
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
        if self._tags:
            yield from self._tags.ended()
        if self._native is None:
            return
        stop = _STOP.get(self._native, "other")
        if stop == "stop" and (self._calls.all or self._refused):
            stop = "tool_calls" if self._calls.all else "refusal"
        yield End(stop=stop, native=self._native)

    def _delta(self, delta: ChoiceDelta) -> Iterator[Chunk]:
        extra = delta.model_extra or {}
        for name in _THOUGHTS:
            if isinstance(thought := extra.get(name), str) and thought:
                self._thoughts.setdefault(name, []).append(thought)
                yield Reasoning(text=thought)
                break
        yield from self._content(delta.content)
        if unknown := {k: v for k, v in extra.items() if v and k not in _THOUGHTS}:
            yield Raw(data=unknown)  # pictures, annotations and the like
        if (legacy := delta.function_call) is not None:
            yield from self._called(None, "", legacy.name or "", legacy.arguments)
        if delta.refusal:
            self._refused = True
            yield Refusal(text=delta.refusal)
        for piece in delta.tool_calls or ():
            yield from self._piece(piece)

    def _content(self, content: object) -> Iterator[Chunk]:
        """Text; some servers send it as a list of parts, thoughts among them."""
        if isinstance(content, str):
            yield from self._said(content)
            return
        for part in content if isinstance(content, list) else ():
            match part:
                case {"type": "text", "text": str(text)}:
                    yield from self._said(text)
                case {"type": "thinking", "thinking": thought}:
                    if text := _joined(thought):
                        yield Reasoning(text=text)
                case _:
                    yield Raw(data={"content": part})

    def _said(self, text: str) -> Iterator[Chunk]:
        if text:
            yield from self._tags.read(text) if self._tags else (Text(text=text),)

    def _piece(self, piece: ChoiceDeltaToolCall) -> Iterator[Chunk]:
        function = piece.function
        name = (function and function.name) or ""
        arguments = function.arguments if function else None
        yield from self._called(piece.index, piece.id or "", name, arguments)

    def _called(
        self, index: int | None, id: str, name: str, arguments: str | None
    ) -> Iterator[Chunk]:
        """A piece of a tool call: of a new one, or of one that has begun."""
        text = _text(arguments) if arguments else ""
        call = self._calls.of(index, id, name, text)
        if call is None:
            number = len(self._calls.all) + 1
            made = id or f"call_{self._response_id}_{number}"
            call = self._calls.begin(index, Call(made, plain_name(name), number))
        # Its start waits for the arguments, for until then the name may grow.
        if text and call.add(text):
            yield from self._begun(call)
            yield ToolArgs(i=call.i, id=call.id, text=text)

    @staticmethod
    def _begun(call: Call) -> Iterator[Chunk]:
        if not call.told:
            call.told = True
            yield ToolStart(i=call.i, id=call.id, name=call.name)

    def _close_calls(self) -> Iterator[Chunk]:
        """The calls, whole now, and before them what the model thought, which it wants back with their results."""
        thoughts: dict[str, JsonValue] = {n: "".join(said) for n, said in self._thoughts.items()}
        if thoughts and self._calls.all:
            yield ReasoningState(form="reasoning_item", opaque=thoughts)
        for call in self._calls.all:
            yield from self._begun(call)
            yield tool_end(call.id, call.name, call.text, i=call.i)


def _joined(thought: object) -> str:
    """The text of a thought, which is a text or a list of parts with one."""
    if isinstance(thought, str):
        return thought
    parts = thought if isinstance(thought, list) else ()
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, dict))


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
