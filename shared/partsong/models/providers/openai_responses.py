"""OpenAI Responses, read event by event. Nothing is stored with the vendor: the conversation is sent each time."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from partsong.contracts.talk.chunks import (
    Chunk,
    Citation,
    End,
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
from partsong.contracts.talk.messages import (
    AssistantMessage,
    Message,
    Part,
    ReasoningStatePart,
    RefusalPart,
    ServerToolPart,
    TextPart,
    ToolCallPart,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from partsong.models.core.arguments import tool_end
from partsong.models.core.caching import cache_key
from partsong.models.core.effort import of_openai
from partsong.models.core.options import with_options
from partsong.models.port import TurnRequest
from partsong.models.providers import openai_client, transport
from partsong.models.streaming import relay

if TYPE_CHECKING:
    from openai.types import responses

__all__ = ["ResponsesProvider"]

_INCOMPLETE: dict[str, StopReason] = {
    "max_output_tokens": "length",
    "max_messages": "length",
    "content_filter": "blocked",
    "steered": "pause",
}
_Json = dict[str, JsonValue]


class ResponsesProvider:
    """OpenAI's models, through the Responses API."""

    name = "openai"

    def __init__(self, api_key: str, base_url: str = "") -> None:
        self._base_url = base_url
        self._compatible = not openai_client.is_own(base_url)
        self._connection = transport.Connection(lambda: openai_client.connect(api_key, base_url))

    async def warm(self) -> None:
        """Import the SDK."""
        await transport.import_sdk("openai")

    def stream(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        """The answer."""
        explain = partial(openai_client.explain, base_url=self._base_url, model=request.model)
        return relay(self._chunks(request), explain, timeout=request.timeout)

    async def aclose(self) -> None:
        """Close the pool."""
        if (client := self._connection.take()) is not None:
            await client.close()

    async def _chunks(self, request: TurnRequest) -> AsyncGenerator[Chunk, None]:
        await self.warm()
        client = await self._connection.get()
        stream = await client.responses.create(
            **_params(request, compatible=self._compatible),
            stream=True,
            timeout=transport.timeout(request),
        )
        reader = _Reader(stream.response.headers.get("x-request-id"))
        async with stream:
            async for event in stream:
                for chunk in reader.read(event):
                    yield chunk


def _params(request: TurnRequest, *, compatible: bool) -> dict[str, Any]:
    params: dict[str, Any] = {
        "model": request.model,
        "input": [item for message in request.messages for item in _items(message)],
        "max_output_tokens": request.max_tokens,
        "store": False,
    }
    if request.instructions:
        params["instructions"] = request.instructions
    if request.tools:
        params["tools"] = [_tool(tool) for tool in request.tools]
    if request.temperature is not None:
        params["temperature"] = request.temperature
    if request.output_schema is not None:
        answer: _Json = {"type": "json_schema", "name": "answer"}
        answer |= openai_client.strict(request.output_schema)
        params["text"] = {"format": answer}
    if level := of_openai(request.model, request.effort):
        params["reasoning"] = {"effort": level.name, "summary": "auto"}
    if of_openai(
        request.model, "medium"
    ):  # a model that thinks; what is not stored must come back sealed
        params["include"] = ["reasoning.encrypted_content"]
    if request.cache != "off" and not compatible:
        params["prompt_cache_key"] = cache_key(request)
    if request.extra or request.options:
        params["extra_body"] = {**with_options(params, request.options), **request.extra}
    return params


def _tool(tool: ToolSpec) -> _Json:
    told = openai_client.strict(tool.parameters)
    strict = told["strict"] is True
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": told["schema"] if strict else tool.parameters,
        "strict": strict,
    }


def _items(message: Message) -> Iterator[_Json]:
    match message:
        case UserMessage():
            yield {"role": "user", "content": message.text}
        case ToolMessage():
            output = f"Error: {message.text}" if message.is_error else message.text
            yield {"type": "function_call_output", "call_id": message.call_id, "output": output}
        case AssistantMessage():
            for part in message.parts:
                yield from _item(part)


def _item(part: Part) -> Iterator[_Json]:
    match part:
        case TextPart() | RefusalPart():
            yield {"role": "assistant", "content": part.text}
        case ToolCallPart():
            arguments = openai_client.compact(part.args)
            yield {
                "type": "function_call",
                "call_id": part.id,
                "name": part.name,
                "arguments": arguments,
            }
        case ReasoningStatePart(provider="openai", opaque=dict() as item):
            if item.get("encrypted_content") or item.get("content"):
                yield item  # without either it is only a reference, to something that was not stored
        case ServerToolPart(provider="openai", data=dict() as item):
            yield item
        case ReasoningStatePart() | ServerToolPart():
            pass  # another provider's


class _Reader:
    """Events in, chunks out."""

    def __init__(self, request_id: str | None) -> None:
        self._request_id = request_id
        self._calls: dict[int, str] = {}
        """Call ids by output index: the deltas name the item, the tool's result must name the call."""
        self._refused = False

    def read(self, event: responses.ResponseStreamEvent) -> Iterator[Chunk]:  # noqa: C901, PLR0912  # a table
        match event.type:
            case "response.created":
                response = event.response
                yield Start(
                    provider="openai",
                    model=str(response.model),
                    response_id=response.id,
                    request_id=self._request_id,
                )
            case "response.output_text.delta":
                yield Text(i=event.output_index, text=event.delta)
            case "response.refusal.delta":
                self._refused = True
                yield Refusal(i=event.output_index, text=event.delta)
            case "response.reasoning_text.delta":
                yield Reasoning(i=event.output_index, text=event.delta)
            case "response.reasoning_summary_text.delta":
                yield Reasoning(i=event.output_index, text=event.delta, form="summary")
            case "response.function_call_arguments.delta":
                if call := self._calls.get(event.output_index):
                    yield ToolArgs(i=event.output_index, id=call, text=event.delta)
            case "response.output_text.annotation.added":
                yield Citation(i=event.output_index, data=openai_client.dump(event)["annotation"])
            case "response.output_item.added":
                yield from self._added(event.output_index, event.item)
            case "response.output_item.done":
                yield from self._done(event.output_index, event.item)
            case "response.completed" | "response.incomplete":
                yield from self._ended(event.response)
            case "response.failed":
                error = event.response.error
                code, message = (
                    (error.code, error.message) if error else (None, "the response failed")
                )
                yield transport.refused(message, status=None, code=code)
            case "error":
                yield transport.refused(event.message, status=None, code=event.code)
            case "response.content_part.done" if event.part.type not in _TEXTS:
                yield Raw(data=openai_client.dump(event))
            case _:
                if event.type not in _REDUNDANT:
                    yield Raw(data=openai_client.dump(event))

    def _added(self, i: int, item: responses.ResponseOutputItem) -> Iterator[Chunk]:
        if item.type == "function_call":
            self._calls[i] = item.call_id
            yield ToolStart(i=i, id=item.call_id, name=item.name)

    def _done(self, i: int, item: responses.ResponseOutputItem) -> Iterator[Chunk]:
        match item.type:
            case "message":
                pass
            case "function_call":
                yield tool_end(item.call_id, item.name, item.arguments, i=i)
            case (
                "reasoning"
            ):  # whole only here: when it is added, the encrypted content may be incomplete
                yield ReasoningState(i=i, form="reasoning_item", opaque=openai_client.dump(item))
            case _:
                yield ServerTool(i=i, data=openai_client.dump(item))

    def _ended(self, response: responses.Response) -> Iterator[Chunk]:
        if usage := response.usage:
            yield Usage(
                input_total=usage.input_tokens,
                output_total=usage.output_tokens,
                cache_read=usage.input_tokens_details.cached_tokens,
                cache_write=usage.input_tokens_details.cache_write_tokens,
                reasoning=usage.output_tokens_details.reasoning_tokens,
            )
        details = response.incomplete_details
        native = details.reason if details and details.reason else response.status
        stop: StopReason = (
            _INCOMPLETE.get(native or "", "other")
            if response.status == "incomplete"
            else "tool_calls"
            if self._calls
            else "refusal"
            if self._refused
            else "stop"
        )
        yield End(stop=stop, native=native)


_TEXTS = frozenset({"output_text", "refusal", "reasoning_text"})
"""Parts of content of which every word has come before."""
_REDUNDANT = frozenset(
    {
        "response.queued",
        "response.in_progress",
        "response.content_part.added",
        "response.content_part.done",
        "response.output_text.done",
        "response.refusal.done",
        "response.reasoning_text.done",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_part.done",
        "response.reasoning_summary_text.done",
        "response.function_call_arguments.done",
    }
)
"""Events that only repeat what others have said."""
