"""`AgentStream`: a call's answer while it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing
from typing import TypeAlias

from partsong.agents.asking import Telling
from partsong.agents.result import AgentResult
from partsong.contracts.errors import Conflict
from partsong.contracts.talk.chunks import Chunk, Text

__all__ = ["AgentStream"]

_Call: TypeAlias = Callable[
    [Callable[[Chunk], None], Telling], Coroutine[None, None, AgentResult[object]]
]


class AgentStream:
    """Iterated, it yields text; `chunks` yields everything. To be read once; leaving early ends the call.

        stream = agent.call_stream("Explain Python")
        async for piece in stream:
            print(piece, end="")
        print(stream.result.usage)

    A call that fails raises its error from the iteration, after what came before it. Text once shown stays true: if the
    turn breaks off, no second attempt follows, for its text would be joined to the first one's. Chunks say which attempt
    they belong to, so in `chunks` attempts may follow each other.
    """

    def __init__(self, call: _Call) -> None:
        self._call = call
        self._result: AgentResult[object] | None = None
        self._begun = False

    def __aiter__(self) -> AsyncIterator[str]:
        return self._texts()

    def chunks(self) -> AsyncGenerator[Chunk, None]:
        """All chunks of all turns and tools, as they come. Read it inside `contextlib.aclosing` to leave it early."""
        return self._play("by_attempt")

    @property
    def result(self) -> AgentResult[object]:
        """The whole answer, once the stream has ended.

        Raises:
            Conflict: `agent.stream_open`, it has not.
        """
        if self._result is None:
            raise Conflict(
                "agent.stream_open",
                "the stream has not ended, or not well",
                fix="iterate over it first, or use `agent.call`",
            )
        return self._result

    async def _texts(self) -> AsyncGenerator[str, None]:
        async with aclosing(self._play("once")) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, Text) and _of_turn(chunk.call_id):
                    yield chunk.text

    async def _play(self, telling: Telling) -> AsyncGenerator[Chunk, None]:
        if self._begun:
            raise Conflict(
                "agent.stream_read",
                "this stream has been read already",
                fix="make a new one with `agent.call_stream`",
            )
        self._begun = True
        items: asyncio.Queue[Chunk | None] = asyncio.Queue()

        async def play() -> None:
            try:
                self._result = await self._call(items.put_nowait, telling)
            finally:
                items.put_nowait(None)

        playing = asyncio.get_running_loop().create_task(play())
        try:
            while (item := await items.get()) is not None:
                yield item
            await playing
        finally:
            playing.cancel()
            await asyncio.gather(playing, return_exceptions=True)


def _of_turn(call_id: str) -> bool:
    """Whether a call is a model's turn: a tool's text is not the model's."""
    return call_id.rpartition("/")[2].startswith("t")
