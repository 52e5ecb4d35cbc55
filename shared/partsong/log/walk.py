"""A walk through the stored records of a log, as the stream holds them: for whoever verifies, seals or copies it.

Big bodies are not fetched: what is stored in their place is what seals and marks cover. What the server cannot read does
not come; in a walk through the whole log the next sequence shows it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass

from nats.aio.client import Client

from partsong.contracts.wire.headers import BLOB, MSG_ID
from partsong.log.feed import Incomplete, feed
from partsong.log.link import Link
from partsong.log.stored import stored_at

__all__ = ["Progress", "Raw", "walk"]

Progress = Callable[[int, int], None]
"""Told now and then how many sequences are done, and of how many."""

_STRIDE = 2000


@dataclass(frozen=True, slots=True)
class Raw:
    """A record as it is stored."""

    seq: int
    subject: str
    id: str
    body: bytes
    headers: Mapping[str, str]
    """The writer's own, and where its body lies if it is elsewhere; none of the server's."""
    at: str = ""
    """When it was stored, by the server's clock, in RFC 3339."""

    @property
    def blob(self) -> str | None:
        """Under which name its body lies beside the log."""
        return self.headers.get(BLOB)


async def walk(
    nc: Client,
    stream: str,
    filter: str,
    *,
    after: int = 0,
    upto: int,
    rate: float | None = None,
    progress: Progress = lambda _done, _of: None,
) -> AsyncGenerator[Raw, None]:
    """The records behind `after` and up to `upto` that match, in order; at most `rate` bytes a second.

    Raises:
        Unavailable: the server did not answer in time.
    """
    if after >= upto:
        return
    link = Link(nc, attempt=5.0, deadline=30.0)
    walked = feed(link, stream, filter, after, limit=upto - after)
    count = owed = 0
    try:
        with suppress(Incomplete):
            async with aclosing(walked) as found:
                async for seq, msg in found:
                    if seq > upto:
                        return
                    headers = msg.headers or {}
                    own = {k: v for k, v in headers.items() if not k.startswith("Nats-")}
                    id_, at = headers.get(MSG_ID, ""), stored_at(msg.reply)
                    yield Raw(seq, msg.subject, id_, msg.data, own, at)
                    count, owed = count + 1, owed + len(msg.data) + len(msg.subject)
                    if count % _STRIDE == 0:
                        progress(seq, upto)
                    if rate is not None and owed > rate / 4:
                        await asyncio.sleep(owed / rate)
                        owed = 0
        progress(upto, upto)
    finally:
        await link.close()
