"""`TaskHeartbeat`: beats in a task of the service's own loop.

For several services in one process, as in tests. It stops with its loop: code that blocks the loop looks dead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from partsong.contracts.wire.subjects import Subjects
from partsong.runtime import clock
from partsong.runtime.heartbeat.held import HeldCalls
from partsong.runtime.heartbeat.rule import PERIOD, beat_of

__all__ = ["TaskHeartbeat"]


class TaskHeartbeat:
    """The heartbeat of a service, in its own event loop."""

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        service: str,
        name: str,
        incarnation: str,
        *,
        in_flight: Callable[[], int],
        nats_url: str = "",  # noqa: ARG002  # the connection is there
        held: HeldCalls | None = None,
    ) -> None:
        self._nc, self._in_flight = nc, in_flight
        self.subject, self.ping = subjects.alive(service, name), subjects.query(service, "ping")
        self.base: dict[str, object] = {
            "service": service,
            "name": name,
            "incarnation": incarnation,
            "started": clock.now_text(),
        }
        self.url: str | None = None
        self.ready = self._draining = False
        self.held = held or HeldCalls()
        self._sub: Subscription | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def said(self) -> dict[str, object]:
        """What does not stand in the memory of `held`."""
        draining = {"draining": True} if self._draining else {}
        return {**self.base, "url": self.url, "ready": self.ready, **draining}

    def drains(self) -> None:
        """Say from now on that the service was told to stop."""
        self._draining = True

    async def start(self) -> None:
        """Begin to beat."""
        self._sub = await self._nc.subscribe(self.ping, cb=self._pong)
        await self.say()
        self._task = asyncio.get_running_loop().create_task(self._go(), name="heartbeat")

    async def stop(self) -> None:
        """Beat for the last time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self.say(stopped=True)
        if self._sub is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._sub.unsubscribe()

    async def say(self, *, stopped: bool = False) -> None:
        """Beat once."""
        if self._nc.is_connected:  # what would be held back until then is news no more
            beat = {**self._now(), "stopped": True} if stopped else self._now()
            with contextlib.suppress(nats.errors.Error):
                await self._nc.publish(self.subject, json.dumps(beat).encode())

    def _now(self, *, whole: bool = False) -> dict[str, object]:
        self.held.tick(self._in_flight())
        return beat_of(self.said, self.held, whole=whole)

    async def answer(self, msg: Msg) -> None:
        """Answer a ping, with every call that is held."""
        if msg.reply:
            with contextlib.suppress(nats.errors.Error):
                await msg.respond(json.dumps(self._now(whole=True)).encode())

    async def _pong(self, msg: Msg) -> None:
        await self.answer(msg)

    async def _go(self) -> None:
        while True:
            await asyncio.sleep(PERIOD)
            await self.say()
