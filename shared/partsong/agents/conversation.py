"""`Conversation`: what was said, so that the next call can refer to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from partsong.contracts.talk.messages import MESSAGES, Message

__all__ = ["Conversation"]


class Conversation:
    """Give it to each call that belongs to it, of one agent or of several.

    It grows when a call has its answer. A call that fails leaves it as it was. Two calls at once take turns.
    """

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._messages = tuple(messages)
        self._turn = asyncio.Lock()

    @property
    def messages(self) -> tuple[Message, ...]:
        """Everything said, in order."""
        return self._messages

    def fork(self) -> Conversation:
        """Another conversation with the same past."""
        return Conversation(self._messages)

    def to_json(self) -> str:
        """The conversation as text, for a file or a database."""
        return MESSAGES.dump_json(self._messages).decode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Conversation:
        """What `to_json` wrote."""
        return cls(MESSAGES.validate_json(text))

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Nobody else's call goes on in it meanwhile."""
        async with self._turn:
            yield

    def extend(self, messages: Iterable[Message]) -> None:
        """Add what was said; every tool call must be followed by its result."""
        self._messages = (*self._messages, *messages)
