"""OpenAI Chat Completions, which Ollama, vLLM, llama.cpp and many others speak too."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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
from partsong.contracts.talk.messages import (
    AssistantMessage,
    Message,
    ReasoningStatePart,
    RefusalPart,
    TextPart,
    ToolMessage,
    UserMessage,
)
from partsong.models.core.arguments import parse_arguments, tool_end
from partsong.models.core.effort import of_compatible, of_openai
from partsong.models.core.schema import closed, is_strict
from partsong.models.port import TurnRequest
from partsong.models.providers import openai_client, transport
from partsong.models.streaming import relay

if TYPE_CHECKING:
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionChunk
    from openai.types.chat.chat_completion_chunk import ChoiceDelta, ChoiceDeltaToolCall

__all__ = ["ChatProvider"]

_STOP: dict[str, StopReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "blocked",
}
_Json = dict[str, JsonValue]


class ChatProvider:
    """Any server that speaks Chat Completions."""

    name = "openai-chat"

    def __init__(self, api_key: str, base_url: str = "") -> None:
        self._base_url = base_url
        self._connection = transport.Connection(lambda: openai_client.connect(api_key, base_url))

    async def warm(self) -> None:
        """Import the SDK."""
        await transport.import_sdk("openai")

    def stream(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        """The answer."""
        return relay(self._chunks(request), openai_client.explain, timeout=request.timeout)

    async def aclose(self) -> None:
        """Close the pool."""
        if (client := self._connection.take()) is not None:
            await client.close()

    async def _chunks(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        await self.warm()
        client = await self._connection.get()
        params = _params(request, compatible=bool(self._base_url))
        stream = await client.chat.completions.create(
            **params, stream=True, timeout=transport.timeout(request)
        )
        reader = _Reader(stream.response.headers.get("x-request-id"))
        async with stream:
            async for event in stream:
                for chunk in reader.read(event):
                    yield chunk
        for chunk in reader.ended():
            yield chunk


def _params(request: TurnRequest, *, compatible: bool) -> dict[str, Any]:
    """The arguments of `completions.create`; compatible servers know the older word for the limit of tokens."""
    asked = max((i for i, m in enumerate(request.messages) if m.role == "user"), default=-1)
    messages = [_message(m, thinking=i > asked) for i, m in enumerate(request.messages)]
    if request.instructions:
        messages.insert(0, {"role": "system", "content": request.instructions})
    params: dict[str, Any] = {
        "model": request.model,
        "messages": messages,
        "max_tokens" if compatible else "max_completion_tokens": request.max_tokens,
        "stream_options": {"include_usage": True},  # without it no usage comes at all
    }
    if request.tools:
        params["tools"] = [
            {"type": "function", "function": tool.model_dump(mode="json")} for tool in request.tools
        ]
    if request.temperature is not None:
        params["temperature"] = request.temperature
    if request.output_schema is not None:
        schema = closed(request.output_schema)
        told = {"schema": schema, "strict": is_strict(schema)}
        answer = {"name": "answer", **(told if compatible else openai_client.strict(schema))}
        params["response_format"] = {"type": "json_schema", "json_schema": answer}
    effort = of_compatible if compatible else of_openai
    if level := effort(request.model, request.effort):
        params["reasoning_effort"] = level.name
    if request.extra:
        params["extra_body"] = dict(request.extra)
    return params


def _message(message: Message, *, thinking: bool) -> _Json:
    """A message; what the model thought goes back only while its tools run, and under the name it came by."""
    match message:
        case UserMessage():
            return {"role": "user", "content": message.text}
        case ToolMessage():
            content = f"Error: {message.text}" if message.is_error else message.text
            return {"role": "tool", "tool_call_id": message.call_id, "content": content}
        case AssistantMessage():
            said = [part.text for part in message.parts if isinstance(part, TextPart | RefusalPart)]
            calls: list[JsonValue] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": openai_client.compact(call.args)},
                }
                for call in message.tool_calls
            ]
            turn: _Json = {"role": "assistant", "content": "".join(said) or None}
            for part in message.parts if thinking else ():
                match part:
                    case ReasoningStatePart(provider="openai-chat", opaque=dict() as thought):
                        turn |= thought
                    case _:
                        pass
            return {**turn, "tool_calls": calls} if calls else turn


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


class _Reader:
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
