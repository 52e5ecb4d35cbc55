"""A turn as Gemini wants to be asked for it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from pydantic import JsonValue

from partsong.contracts.talk.messages import (
    AssistantMessage,
    Message,
    ReasoningStatePart,
    RefusalPart,
    ServerToolPart,
    TextPart,
    ToolCallPart,
    ToolMessage,
    UserMessage,
)
from partsong.models.core.effort import Budget, Level, of_gemini
from partsong.models.core.options import with_options
from partsong.models.port import TurnRequest

if TYPE_CHECKING:
    from google.genai import types

__all__ = ["config", "contents"]

_Part = dict[str, Any]


def config(request: TurnRequest) -> types.GenerateContentConfig:
    """Everything but the conversation. Nothing happens that we did not ask for: no function is called, nothing continued."""
    from google.genai import types

    fields: dict[str, Any] = {
        "max_output_tokens": request.max_tokens,
        "temperature": request.temperature,
        "system_instruction": request.instructions or None,
        "automatic_function_calling": {"disable": True},
        "automatic_continuation": False,
        "http_options": {
            "timeout": int(request.timeout * 1000),
            "extra_body": dict(request.extra) or None,
        },
    }
    if request.tools:
        declared = [
            {"name": t.name, "description": t.description, "parameters_json_schema": t.parameters}
            for t in request.tools
        ]
        fields["tools"] = [{"function_declarations": declared}]
    if request.output_schema is not None:
        fields["response_mime_type"] = "application/json"
        fields["response_json_schema"] = dict(request.output_schema)
    match of_gemini(request.model, request.effort, request.max_tokens):
        case Level(word):
            fields["thinking_config"] = {"include_thoughts": True, "thinking_level": word}
        case Budget(tokens):
            fields["thinking_config"] = {"include_thoughts": True, "thinking_budget": tokens}
        case None:
            pass
    fields |= with_options(fields, request.options)
    return types.GenerateContentConfig.model_validate(fields)


def contents(messages: tuple[Message, ...]) -> types.ContentListUnion:
    """The conversation. Tool results and what the user says after them are one content."""
    from google.genai import types

    turns: list[tuple[str, list[_Part]]] = []
    for message in messages:
        role = "model" if message.role == "assistant" else "user"
        parts = list(_parts(message))
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(parts)
        elif parts:
            turns.append((role, parts))
    built = [types.Content.model_validate({"role": role, "parts": parts}) for role, parts in turns]
    return cast("types.ContentListUnion", built)


def _parts(message: Message) -> Iterator[_Part]:
    match message:
        case UserMessage():
            yield {"text": message.text}
        case ToolMessage():
            content: JsonValue = message.content
            response = {"error" if message.is_error else "result": content}
            answer = {"id": message.call_id, "name": message.name, "response": response}
            yield {"function_response": answer}
        case AssistantMessage():
            yield from _said(message)


def _said(message: AssistantMessage) -> Iterator[_Part]:
    """The model's own parts; a thought signature goes back on the part on which it came."""
    from google.genai import types

    signed: _Part = {}
    for part in message.parts:
        match part:
            case ReasoningStatePart(provider="google", opaque={"on": on, "signature": str(text)}):
                signed = {"thought_signature": base64.b64decode(text)}
                if on == "nothing":
                    yield {"text": "", **signed}
                    signed = {}
            case TextPart() | RefusalPart():
                yield {"text": part.text, **signed}
                signed = {}
            case ToolCallPart():
                call = {"id": part.id, "name": part.name, "args": part.args}
                yield {"function_call": call, **signed}
                signed = {}
            case ServerToolPart(provider="google", data=dict() as data):
                yield types.Part.model_validate_json(json.dumps(data)).model_dump(exclude_none=True)
            case ReasoningStatePart() | ServerToolPart():
                pass  # another provider's
