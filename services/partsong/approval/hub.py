"""The hub: hands what the projector hears to everybody who watches. One encoding, many viewers.

A viewer that does not keep up is sent away rather than waited for: when it comes back it gets a fresh snapshot.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress

from partsong.approval.core.approval import Approval
from partsong.approval.core.inbox import Change
from partsong.approval.views import Pushed, Snapshot, view

__all__ = ["GOING_AWAY", "LAST_WORD", "TOO_SLOW", "Hub", "Viewer", "snapshot"]

GOING_AWAY = 1001
TOO_SLOW = 1013
_MOST = 1000
"""Messages that may wait for a viewer."""
_VIEWERS = 500
"""Viewers at a time; whoever comes beside them is sent away, and may come again."""
LAST_WORD = 1.0
"""Seconds to tell a client that it is over."""


class Viewer:
    """One who watches: messages to take, in order, until it is over."""

    def __init__(self, most: int) -> None:
        self._waiting: asyncio.Queue[str] = asyncio.Queue(most)
        self._over = asyncio.Event()
        self.code = GOING_AWAY
        """Why it is over, as a WebSocket close code."""

    def give(self, message: str) -> None:
        """Add a message; one too many ends it."""
        try:
            self._waiting.put_nowait(message)
        except asyncio.QueueFull:
            self.end(TOO_SLOW)

    async def take(self) -> str:
        """The next message."""
        return await self._waiting.get()

    def end(self, code: int) -> None:
        """Send it away."""
        if not self._over.is_set():
            self.code = code
            self._over.set()

    async def over(self) -> None:
        """Wait until it is to leave."""
        await self._over.wait()


class Hub:
    """All viewers; an `Audience` of the projector."""

    def __init__(self, *, most: int = _MOST, viewers: int = _VIEWERS) -> None:
        self._most, self._room = most, viewers
        self._viewers: set[Viewer] = set()
        self._closed = False
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._viewers)

    @contextmanager
    def join(self) -> Generator[Viewer, None, None]:
        """A new viewer, for as long as it stays."""
        viewer = Viewer(self._most)
        if self._closed or len(self._viewers) >= self._room:
            viewer.end(GOING_AWAY if self._closed else TOO_SLOW)
        self._viewers.add(viewer)
        self._empty.clear()
        try:
            yield viewer
        finally:
            self._viewers.discard(viewer)
            if not self._viewers:
                self._empty.set()

    def reloaded(self, pending: Sequence[Approval], seq: int) -> None:
        """Everybody begins again."""
        if self._viewers:
            self._give(snapshot(pending, seq))

    def changed(self, changes: Sequence[Change], seq: int) -> None:
        """Everybody hears the news."""
        if not self._viewers:
            return
        for change in changes:
            if change.what != "guarded":
                pushed = Pushed(type=change.what, position=seq, approval=view(change.approval))
                self._give(pushed.model_dump_json())

    async def close(self) -> None:
        """Everybody leaves, and who comes later leaves at once; returns when all that can be told have been told.

        Stop the server afterwards: it would tell those who are still there something else.
        """
        self._closed = True
        for viewer in self._viewers:
            viewer.end(GOING_AWAY)
        with suppress(TimeoutError):
            async with asyncio.timeout(LAST_WORD):
                await self._empty.wait()

    def _give(self, message: str) -> None:
        for viewer in self._viewers:
            viewer.give(message)


def snapshot(pending: Sequence[Approval], seq: int) -> str:
    """A snapshot as it travels."""
    return Snapshot(position=seq, approvals=[view(one) for one in pending]).model_dump_json()
