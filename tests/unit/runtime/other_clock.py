"""A NATS server whose clock is wrong: a proxy that moves the time in the answers about streams."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from urllib.parse import urlsplit

__all__ = ["OtherClock", "another_clock"]

_TS = re.compile(rb'("ts":")(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)')


class OtherClock:
    """The proxy: its URL, and the seconds that its server is ahead."""

    def __init__(self, ahead: float) -> None:
        self.url, self.ahead = "", ahead

    def moved(self, line: bytes) -> bytes:
        """The line with its time moved, as long as before: its length has been announced."""

        def move(found: re.Match[bytes]) -> bytes:
            moment = datetime.fromisoformat(found[2].decode()) + timedelta(seconds=self.ahead)
            return found[1] + moment.isoformat(timespec="seconds").encode()

        return _TS.sub(move, line)


@asynccontextmanager
async def another_clock(url: str, ahead: float) -> AsyncIterator[OtherClock]:
    """The server at `url`, `ahead` whole seconds later."""
    proxy = OtherClock(ahead)
    target, tasks = urlsplit(url), set[asyncio.Task[None]]()

    async def carry(
        source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, move: bool
    ) -> None:
        try:
            while line := await source.readline():
                sink.write(proxy.moved(line) if move else line)
                await sink.drain()
        except OSError:
            pass
        finally:
            sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far, back = await asyncio.open_connection(target.hostname, target.port, limit=2**24)
        both = (carry(far, writer, move=True), carry(reader, back, move=False))
        for each in both:
            tasks.add(asyncio.get_running_loop().create_task(each))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=2**24)
    proxy.url = f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
