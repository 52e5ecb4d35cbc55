"""A turn as Anthropic Messages wants to be asked for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import JsonValue

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
    UserMessage,
)
from partsong.models.core.caching import mark
from partsong.models.core.effort import Budget, Level, of_claude
from partsong.models.core.options import with_options
from partsong.models.core.schema import CLAUDE, closed, in_words, is_closed, portable
from partsong.models.port import TurnRequest

__all__ = ["params"]

_Json = dict[str, JsonValue]


def params(request: TurnRequest) -> dict[str, Any]:
    """The arguments of `messages.create`. It knows no temperature any more; the body still may."""
    fields: dict[str, Any] = {
        "model": request.model,
        "max_tokens": request.max_tokens,
        "messages": _messages(request.messages),
    }
    output: dict[str, JsonValue] = {}
    instructions = request.instructions
    if request.output_schema is not None:
        schema = closed(request.output_schema)
        if is_closed(schema):
            output["format"] = {"type": "json_schema", "schema": portable(schema, CLAUDE)}
        else:
            instructions = f"{instructions}\n\n{in_words(schema)}".strip()
    if instructions:
        fields["system"] = instructions
    if request.tools:
        fields["tools"] = [
            {"name": t.name, "description": t.description, "input_schema": t.parameters}
            for t in request.tools
        ]
    match of_claude(request.model, request.effort, request.max_tokens):
        case Level(word):
            output["effort"] = word
            fields["thinking"] = {"type": "adaptive", "display": "summarized"}
        case Budget(tokens) if not _begun_without_thinking(request.messages):
            fields["thinking"] = {"type": "enabled", "budget_tokens": tokens}
        case _:
            pass
    if output:
        fields["output_config"] = output
    mark(request, fields)
    temperature = {} if request.temperature is None else {"temperature": request.temperature}
    fields["extra_body"] = {
        **temperature,
        **with_options(fields, request.options),
        **request.extra,
    } or None
    return fields


def _begun_without_thinking(messages: tuple[Message, ...]) -> bool:
    """Whether the turns since the user spoke began without a thought: models with a budget refuse to think then."""
    for message in reversed(messages):
        match message:
            case AssistantMessage():
                first = next(iter(message.parts), None)
                if not (isinstance(first, ReasoningStatePart) and first.provider == "anthropic"):
                    return True
            case UserMessage():
                return False
            case ToolMessage():
                pass
    return False


def _messages(messages: tuple[Message, ...]) -> list[_Json]:
    """The conversation. Tool results and what the user says after them are one message."""
    result: list[_Json] = []
    for message in messages:
        role: Literal["user", "assistant"] = "assistant" if message.role == "assistant" else "user"
        blocks: list[JsonValue] = list(_blocks(message))
        last = result[-1] if result else {}
        if last.get("role") == role and isinstance(content := last.get("content"), list):
            content.extend(blocks)
        elif blocks:
            result.append({"role": role, "content": blocks})
    return result


def _blocks(message: Message) -> Iterator[_Json]:
    match message:
        case UserMessage():
            yield {"type": "text", "text": message.text}
        case ToolMessage():
            yield {
                "type": "tool_result",
                "tool_use_id": message.call_id,
                "content": message.text,
                "is_error": message.is_error,
            }
        case AssistantMessage():
            for part in message.parts:
                yield from _block(part)


def _block(part: Part) -> Iterator[_Json]:
    match part:
        case TextPart() | RefusalPart():
            if part.text.strip():  # a blank block is refused
                yield {"type": "text", "text": part.text}
        case ToolCallPart():
            yield {"type": "tool_use", "id": part.id, "name": part.name, "input": part.args}
        case ReasoningStatePart(provider="anthropic", opaque=dict() as block):
            yield block
        case ServerToolPart(provider="anthropic", data=dict() as block):
            yield block
        case ReasoningStatePart() | ServerToolPart():
            pass  # another provider's
