"""Admission: lets runs begin, callers by turns, and no faster than they are decided and worked on.

Requests to begin a run wait in lanes, one consumer each; a caller's are all in one (see `Subjects.into_lanes`), those
whose caller is not named share another. An engine holds a few of each lane, so that they can have their turns; what it
does not hold stays in the stream, where its place can be read.

While the workers' queues are full, one run a second begins all the same, so that nobody waits for a queue that is not
his. An engine that has no time itself hands back what it holds: another one may have.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Protocol

from partsong.bus.pull import Delivery
from partsong.graph_engine.core.lanes import Lanes
from partsong.graph_engine.worker import Pulls
from partsong.graph_engine.workload import Reading, Workload
from partsong.runtime import clock

__all__ = ["Admission", "Lane"]

_log = logging.getLogger("partsong.graph_engine")

_AT_ONCE = 32
"""Requests that are carried out side by side."""
_BUSY, _PATIENCE = 64, 1.0
"""Runs whose turn is being taken, above which no other begins; and seconds of that after which others may have the requests."""
_TRICKLE = 1.0
"""Seconds between two runs that begin although the workers' queues are full."""
_LOOK = 0.05
"""Seconds between two looks at whether there is room again."""
_GRACE = 5.0
"""Seconds in which what has been let in is carried out when the door closes; the rest is delivered again."""
_BEAT = 1.0
"""Seconds between two in-progress signals; the consumers wait three."""


class Lane(Pulls, Protocol):
    """Hands one lane's requests over; see `PullLoop`. It can be started again."""

    async def flush(self) -> None:
        """Return when every answer given so far has been handed to the connection."""
        ...


class Admission:
    """Holds what the lanes deliver until its turn has come."""

    def __init__(
        self,
        lanes: Sequence[Callable[[Callable[[Delivery], None]], Lane]],
        carry_out: Callable[[Delivery], Coroutine[None, None, bool]],
        *,
        busy: Callable[[], int],
        readings: Callable[[], Awaitable[Sequence[Reading]]],
        worked_on: Callable[[str], bool],
    ) -> None:
        """`lanes` begin to hand over their requests; `carry_out` takes one, and says whether something has come of it.

        `busy` says how many runs' turns are being taken, `readings` how the workers' queues stand, and `worked_on`
        whether a service has workers.
        """
        self._carry_out, self._busy, self._readings = carry_out, busy, readings
        self._waiting = Lanes[tuple[int, Delivery]]()
        self._held: set[int] = set()
        """Sequences of what waits here or is carried out."""
        self._running: dict[asyncio.Task[bool], Delivery] = {}
        self._lanes = [lane(self._handler(number)) for number, lane in enumerate(lanes)]
        self._workload = Workload(worked_on)
        self._begun = self._had_time = clock.monotonic()
        self._news = asyncio.Event()
        self._loops: tuple[asyncio.Task[None], ...] = ()

    async def start(self) -> None:
        """Open the door."""
        loop = asyncio.get_running_loop()
        self._loops = (
            loop.create_task(self._let_in(), name="admission"),
            loop.create_task(self._beat(), name="in-progress"),
        )
        for lane in self._lanes:
            await lane.start()

    async def drain(self) -> None:
        """Close the door: what waits is given back, what has been let in is carried out."""
        letting_in, beating = self._loops
        letting_in.cancel()
        await asyncio.gather(letting_in, return_exceptions=True)
        await self._give_back()
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=_GRACE)
            for task in late:
                task.cancel()
                self._running[task].nak()
            await asyncio.gather(*late, return_exceptions=True)
        beating.cancel()
        await asyncio.gather(
            beating, *(lane.flush() for lane in self._lanes), return_exceptions=True
        )

    def _handler(self, number: int) -> Callable[[Delivery], None]:
        def receive(delivery: Delivery) -> None:
            if delivery.stream_seq in self._held:  # we were too late to say that we have it
                delivery.in_progress()
                self._lanes[number].done()
                return
            self._held.add(delivery.stream_seq)
            self._waiting.put(number, (number, delivery))
            self._news.set()

        return receive

    async def _let_in(self) -> None:
        while True:
            try:
                self._news.clear()
                while self._waiting and len(self._running) < _AT_ONCE:
                    if await self._room():
                        self._begin(*self._waiting.take())
                    else:
                        await asyncio.sleep(_LOOK)
                await self._news.wait()
            except Exception:
                _log.exception("nothing let in, to be tried again")
                await asyncio.sleep(_LOOK)

    async def _room(self) -> bool:
        now = clock.monotonic()
        if self._busy() >= _BUSY:
            if now - self._had_time > _PATIENCE:
                await self._stand_aside()
            return False
        self._had_time = now
        if self._workload.free <= 0:
            self._workload.note(await self._readings())
        return self._workload.free > 0 or now - self._begun >= _TRICKLE

    async def _stand_aside(self) -> None:
        """Leave the requests to other engines until this one has time again."""
        _log.info("no time for runs to begin")
        await self._give_back()
        while self._busy() >= _BUSY:  # noqa: ASYNC110 — turns end without a word
            await asyncio.sleep(_LOOK)
        for lane in self._lanes:
            await lane.start()

    async def _give_back(self) -> None:
        """Take nothing more, and hand back what has not begun."""
        await asyncio.gather(*(lane.stop() for lane in self._lanes))
        while self._waiting:
            number, delivery = self._waiting.take()
            self._held.discard(delivery.stream_seq)
            self._lanes[number].done()
            delivery.nak()

    def _begin(self, number: int, delivery: Delivery) -> None:
        before, now = self._begun, clock.monotonic()

        def over(task: asyncio.Task[bool]) -> None:
            del self._running[task]
            if self._begun == now and not _taken(task):
                self._begun = before  # what is refused takes nobody's turn
            self._held.discard(delivery.stream_seq)
            self._lanes[number].done()
            self._news.set()

        self._begun = now
        self._workload.took()
        task = asyncio.get_running_loop().create_task(self._carry_out(delivery))
        self._running[task] = delivery
        task.add_done_callback(over)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(_BEAT)
            for delivery in (*self._running.values(), *(held for _, held in self._waiting)):
                delivery.in_progress()


def _taken(task: asyncio.Task[bool]) -> bool:
    """Whether something came of a request, as far as is known."""
    return task.cancelled() or task.exception() is not None or task.result()
