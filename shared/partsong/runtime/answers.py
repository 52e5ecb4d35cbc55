"""`answers`: one question to everybody who listens, and all that they say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import nats.errors
from nats.aio.client import Client

__all__ = ["all_answers", "answers"]

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
