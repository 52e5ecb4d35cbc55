"""Questions to everybody who listens: `answers` asks and yields all that they say, `Answering` is one who says it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

__all__ = ["Answering", "all_answers", "answers"]

_NOBODY = "503"
"""Status of the server's own answer where nobody listens."""


async def answers(
    nc: Client, subject: str, body: bytes = b"", *, within: float, quiet: float | None = None
) -> AsyncGenerator[bytes, None]:
    """Yield the answers as they come, for at most `within` seconds, or until none has followed for `quiet` seconds.

    Close it (`aclosing`) when enough have come.

    Raises:
        nats.errors.NoRespondersError: nobody listens.
        nats.errors.Error: the question could not be asked.
    """
    loop = asyncio.get_running_loop()
    inbox = nc.new_inbox()
    sub = await nc.subscribe(inbox)
    end = until = loop.time() + within
    try:
        await nc.publish(subject, body, reply=inbox)
        while True:
            async with asyncio.timeout_at(until):
                answer = await sub.next_msg(timeout=None)
            if (answer.headers or {}).get("Status") == _NOBODY:
                raise nats.errors.NoRespondersError
            yield answer.data
            if quiet is not None:
                until = min(end, loop.time() + quiet)
    except TimeoutError:
        return
    finally:
        with contextlib.suppress(nats.errors.Error):
            await sub.unsubscribe()


async def all_answers(
    nc: Client, subject: str, *, within: float, quiet: float | None = None
) -> list[bytes]:
    """What is said within some seconds, as `answers` yields it; nothing if nobody listens.

    Raises:
        nats.errors.Error: the question could not be asked.
    """
    try:
        return [answer async for answer in answers(nc, subject, within=within, quiet=quiet)]
    except nats.errors.NoRespondersError:
        return []


class Answering:
    """Answers whoever asks a subject with what `say` returns at that moment."""

    def __init__(self, nc: Client, subject: str, say: Callable[[], bytes]) -> None:
        self._nc, self._subject, self._say = nc, subject, say
        self._sub: Subscription | None = None

    async def start(self) -> None:
        """Begin to answer."""
        self._sub = await self._nc.subscribe(self._subject, cb=self._answer)

    async def stop(self) -> None:
        """Answer no more."""
        if self._sub is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._sub.unsubscribe()

    async def _answer(self, msg: Msg) -> None:
        if msg.reply:
            with contextlib.suppress(
                nats.errors.Error
            ):  # who asked may be gone, and so may the connection
                await msg.respond(self._say())
