"""Ownership: which engine looks after which partition, by rendezvous hashing over the engines that are alive.

Every engine computes the same answer from the heartbeats it receives, so nobody assigns anything, and when an engine
comes or goes only its share moves. Engines may disagree for a moment; that costs lost races, never a wrong commit.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence

from partsong.bus.bucket import Overtaken
from partsong.contracts.errors import PartsongError, Problem
from partsong.contracts.services import GRAPH_ENGINE
from partsong.graph_engine.catch_up import CatchUp
from partsong.graph_engine.checkpoints import Checkpoint
from partsong.graph_engine.processor import Processor
from partsong.runtime import clock

__all__ = ["Ownership", "entitled"]

_log = logging.getLogger("partsong.graph_engine")

_EVERY = 0.5
"""Seconds between two looks at who is alive."""
_AT_ONCE = 4
"""Partitions that are taken side by side: in a long log each has the server look through much of it."""
_LONG = 30.0
"""Seconds for which a partition may wait to be taken before the engine says that it is not ready."""
_CHECKPOINT = 2.0
_LOOK = 2.0


def entitled(engines: Collection[str], partition: int) -> str:
    """The engine that a partition belongs to (highest random weight)."""

    def weight(engine: str) -> bytes:
        return hashlib.blake2b(f"{partition}/{engine}".encode(), digest_size=8).digest()

    return max(sorted(engines), key=weight)


class Ownership:
    """Takes and gives back the partitions of one engine, keeps their checkpoints, and looks after their runs."""

    def __init__(
        self,
        processors: Sequence[Processor],
        engines: Callable[[], Collection[str]],
        mine: str,
        *,
        arrived: Callable[[], bool] = lambda: False,
        epoch: Callable[[], int | None] = lambda: 1,
        taken: Callable[[Processor], None] = lambda _processor: None,
        catch_up: CatchUp | None = None,
        connections: Callable[[], int] = lambda: 0,
        long: float = _LONG,
    ) -> None:
        """`engines` are those alive, by id; `mine` is this one's.

        `arrived` says whether workers have come that may have what parked calls lack, `epoch` in which of its lives the
        log is, None while it is not to be written to. `taken` is told of partitions that are owned from now on. With
        `catch_up`, what lies far behind is read in one pass before it is taken. `connections` counts how often the
        connection was lost and came back. A partition that could not be taken for `long` seconds is a problem of this
        engine's.
        """
        self._processors, self._engines, self._mine = processors, engines, mine
        self._arrived, self._epoch, self._taken = arrived, epoch, taken
        self._connections, self._known = connections, connections()
        self._pass = _Pass(catch_up, wanted=lambda p: p in self._share)
        self._alive: frozenset[str] = frozenset()
        self._share: set[int] = set()
        """Partitions that belong to this engine, as far as it knows who is alive."""
        self._waiting = _Waiting(long)
        self._tasks: list[asyncio.Task[None]] = []
        self._settling = asyncio.Lock()
        self._stopping = False

    @property
    def problem(self) -> Problem | None:
        """Why partitions that belong to this engine have not been taken for long; None if they were."""
        return self._waiting.problem(len(self._share), reading=self._pass.running)

    async def start(self) -> None:
        """Take what belongs to this engine, and go on looking; waits for a pass, if one has to be made."""
        await self._settle()
        if self._stopping:
            return
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._repeat(self._settle, _EVERY), name="ownership"),
            loop.create_task(self._repeat(self._keep_checkpoints, _CHECKPOINT), name="checkpoints"),
            loop.create_task(self._repeat(self._look, _LOOK), name="look"),
        ]
        while self._pass.running:
            await self._pass.ended()
            await self._settle()

    async def stop(self) -> None:
        """Give all partitions back, and take none again: also one who has not started yet may be stopped."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, self._pass.stop(), return_exceptions=True)
        async with self._settling:  # what is being taken is taken, and given back
            await asyncio.gather(*(p.release() for p in self._processors if p.owned))

    async def _settle(self) -> None:
        async with self._settling:
            if not self._stopping:
                try:
                    await self._settle_now()
                finally:
                    taken = {one.partition for one in self._processors if one.owned}
                    self._waiting.only(self._share - taken)

    async def _settle_now(self) -> None:
        epoch = self._epoch()
        alive = frozenset(() if epoch is None else (*self._engines(), self._mine))
        if alive != self._alive:
            self._alive = alive
            partitions = (processor.partition for processor in self._processors)
            self._share = {p for p in partitions if alive and entitled(alive, p) == self._mine}
            self._pass.only(self._share)
        changing = [processor for processor in self._processors if self._changes(processor)]
        coming = [p for p in changing if not p.owned and p.partition not in self._pass.of]
        await self._all([p for p in changing if p.owned], epoch or 1)
        if not coming:
            return
        try:
            behind = await self._pass.behind([p.partition for p in coming])
        except PartsongError as error:
            self._waiting.why = str(error)
            _not_taken(error)
            return
        await self._all([p for p in coming if p.partition not in behind], epoch or 1)
        if behind and not self._pass.running:
            self._pass.start(behind, epoch or 1)

    async def _all(self, processors: Sequence[Processor], epoch: int) -> None:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(processor: Processor) -> None:
            async with gate:
                await self._one(processor, epoch)

        await asyncio.gather(*(one(processor) for processor in processors))

    def _changes(self, processor: Processor) -> bool:
        return processor.lost or processor.owned != (processor.partition in self._share)

    async def _one(self, processor: Processor, epoch: int) -> None:
        mine = processor.partition in self._share
        try:
            if processor.owned and (processor.lost or not mine):
                await processor.release()
            elif not mine or processor.owned or self._stopping:
                return
            elif await processor.take(epoch=epoch):
                self._taken(processor)
        except PartsongError as error:
            self._waiting.why = str(error)
            told = {"partition": processor.partition, "problem": error.problem.code}
            _log.warning(
                "partition not taken, to be tried again", extra={**told, "why": str(error)}
            )

    async def _keep_checkpoints(self) -> None:
        await asyncio.gather(*(self._checkpoint(p) for p in self._processors if p.owned))

    @staticmethod
    async def _checkpoint(processor: Processor) -> None:
        try:
            await processor.seal()
            await processor.keep_checkpoint()
        except Overtaken:
            processor.lost = True
        except PartsongError as error:
            told = {"partition": processor.partition, "problem": error.problem.code}
            _log.warning("checkpoint not kept, to be tried again", extra=told)

    async def _look(self) -> None:
        arrived = self._arrived()
        before, self._known = self._known, self._connections()
        for processor in self._processors:
            if processor.owned:
                processor.runs.look()
                if before != self._known:
                    processor.runs.look_at_threads()
                await self._catch_up_on(processor, arrived=arrived)

    @staticmethod
    async def _catch_up_on(processor: Processor, *, arrived: bool) -> None:
        try:
            await processor.runs.ring()
            if arrived:
                await processor.runs.offer_again()
        except PartsongError as error:
            told = {"partition": processor.partition, "problem": error.problem.code}
            _log.warning("runs not looked after, to be tried again", extra=told)

    @staticmethod
    async def _repeat(work: Callable[[], Awaitable[None]], every: float) -> None:
        while True:
            await asyncio.sleep(every)
            try:
                await work()
            except Exception:
                _log.exception("not looked after, to be tried again")


class _Waiting:
    """The partitions that belong to an engine and are not taken yet, each with the moment it was found so."""

    def __init__(self, long: float) -> None:
        self._long = long
        self._since: dict[int, float] = {}
        self.why = ""
        """What the last one that was not taken failed by."""

    def only(self, partitions: Collection[int]) -> None:
        """These are not taken, all others are."""
        now = clock.monotonic()
        self._since = {partition: self._since.get(partition, now) for partition in partitions}
        if not partitions:
            self.why = ""

    def problem(self, share: int, *, reading: bool) -> Problem | None:
        """What is wrong if one of them waits for too long, in a `share` of so many; `reading`: a pass is being made."""
        oldest = min(self._since.values(), default=None)
        if oldest is None or clock.monotonic() - oldest <= self._long:
            return None
        otherwise = "the log is being read" if reading else "another engine was first each time"
        return Problem(
            code="engine.partitions_waiting",
            message=f"engine holds {share - len(self._since)} of {share} partitions that belong to it: {self.why or otherwise}",
            where=GRAPH_ENGINE,
            fix="runs in the others wait; the reason says what is missing, and the engine's log how often it was tried",
            retryable=True,
            fault="platform",
        )


class _Pass:
    """The one pass over the log that is under way, and those that one was made for before."""

    def __init__(self, catch_up: CatchUp | None, *, wanted: Callable[[int], bool]) -> None:
        self._catch_up, self._wanted = catch_up, wanted
        self._task: asyncio.Task[None] | None = None
        self.of = frozenset[int]()
        """Partitions that it is made for."""
        self._tried = set[int]()
        """Those that one was made for: if another engine has moved them meanwhile, they are taken as they are."""

    @property
    def running(self) -> bool:
        """Whether one is being made."""
        return self._task is not None

    async def ended(self) -> None:
        """Wait until it is over."""
        if self._task is not None:
            await asyncio.wait({self._task})

    async def stop(self) -> None:
        """Break it off."""
        if self._task is not None:
            self._task.cancel()
            await self.ended()

    def only(self, partitions: Collection[int]) -> None:
        """Only of these partitions it matters that one was made."""
        self._tried.intersection_update(partitions)

    async def behind(self, coming: Collection[int]) -> dict[int, Checkpoint]:
        """Those whose checkpoints lie far behind, and that nothing has tried to catch up with.

        Raises:
            Unavailable: the server did not answer.
        """
        if self._catch_up is None:
            return {}
        return await self._catch_up.behind([p for p in coming if p not in self._tried])

    def start(self, behind: dict[int, Checkpoint], epoch: int) -> None:
        """Make one; what it is for is taken by the next look behind its end, also if it comes to nothing."""
        self.of = frozenset(behind)
        self._tried |= self.of
        self._task = asyncio.get_running_loop().create_task(
            self._make(behind, epoch), name="catching up"
        )

    async def _make(self, behind: dict[int, Checkpoint], epoch: int) -> None:
        assert self._catch_up is not None  # noqa: S101
        try:
            await self._catch_up.catch_up(behind, epoch, wanted=self._wanted)
        except PartsongError as error:
            _not_taken(error)
            if error.problem.retryable:
                self._tried -= behind.keys()
        except Exception:
            _log.exception("pass over the log broke off")
        finally:
            self.of, self._task = frozenset(), None


def _not_taken(error: PartsongError) -> None:
    told = {"problem": error.problem.code, "why": str(error)}
    _log.warning("partitions not taken, to be tried again", extra=told)
