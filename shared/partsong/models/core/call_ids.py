"""Ids of tool calls: unique in a conversation, and of a form that every vendor takes.

Servers repeat them from turn to turn, give two calls one id or none at all, and each vendor refuses what another has
made: Anthropic takes letters, digits, `_` and `-`, OpenAI 40 signs, Mistral nine letters and digits. What a model says
is renamed as it comes, so that logs hold good ids; what goes out is renamed again, for logs of before and other vendors.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator

from partsong.contracts.talk.chunks import Chunk, ToolArgs, ToolEnd, ToolStart
from partsong.contracts.talk.messages import AssistantMessage, Message, ToolCallPart, ToolMessage

__all__ = ["CallIds", "nine", "renamed", "safe"]

_LONGEST = 40
_SAFE = re.compile(rf"[A-Za-z0-9_-]{{1,{_LONGEST}}}")
_UNSAFE = re.compile("[^A-Za-z0-9_-]")

_Form = Callable[[str, int], str]
"""An id in the form that somebody takes; the number tells apart what would be the same."""


def safe(id: str, number: int = 0) -> str:
    """The id itself if every vendor but Mistral takes it, else one made of it."""
    if _SAFE.fullmatch(id) is None:
        # Of two that look alike without their odd signs, each keeps a sum of what it was.
        id = f"{_UNSAFE.sub('_', id)[:24] or 'call'}_{_sum(id, 8)}"
    return f"{id[: _LONGEST - 8]}_{number + 1}" if number else id


def nine(id: str, number: int = 0) -> str:
    """Nine letters and digits, the same for the same id."""
    if not number and re.fullmatch("[A-Za-z0-9]{9}", id):
        return id
    return _sum(f"{id}#{number}", 9)


def _sum(text: str, length: int) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:length]


def _free(id: str, taken: set[str], form: _Form) -> str:
    number = 0
    while (made := form(id, number)) in taken:
        number += 1
    taken.add(made)
    return made


class CallIds:
    """Renames the calls of one attempt as they come, so that no two of the conversation have one id."""

    def __init__(self, messages: Iterable[Message]) -> None:
        """`messages` are those before."""
        self._taken = {call.id for call in _calls(messages)}
        self._ours: dict[tuple[int, str], str] = {}

    def __call__(self, chunk: Chunk) -> Chunk:
        """The chunk, with our id if it is of a call."""
        if not isinstance(chunk, ToolStart | ToolArgs | ToolEnd):
            return chunk
        key = chunk.i, chunk.id
        if isinstance(chunk, ToolStart) or key not in self._ours:
            self._ours[key] = _free(chunk.id, self._taken, safe)
        ours = self._ours[key]
        return chunk if ours == chunk.id else chunk.model_copy(update={"id": ours})


def renamed(messages: tuple[Message, ...], form: _Form = safe) -> tuple[Message, ...]:
    """The conversation with ids of this form, each of one call; results go with the calls that they answer."""
    ids = [call.id for call in _calls(messages)]
    if len({*ids}) == len(ids) and all(form(id_, 0) == id_ for id_ in ids):
        return messages
    return tuple(_renamed(messages, form))


def _renamed(messages: tuple[Message, ...], form: _Form) -> Iterator[Message]:
    taken: set[str] = set()
    waiting: dict[str, list[str]] = {}
    """New ids of calls without a result yet, by the old one, in the order of the calls."""
    for message in messages:
        match message:
            case AssistantMessage():
                waiting = {}
                parts = []
                for part in message.parts:
                    if isinstance(part, ToolCallPart):
                        ours = _free(part.id, taken, form)
                        waiting.setdefault(part.id, []).append(ours)
                        part = part.model_copy(update={"id": ours})  # noqa: PLW2901
                    parts.append(part)
                yield message.model_copy(update={"parts": tuple(parts)})
            case ToolMessage():
                left = waiting.get(message.call_id)
                ours = left.pop(0) if left else form(message.call_id, 0)
                yield message.model_copy(update={"call_id": ours})
            case _:
                yield message


def _calls(messages: Iterable[Message]) -> Iterator[ToolCallPart]:
    for message in messages:
        if isinstance(message, AssistantMessage):
            yield from message.tool_calls
