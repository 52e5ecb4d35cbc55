"""Heartbeats: who works here, and who has fallen silent.

A worker's id is `<name>~<incarnation>`. The name is stable over restarts, so when a newer incarnation of a name
beats, the older ones are known to be dead at once; otherwise silence tells after `SILENCE` seconds.
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
from pydantic import BaseModel, ConfigDict, ValidationError

from partsong.contracts.subjects import Subjects
from partsong.runtime import clock

__all__ = ["SILENCE", "Beat", "Heart", "Watch", "worker_id"]

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

    @property
    def worker(self) -> str:
        """The id that claims carry."""
        return f"{self.name}~{self.incarnation}"


def worker_id(name: str) -> tuple[str, str]:
    """A fresh incarnation for a name, and the worker id; incarnations sort by time."""
    incarnation = clock.new_id()
    return incarnation, f"{name}~{incarnation}"


class Heart:
    """Beats once a second until it is stopped."""

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
        self._beat = Beat(
            service=service, name=name, incarnation=incarnation, started=clock.now_text()
        )
        self.url: str | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to beat."""
        self._task = asyncio.get_running_loop().create_task(self._go(), name="heart")

    async def stop(self) -> None:
        """Fall silent."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _go(self) -> None:
        while True:
            beat = self._beat.model_copy(update={"in_flight": self._in_flight(), "url": self.url})
            with contextlib.suppress(nats.errors.Error):
                await self._nc.publish(self._subject, json.dumps(beat.model_dump()).encode())
            await asyncio.sleep(_PERIOD)


class Watch:
    """Listens to all heartbeats."""

    def __init__(self, nc: Client, subjects: Subjects, *, silence: float = SILENCE) -> None:
        self._nc, self._filter, self._silence = nc, subjects.alives(), silence
        self._since = self._any = clock.monotonic()
        self._last: dict[str, float] = {}
        self._newest: dict[str, str] = {}
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
                        if name in {"", beat.name}:
                            return beat.worker
                    await self._news.wait()
        return None

    def silent(self, worker: str) -> bool:
        """Whether a worker is to be taken for dead; one never heard, only after a while of listening."""
        name, _, incarnation = worker.partition("~")
        if self._newest.get(name, "") > incarnation:
            return True
        heard = max(self._since, self._last.get(worker, 0.0))
        now = clock.monotonic()
        return now - heard > self._silence and now - self._any < _DEAF

    async def _hear(self, msg: Msg) -> None:
        try:
            beat = Beat.model_validate_json(msg.data)
        except ValidationError:
            return
        now = clock.monotonic()
        if now - self._any > _DEAF:
            self._since = now  # we were cut off: their silence was ours
        self._any = self._last[beat.worker] = now
        self._newest[beat.name] = max(beat.incarnation, self._newest.get(beat.name, ""))
        self.beats[beat.worker] = beat
        self._news.set()
