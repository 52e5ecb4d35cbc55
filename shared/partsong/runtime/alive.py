"""Heartbeats: who works here, and who has fallen silent.

A worker's id is `<name>~<incarnation>`. The name is stable over restarts, so when a newer incarnation of a name beats
and the older one does not any more, the older one is known to be dead at once; otherwise silence tells after `SILENCE`
seconds. A worker that stops as it should says so, and is not waited for either.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
from collections.abc import Callable

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from pydantic import BaseModel, ConfigDict, ValidationError

from partsong.contracts.subjects import Subjects
from partsong.runtime import clock

__all__ = ["SILENCE", "Beat", "Heart", "Watch", "default_name", "worker_id"]

_PERIOD = 1.0
SILENCE = 5.0
"""Seconds without a heartbeat after which a worker's claims lapse."""
_DEAF = 2.5
"""Seconds without any heartbeat, our own among them, after which it is we who are cut off."""


class Beat(BaseModel):
    """One heartbeat."""

    model_config = ConfigDict(frozen=True, extra="allow")

    service: str
    name: str
    incarnation: str
    started: str
    in_flight: int = 0
    url: str | None = None
    """Where the service answers HTTP, if it does."""
    stopped: bool = False
    """The last one: nothing comes from this worker any more."""

    @property
    def worker(self) -> str:
        """The id that claims carry."""
        return f"{self.name}~{self.incarnation}"


def default_name(service: str) -> str:
    """A name for a worker that was given none: stable over restarts in a container, unique among processes of a host."""
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())
    return f"{service}-{host}-{os.getpid()}"


def worker_id(name: str) -> tuple[str, str]:
    """A fresh incarnation for a name, and the worker id; incarnations sort by time."""
    incarnation = clock.new_id()
    return incarnation, f"{name}~{incarnation}"


class Heart:
    """Beats once a second until it is stopped, and answers `partsong.query.<service>.ping` with a beat."""

    def __init__(
        self,
        nc: Client,
        subjects: Subjects,
        service: str,
        name: str,
        incarnation: str,
        *,
        in_flight: Callable[[], int],
    ) -> None:
        self._nc, self._subject, self._in_flight = nc, subjects.alive(service, name), in_flight
        self._ping = subjects.query(service, "ping")
        self._beat = Beat(
            service=service, name=name, incarnation=incarnation, started=clock.now_text()
        )
        self.url: str | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to beat."""
        await self._nc.subscribe(self._ping, cb=self._pong)
        await self._say(self._now())
        self._task = asyncio.get_running_loop().create_task(self._go(), name="heart")

    async def stop(self) -> None:
        """Beat for the last time."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            await self._say(self._now().model_copy(update={"stopped": True}))

    def _now(self) -> Beat:
        return self._beat.model_copy(update={"in_flight": self._in_flight(), "url": self.url})

    async def _go(self) -> None:
        while True:
            await asyncio.sleep(_PERIOD)
            await self._say(self._now())

    async def _say(self, beat: Beat) -> None:
        if self._nc.is_connected:  # what would be held back until then is news no more
            with contextlib.suppress(nats.errors.Error):
                await self._nc.publish(self._subject, beat.model_dump_json().encode())

    async def _pong(self, msg: Msg) -> None:
        if msg.reply:
            await msg.respond(self._now().model_dump_json().encode())


class Watch:
    """Listens to all heartbeats."""

    def __init__(self, nc: Client, subjects: Subjects, *, silence: float = SILENCE) -> None:
        self._nc, self._filter, self._silence = nc, subjects.alives(), silence
        self._since = self._any = clock.monotonic()
        self._last: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        self._newest: dict[str, tuple[str, float]] = {}
        self.beats: dict[str, Beat] = {}
        """The last heartbeat of each worker."""
        self._news = asyncio.Event()
        self._sub: Subscription | None = None

    async def start(self) -> None:
        """Begin to listen."""
        self._since = self._any = clock.monotonic()
        self._sub = await self._nc.subscribe(self._filter, cb=self._hear)

    async def stop(self) -> None:
        """Listen no more."""
        if self._sub is not None:
            with contextlib.suppress(nats.errors.Error):
                await self._sub.unsubscribe()

    async def heard(self, name: str, *, within: float) -> str | None:
        """The next worker of this name (empty: any) to beat within some seconds; its id."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while True:
                    self._news.clear()
                    for beat in self.beats.values():
                        if name in {"", beat.name} and not beat.stopped:
                            return beat.worker
                    await self._news.wait()
        return None

    def silent(self, worker: str) -> bool:
        """Whether a worker is to be taken for dead; one never heard, only a while after the first question."""
        now = clock.monotonic()
        last = self._last.get(worker)
        name, _, incarnation = worker.partition("~")
        newest, begun = self._newest.get(name, ("", 0.0))
        if newest > incarnation and (begun > last if last is not None else now - begun > _DEAF):
            return True
        heard = last if last is not None else self._asked.setdefault(worker, now)
        return now - max(self._since, heard) > self._silence and now - self._any < _DEAF

    async def _hear(self, msg: Msg) -> None:
        try:
            beat = Beat.model_validate_json(msg.data)
        except ValidationError:
            return
        now = clock.monotonic()
        if now - self._any > _DEAF:
            self._since = now  # we were cut off: their silence was ours
        self._any = now
        self._last[beat.worker] = float("-inf") if beat.stopped else now
        self._asked.pop(beat.worker, None)
        newest, begun = self._newest.get(beat.name, ("", now))
        if beat.incarnation > newest:
            newest, begun = beat.incarnation, now
        self._newest[beat.name] = newest, begun
        self.beats[beat.worker] = beat
        self._news.set()
