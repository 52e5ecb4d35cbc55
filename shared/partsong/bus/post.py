"""The post: publishes without being waited for, in order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

import nats.errors
from nats.aio.client import Client

__all__ = ["Post"]

_log = logging.getLogger("partsong.bus")


class Post:
    """Takes messages from code that must not wait. What a lost connection cannot hold is dropped."""

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._out: deque[tuple[str, bytes]] = deque()
        self._sending: asyncio.Task[None] | None = None

    def send(self, subject: str, body: bytes) -> None:
        """Publish soon."""
        self._out.append((subject, body))
        if self._sending is None:
            self._sending = asyncio.get_running_loop().create_task(self._send(), name="post")

    async def flush(self) -> None:
        """Return when everything has been handed to the connection."""
        while self._sending is not None:
            await asyncio.wait({self._sending})

    async def _send(self) -> None:
        try:
            while self._out:
                subject, body = self._out.popleft()
                try:
                    await self._nc.publish(subject, body)
                except nats.errors.Error as error:
                    _log.debug("not published", extra={"subject": subject, "problem": repr(error)})
        finally:
            self._sending = None
