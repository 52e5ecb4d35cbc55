"""`Conversation`: what was said, so that the next call can refer to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from partsong.contracts.errors import InvalidInput
from partsong.contracts.talk.messages import MESSAGES, Message, messages_of

__all__ = ["Conversation"]


class Conversation:
    """Give it to each call that belongs to it, of one agent or of several.

    It grows when a call has its answer. A call that fails leaves it as it was. Two calls at once take turns.
    """

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        """Begin with these.

        Raises:
            InvalidInput: `agent.bad_history`, one of them is no message.
        """
        self._messages = messages_of(tuple(messages), "conversation")
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
        """What `to_json` wrote.

        Raises:
            InvalidInput: `agent.bad_history`, it did not write that.
        """
        try:
            return cls(json.loads(text))
        except ValueError as error:
            raise InvalidInput(
                "agent.bad_history", f"no JSON: {error}", where="conversation"
            ) from None

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """Nobody else's call goes on in it meanwhile."""
        async with self._turn:
            yield

    def extend(self, messages: Iterable[Message]) -> None:
        """Add what was said; every tool call must be followed by its result."""
        self._messages = (*self._messages, *messages_of(tuple(messages), "conversation"))
