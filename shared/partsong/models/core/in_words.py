"""What a model is told in words of a conversation: media are left out and said, and so is what no wire has a place for."""

from __future__ import annotations

from pydantic import JsonValue

from partsong.contracts.talk.media import without_media
from partsong.contracts.talk.messages import Message, ToolMessage, UserMessage

__all__ = ["in_words"]

_LONG = 256


def in_words(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages as a model reads them; the same message always becomes the same words."""
    return tuple(_worded(message) for message in messages)


def _worded(message: Message) -> Message:
    match message:
        case UserMessage():
            text = without_media(message.text)
            note = _unknown(message)
            said = "\n".join(part for part in (str(text), note) if part) if note else text
            return message if said == message.text else message.model_copy(update={"text": said})
        case ToolMessage():
            content = without_media(message.content)
            if note := _unknown(message):
                content = {"content": content, "note": note}
            if content == message.content:
                return message
            return message.model_copy(update={"content": content})
        case _:
            return message


def _unknown(message: UserMessage | ToolMessage) -> str:
    """The fields that are not ours: of a newer version, or the user's own; a date or a name is no part of what was said."""
    extra = message.model_extra or {}
    named = [name for name, value in extra.items() if _says_something(value)]
    if not named:
        return ""
    return f"[left out of this message: {', '.join(named)}; this version cannot give it to a model]"


def _says_something(value: JsonValue) -> bool:
    match value:
        case str():
            return len(value) > _LONG
        case list() | dict():
            return bool(value)
        case _:
            return False
