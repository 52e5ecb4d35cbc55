"""OpenAI Chat Completions, which Ollama, vLLM, llama.cpp and many others speak too."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from partsong.agent_gateway.core.arguments import tool_end
from partsong.agent_gateway.core.schema import closed, is_strict
from partsong.agent_gateway.port import TurnRequest
from partsong.agent_gateway.providers import openai_client, transport
from partsong.agent_gateway.streaming import relay
from partsong.contracts.chunks import (
    Chunk,
    End,
    Reasoning,
    Refusal,
    Start,
    StopReason,
    Text,
    ToolArgs,
    ToolStart,
    Usage,
)
from partsong.contracts.messages import (
    AssistantMessage,
    Message,
    RefusalPart,
    TextPart,
    ToolMessage,
    UserMessage,
)

if TYPE_CHECKING:
    import openai
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
        self._api_key = api_key
        self._base_url = base_url
        self._client: openai.AsyncOpenAI | None = None

    async def warm(self) -> None:
        """Import the SDK."""
        await transport.import_sdk("openai")

    def stream(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        """The answer."""
        return relay(self._chunks(request), openai_client.explain, timeout=request.timeout)

    async def aclose(self) -> None:
        """Close the pool."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _chunks(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        await self.warm()
        client = self._client = self._client or openai_client.connect(self._api_key, self._base_url)
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
    messages = [_message(message) for message in request.messages]
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
        answer = {"name": "answer", "schema": schema, "strict": is_strict(schema)}
        params["response_format"] = {"type": "json_schema", "json_schema": answer}
    if request.effort is not None:
        params["reasoning_effort"] = request.effort
    if request.extra:
        params["extra_body"] = dict(request.extra)
    return params


def _message(message: Message) -> _Json:
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
            return {**turn, "tool_calls": calls} if calls else turn


@dataclass(slots=True)
class _Call:
    id: str
    name: str
    i: int
    texts: list[str] = field(default_factory=list)


class _Reader:
    """Events in, chunks out. The end is only known when the body is: the usage comes after the finish reason."""

    def __init__(self, request_id: str | None) -> None:
        self._request_id = request_id
        self._response_id = ""
        self._calls: list[_Call] = []
        self._open: dict[int, _Call] = {}
        """The latest call of each index."""
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
        thought = extra.get("reasoning_content") or extra.get("reasoning")
        if isinstance(thought, str) and thought:
            yield Reasoning(text=thought)
        if delta.content:
            yield Text(text=delta.content)
        if delta.refusal:
            self._refused = True
            yield Refusal(text=delta.refusal)
        for piece in delta.tool_calls or ():
            yield from self._piece(piece)

    def _piece(self, piece: ChoiceDeltaToolCall) -> Iterator[Chunk]:
        """A piece of a tool call. Id and name come with the first one; some servers give all calls the same index."""
        function, call = piece.function, self._open.get(piece.index)
        if call is None or (piece.id and piece.id != call.id):
            number = len(self._calls) + 1
            name = (function and function.name) or ""
            call = _Call(piece.id or f"call_{self._response_id}_{number}", name, number)
            self._calls.append(call)
            self._open[piece.index] = call
            yield ToolStart(i=number, id=call.id, name=name)
        if function and function.arguments:
            call.texts.append(function.arguments)
            yield ToolArgs(i=call.i, id=call.id, text=function.arguments)

    def _close_calls(self) -> Iterator[Chunk]:
        for call in self._calls:
            yield tool_end(call.id, call.name, "".join(call.texts), i=call.i)


def _usage(usage: CompletionUsage) -> Usage:
    read, out = usage.prompt_tokens_details, usage.completion_tokens_details
    return Usage(
        input_total=usage.prompt_tokens,
        output_total=usage.completion_tokens,
        cache_read=(read and read.cached_tokens) or 0,
        cache_write=(read and read.cache_write_tokens) or 0,
        reasoning=(out and out.reasoning_tokens) or 0,
    )
