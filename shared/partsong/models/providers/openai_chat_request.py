"""A turn as Chat Completions wants to be asked for it."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Any

from pydantic import JsonValue

from partsong.contracts.talk.messages import (
    AssistantMessage,
    Message,
    ReasoningStatePart,
    RefusalPart,
    TextPart,
    ToolMessage,
    ToolSpec,
    UserMessage,
)
from partsong.models.core.caching import cache_key
from partsong.models.core.call_ids import nine, renamed
from partsong.models.core.effort import of_compatible, of_openai
from partsong.models.core.options import with_options
from partsong.models.core.schema import closed, in_words, is_strict
from partsong.models.port import TurnRequest
from partsong.models.providers import openai_client

__all__ = ["params"]

_Json = dict[str, JsonValue]
_MISTRAL = re.compile(
    "mistral|ministral|magistral|mixtral|codestral|devstral|pixtral", re.IGNORECASE
)
"""Models whose servers take ids of tool calls of nine letters and digits, and no others."""


def params(
    request: TurnRequest, *, compatible: bool, unknown: Container[str] = ()
) -> dict[str, Any]:
    """The arguments of `completions.create`; compatible servers know the older word for the limit of tokens.

    `unknown` are fields that the server has refused: what they would have said is said otherwise, or not at all.
    """
    asked = max((i for i, m in enumerate(request.messages) if m.role == "user"), default=-1)
    mistral = compatible and _MISTRAL.search(request.model) is not None
    said = renamed(request.messages, nine) if mistral else request.messages
    messages = [
        _message(m, thinking=compatible and i > asked)
        for i, m in enumerate(said)
        if not isinstance(m, AssistantMessage) or m.text or m.tool_calls or _refused(m)
    ]
    instructions = request.instructions
    if request.output_schema is not None and "response_format" in unknown:
        order = in_words(request.output_schema)
        instructions = f"{instructions}\n\n{order}".strip()
    if instructions:
        messages.insert(0, {"role": "system", "content": instructions})
    fields: dict[str, Any] = {
        "model": request.model,
        "messages": messages,
        "max_tokens" if compatible else "max_completion_tokens": request.max_tokens,
    }
    if "stream_options" not in unknown:
        fields["stream_options"] = {"include_usage": True}  # without it no usage comes at all
    if request.tools:
        fields["tools"] = [_tool(tool) for tool in request.tools]
    if request.temperature is not None:
        fields["temperature"] = request.temperature
    if request.output_schema is not None and "response_format" not in unknown:
        schema = closed(request.output_schema)
        told = {"schema": schema, "strict": is_strict(schema)}
        answer = {"name": "answer", **(told if compatible else openai_client.strict(schema))}
        fields["response_format"] = {"type": "json_schema", "json_schema": answer}
    effort = of_compatible if compatible else of_openai
    if level := effort(request.model, request.effort):
        fields["reasoning_effort"] = level.name
    if request.cache != "off" and not compatible:
        fields["prompt_cache_key"] = cache_key(request)
    if request.extra or request.options:
        fields["extra_body"] = {**with_options(fields, request.options), **request.extra}
    return fields


def _refused(message: AssistantMessage) -> bool:
    return any(isinstance(part, RefusalPart) for part in message.parts)


def _tool(tool: ToolSpec) -> _Json:
    """What the vendor knows of a tool; whom it asks for leave is nobody's business there."""
    function: _Json = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return {"type": "function", "function": function}


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
