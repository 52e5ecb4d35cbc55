"""Anthropic Messages, read event by event.

The SDK's accumulating helper is not used: it repairs broken tool arguments and takes a body that just ends for an
answer. Its own telemetry stays off, because a gateway span covers the call already.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from partsong.contracts.talk.chunks import (
    Chunk,
    Citation,
    End,
    Failed,
    Raw,
    Reasoning,
    ReasoningState,
    Refusal,
    ServerTool,
    Start,
    StopReason,
    Text,
    ToolArgs,
    ToolStart,
    Usage,
)
from partsong.models.core.arguments import parse_arguments, tool_end
from partsong.models.port import TurnRequest
from partsong.models.providers import transport
from partsong.models.providers.anthropic_request import params
from partsong.models.streaming import relay

if TYPE_CHECKING:
    import anthropic
    from anthropic import types

__all__ = ["AnthropicProvider"]

_URL = "https://api.anthropic.com"
_STOP: dict[str, StopReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
    "pause_turn": "pause",
}
_Json = dict[str, JsonValue]


class AnthropicProvider:
    """Claude, through Anthropic's API."""

    name = "anthropic"

    def __init__(self, api_key: str, base_url: str = "") -> None:
        self._api_key = api_key or "none"
        self._base_url = base_url or _URL
        self._connection = transport.Connection(self._connect)

    async def warm(self) -> None:
        """Import the SDK."""
        await transport.import_sdk("anthropic")

    def stream(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        """The answer."""
        return relay(self._chunks(request), self._explain, timeout=request.timeout)

    async def aclose(self) -> None:
        """Close the pool."""
        if (client := self._connection.take()) is not None:
            await client.close()

    async def _chunks(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        await self.warm()
        client = await self._connection.get()
        stream = await client.messages.create(
            **params(request), stream=True, timeout=transport.timeout(request)
        )
        reader = _Reader(stream.response.headers.get("request-id"))
        async with stream:
            async for event in stream:
                for chunk in reader.read(event):
                    yield chunk

    def _explain(self, error: Exception) -> Failed:
        own = self._base_url == _URL
        return _explain(error) if own else transport.at_address(_explain(error), self._base_url)

    def _connect(self) -> anthropic.AsyncAnthropic:
        import anthropic

        client = anthropic.AsyncAnthropic(
            api_key=self._api_key,
            base_url=self._base_url,
            max_retries=0,
            open_telemetry=False,
            http_client=anthropic.DefaultAsyncHttpxClient(limits=transport.limits()),
        )
        _ = client.messages  # loads it
        return client


@dataclass(slots=True)
class _Block:
    data: _Json
    """The content block as it began."""
    texts: list[str] = field(default_factory=list)
    signature: str = ""

    @property
    def text(self) -> str:
        return "".join(self.texts)


class _Reader:
    """Events in, chunks out."""

    def __init__(self, request_id: str | None) -> None:
        self._request_id = request_id
        self._blocks: dict[int, _Block] = {}
        self._usage = Usage()
        self._native: str | None = None

    def read(self, event: types.RawMessageStreamEvent) -> Iterator[Chunk]:
        match event.type:
            case "message_start":
                message = event.message
                yield Start(
                    provider="anthropic",
                    model=message.model,
                    response_id=message.id,
                    request_id=self._request_id,
                )
                yield self._count(message.usage)
            case "content_block_start":
                yield from self._begin(event)
            case "content_block_delta":
                yield from self._continue(event)
            case "content_block_stop":
                yield from self._finish(event.index)
            case "message_delta":
                yield from self._close(event)
            case "message_stop":
                yield End(stop=_STOP.get(self._native or "", "other"), native=self._native)
            case _:
                yield Raw(data=_dump(event))

    def _begin(self, event: types.RawContentBlockStartEvent) -> Iterator[Chunk]:
        block, i = event.content_block, event.index
        opened = self._blocks[i] = _Block(_dump(block))
        match block.type:
            case "text" if block.text:
                yield Text(i=i, text=block.text)
            case "thinking" if block.thinking:
                opened.texts.append(block.thinking)
                yield Reasoning(i=i, text=block.thinking)
            case "tool_use":
                yield ToolStart(i=i, id=block.id, name=block.name)
            case _:
                pass

    def _continue(self, event: types.RawContentBlockDeltaEvent) -> Iterator[Chunk]:
        delta, i, block = event.delta, event.index, self._blocks[event.index]
        match delta.type:
            case "text_delta":
                yield Text(i=i, text=delta.text)
            case "thinking_delta":
                block.texts.append(delta.thinking)
                yield Reasoning(i=i, text=delta.thinking)
            case "signature_delta":
                block.signature += delta.signature
            case "input_json_delta":
                block.texts.append(delta.partial_json)
                if block.data["type"] == "tool_use" and delta.partial_json:
                    yield ToolArgs(i=i, id=str(block.data["id"]), text=delta.partial_json)
            case "citations_delta":
                yield Citation(i=i, data=_dump(delta.citation))
            case _:
                yield Raw(data=_dump(event))

    def _finish(self, i: int) -> Iterator[Chunk]:
        block = self._blocks.pop(i)
        data = block.data
        match data["type"]:
            case "text":
                pass
            case "thinking":
                whole: _Json = {**data, "thinking": block.text, "signature": block.signature}
                yield ReasoningState(i=i, form="signature", opaque=whole)
            case "redacted_thinking":
                yield ReasoningState(i=i, form="redacted", opaque=data)
            case "tool_use":
                yield tool_end(str(data["id"]), str(data["name"]), block.text, i=i)
            case _:
                given = parse_arguments(block.text) if block.texts else None
                yield ServerTool(i=i, data=data if given is None else {**data, "input": given})

    def _close(self, event: types.RawMessageDeltaEvent) -> Iterator[Chunk]:
        self._native = event.delta.stop_reason or self._native
        details = event.delta.stop_details
        if details is not None and (details.explanation or details.category):
            yield Refusal(text=details.explanation or f"refused: {details.category}")
        yield self._count(event.usage)

    def _count(self, usage: types.Usage | types.MessageDeltaUsage) -> Usage:
        """Usage so far. Counts are cumulative, null keeps the last one, and input excludes what the cache read or wrote."""
        last = self._usage
        plain = last.input_total - last.cache_read - last.cache_write
        fresh = plain if usage.input_tokens is None else usage.input_tokens
        read, write = usage.cache_read_input_tokens, usage.cache_creation_input_tokens
        read = last.cache_read if read is None else read
        write = last.cache_write if write is None else write
        split = getattr(usage, "cache_creation", None)  # of the first count alone
        details = usage.output_tokens_details
        self._usage = Usage(
            input_total=fresh + read + write,
            output_total=usage.output_tokens,
            cache_read=read,
            cache_write=write,
            cache_write_1h=last.cache_write_1h
            if split is None
            else split.ephemeral_1h_input_tokens,
            reasoning=last.reasoning if details is None else details.thinking_tokens,
        )
        return self._usage


def _dump(value: Any) -> _Json:
    data: _Json = value.to_dict(mode="json", exclude_unset=True, warnings=False)
    return data


def _explain(error: Exception) -> Failed:
    import anthropic

    match error:
        case anthropic.APIStatusError():
            return transport.refused(
                error.api_message or error.message,
                status=error.status_code,
                code=error.type,
                headers=error.response.headers,
                body=error.body,
            )
        case anthropic.APITimeoutError():
            return transport.late(error)
        case anthropic.APIConnectionError():
            return transport.lost(error)
        case _:
            return transport.explain(error)
