"""Sendable messages: what vendors refuse, such as an answer without a word, is left out on the way to them.

Conversations come from logs of any age, from files, and from plugins that have emptied an answer: none may be refused for
ever because of one message that says nothing.
"""

from __future__ import annotations

from partsong.contracts.talk.messages import (
    AssistantMessage,
    Message,
    Part,
    ReasoningStatePart,
    TextPart,
)

__all__ = ["sendable"]


def sendable(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Leave out blank text of answers, and answers that say nothing; nearly always, that is nothing."""
    if all(_good(message) for message in messages):
        return messages
    kept: list[Message] = []
    for message in messages:
        if not isinstance(message, AssistantMessage) or _good(message):
            kept.append(message)
            continue
        parts = tuple(part for part in message.parts if not _blank(part))
        if any(not isinstance(part, ReasoningStatePart) for part in parts):
            kept.append(message.model_copy(update={"parts": parts}))
    return tuple(kept)


def _good(message: Message) -> bool:
    if not isinstance(message, AssistantMessage):
        return True
    says = any(not isinstance(part, ReasoningStatePart) for part in message.parts)
    return says and not any(_blank(part) for part in message.parts)


def _blank(part: Part) -> bool:
    return isinstance(part, TextPart) and not part.text.strip()
