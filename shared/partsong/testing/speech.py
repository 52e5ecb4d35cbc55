"""Speech: a whole answer as the chunks in which a provider would have said it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import assert_never

from partsong.contracts.events import TurnUsage
from partsong.contracts.talk.chunks import (
    Chunk,
    End,
    ReasoningState,
    Refusal,
    ServerTool,
    Start,
    StopReason,
    Text,
    ToolArgs,
    ToolEnd,
    ToolStart,
    Usage,
)
from partsong.contracts.talk.messages import (
    AssistantMessage,
    Part,
    ReasoningStatePart,
    RefusalPart,
    ServerToolPart,
    TextPart,
    ToolCallPart,
)

__all__ = ["speech", "words"]


def speech(
    provider: str, model: str, message: AssistantMessage, stop: StopReason, usage: TurnUsage
) -> Iterator[Chunk]:
    """The chunks of an answer: put together again, they are this very message."""
    yield Start(provider=provider, model=model)
    for i, part in enumerate(message.parts):
        yield from _said(part, i)
    yield Usage(
        input_total=usage.input_total,
        output_total=usage.output_total,
        cache_read=usage.cache_read,
        cache_write=usage.cache_write,
        cache_write_1h=usage.cache_write_1h,
        reasoning=usage.reasoning,
    )
    yield End(stop=stop, native=stop)


def words(text: str) -> list[str]:
    """Words with the white space around them: joined, they are the text."""
    return re.findall(r"\s*\S+\s*", text) or [text]


def _said(part: Part, i: int) -> Iterator[Chunk]:
    match part:
        case TextPart():
            for word in words(part.text):
                yield Text(i=i, text=word)
        case RefusalPart():
            for word in words(part.text):
                yield Refusal(i=i, text=word)
        case ToolCallPart():
            raw = json.dumps(part.args, ensure_ascii=False)
            yield ToolStart(i=i, id=part.id, name=part.name)
            yield ToolArgs(i=i, id=part.id, text=raw)
            yield ToolEnd(i=i, id=part.id, name=part.name, raw=raw, ok=True, args=part.args)
        case ReasoningStatePart():
            yield ReasoningState(i=i, form=part.form, opaque=part.opaque)
        case ServerToolPart():
            yield ServerTool(i=i, data=part.data)
        case _:
            assert_never(part)
