"""Admission: lets runs begin, callers by turns, and no faster than they are decided and worked on.

Requests to begin a run wait in lanes, one consumer each; a caller's are all in one (see `Subjects.into_lanes`), those
whose caller is not named share another. What is not let in stays in the stream, where its place can be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from partsong.bus.pull import Delivery
from partsong.graph_engine.core.lanes import Lanes
from partsong.graph_engine.worker import Pulls
from partsong.graph_engine.workload import Reading, Workload

__all__ = ["Admission"]

_AT_ONCE = 32
"""Requests that are carried out side by side."""
_BUSY = 64
"""Runs whose turn is being taken, above which no other begins."""
_LOOK = 0.05
"""Seconds between two looks at whether there is room again."""
_GRACE = 5.0
"""Seconds in which what has been let in is carried out when the door closes; the rest is delivered again."""
_BEAT = 1.0
"""Seconds between two in-progress signals; the consumers wait three."""


class Admission:
    """Holds what the lanes deliver until its turn has come."""

    def __init__(
        self,
        pulls: Sequence[Callable[[Callable[[Delivery], None]], Pulls]],
        carry_out: Callable[[Delivery], Coroutine[None, None, None]],
        *,
        busy: Callable[[], int],
        readings: Callable[[], Awaitable[Sequence[Reading]]],
    ) -> None:
        """`pulls` begin to hand over one lane's requests each; `carry_out` does what one asks, and answers its delivery.

        `busy` says how many runs' turns are being taken, `readings` how the workers' queues stand.
        """
        self._carry_out, self._busy, self._readings = carry_out, busy, readings
        self._lanes = Lanes[tuple[int, Delivery]]()
        self._running: dict[asyncio.Task[None], Delivery] = {}
        self._pulls = [pull(self._handler(lane)) for lane, pull in enumerate(pulls)]
        self._workload = Workload()
        self._news = asyncio.Event()
        self._closed = False
        self._loops: tuple[asyncio.Task[None], ...] = ()

    async def start(self) -> None:
        """Open the door."""
        loop = asyncio.get_running_loop()
        self._loops = (
            loop.create_task(self._let_in(), name="admission"),
            loop.create_task(self._beat(), name="in-progress"),
        )
        for pull in self._pulls:
            await pull.start()

    async def drain(self) -> None:
        """Close the door: what has been let in is carried out, what waits is given back."""
        self._closed = True
        for task in self._loops:
            task.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        while self._lanes:
            _, delivery = self._lanes.take()
            delivery.nak()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=_GRACE)
            for task in late:
                task.cancel()
        await asyncio.gather(*(pull.stop() for pull in self._pulls))

    def _handler(self, lane: int) -> Callable[[Delivery], None]:
        def receive(delivery: Delivery) -> None:
            if self._closed:
                delivery.nak()
                return
            self._lanes.put(lane, (lane, delivery))
            self._news.set()

        return receive

    async def _let_in(self) -> None:
        while True:
            self._news.clear()
            while self._lanes and len(self._running) < _AT_ONCE:
                if not await self._room():
                    await asyncio.sleep(_LOOK)
                    continue
                self._workload.free -= 1
                self._begin(*self._lanes.take())
            await self._news.wait()

    async def _room(self) -> bool:
        if self._busy() >= _BUSY:
            return False
        if self._workload.free <= 0:
            self._workload.note(await self._readings())
        return self._workload.free > 0

    def _begin(self, lane: int, delivery: Delivery) -> None:
        def over(task: asyncio.Task[None]) -> None:
            del self._running[task]
            self._pulls[lane].done()
            self._news.set()

        task = asyncio.get_running_loop().create_task(self._carry_out(delivery))
        self._running[task] = delivery
        task.add_done_callback(over)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT)
            for delivery in self._running.values():
                delivery.in_progress()
            for _, delivery in self._lanes:
                delivery.in_progress()
