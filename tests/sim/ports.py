"""The ports of the platform's real parts, on the simulated broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from partsong.bus.bucket import Entry, Overtaken
from partsong.bus.feed import Receive
from partsong.contracts import events as e
from partsong.contracts.errors import Unavailable
from partsong.contracts.state.calls import SERVICE_OF
from partsong.contracts.state.state import Call, RunState, Timer
from partsong.contracts.wire.headers import SET_FOR
from partsong.contracts.wire.stop import Stop
from partsong.contracts.wire.work import ChildWork, Work
from partsong.engine.work.hints import work_of
from partsong.graph_engine.outbox import reminder_id
from partsong.log.port import Appended, Record, WrongSequence
from partsong.log.subject import check_append
from tests.sim.broker import SUBJECTS, Broker
from tests.sim.consumers import Item
from tests.sim.loop import Process

__all__ = [
    "Hint",
    "SimBucket",
    "SimFeed",
    "SimLog",
    "SimOutbox",
    "SimTimers",
]

T = TypeVar("T")

_ATTEMPT, _DEADLINE = 5.0, 30.0


class SimLog:
    """The log as a process reaches it: what `JetStreamLog` does with the server's answers, its tries and time-outs too."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker, self._process = broker, process

    async def append(
        self,
        subject: str,
        body: bytes,
        *,
        id: str,
        expect: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Appended:
        check_append(subject, id, headers)
        stream, sent = self._broker.log, dict(headers or {})
        until = self._broker.loop.time() + _DEADLINE
        while True:
            ack = await self._insist(
                lambda: stream.append(subject, body, id, expect, dict(sent)), until
            )
            if not ack.stale:
                return Appended(ack.seq, ack.duplicate)
            assert expect is not None
            own = await self._insist(lambda: stream.first_behind(subject, expect), until)
            if own is not None and own.id == id:
                return Appended(own.seq, duplicate=True)
            last = await self._insist(lambda: stream.last(subject), until)
            if last is not None and last.id == id:
                return Appended(last.seq, duplicate=True)
            found = last.seq if last is not None else 0
            if found != expect:
                raise WrongSequence(subject, expect, found)

    async def _insist(self, operate: Callable[[], T], until: float | None = None) -> T:
        loop = self._broker.loop
        until = loop.time() + _DEADLINE if until is None else until
        while (left := until - loop.time()) > 0:
            try:
                return await self._broker.net.ask(self._process, operate, min(_ATTEMPT, left))
            except TimeoutError:
                continue
        raise Unavailable("log.no_answer", "the simulated broker did not answer", retryable=True)

    async def read(
        self, filter: str, *, after: int = 0, upto: int | None = None
    ) -> AsyncGenerator[Record, None]:
        stream = self._broker.log
        for record in await self._insist(lambda: stream.select(filter, after, upto)):
            yield record

    async def tail(self, filter: str, *, after: int = 0) -> AsyncGenerator[Record, None]:
        while True:
            async for record in self.read(filter, after=after):
                after = record.seq
                yield record
            await asyncio.sleep(0.2)

    async def last(
        self, subject: str, *, sure: bool = False
    ) -> Record | None:  # it reads what it holds
        return await self._insist(lambda: self._broker.log.last(subject))

    async def head(self) -> int:
        return await self._insist(lambda: self._broker.log.head)


class SimFeed:
    """The feed of one partition; see `Feed`."""

    def __init__(self, broker: Broker, process: Process, partition: int) -> None:
        self._broker, self._process = broker, process
        self._partition, self._filter = partition, SUBJECTS.partition(partition)
        self._log = SimLog(broker, process)
        self._task: asyncio.Task[None] | None = None

    async def start(self, after: int, receive: Receive) -> None:
        await self.stop()
        self._task = self._process.spawn(self._follow(after, receive))

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _follow(self, after: int, receive: Receive) -> None:
        """Some records at a time: what is read together may be folded apart from what is read next."""
        random = self._broker.loop.random
        while True:
            grown = self._broker.grown[self._partition]
            try:
                found = [record async for record in self._log.read(self._filter, after=after)]
            except Unavailable:
                continue
            for record in found[: random.choice([1, 2, 100])]:
                after = record.seq
                receive(record, record.body)
            if not found:
                await grown.wait()


@dataclass(frozen=True)
class Hint:
    """A hint as it travels: its body and its header."""

    work: Work
    seen: int


class SimOutbox:
    """The outbox; see `Outbox`."""

    def __init__(
        self, broker: Broker, process: Process, begin: Callable[[ChildWork], Awaitable[None]]
    ) -> None:
        self._broker, self._process, self._begin = broker, process, begin

    async def hint(self, state: RunState, call: Call, seen: int, *, again: bool = False) -> None:
        work = work_of(state, call)
        if work is None:
            return
        if isinstance(work, ChildWork):
            await self._begin(work)
            return
        queue = self._broker.work[SERVICE_OF[work.kind]]
        id_ = reminder_id(work, queue.reading) if again else work.id
        self._broker.net.send(self._process, lambda: queue.put("work", Hint(work, seen), id_))

    async def timer(self, run_id: str, timer: Timer) -> None:
        target = SUBJECTS.fired(run_id, timer.id)
        try:
            await self._broker.net.ask(
                self._process, lambda: self._broker.set_timer(target, timer.at), 5.0
            )
        except TimeoutError as error:
            raise Unavailable("timer.not_set", "no answer", retryable=True) from error

    async def stop(self, run_id: str, stop: Stop) -> None:
        self._broker.net.send(self._process, lambda: self._broker.stop_run(run_id, stop))

    async def not_undone(self, state: RunState, event: e.NodeCompensated) -> None:
        """Nobody reads dead letters here."""


class SimBucket:
    """A bucket with compare-and-set."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker, self._process = broker, process

    async def get(self, key: str) -> Entry:
        return await self._ask(lambda: Entry(*self._broker.buckets.get(key, (None, 0))))

    async def keys(self) -> list[str]:
        return await self._ask(lambda: sorted(self._broker.buckets))

    async def put(self, key: str, value: bytes, expect: int | None = None) -> int:
        return await self._change(key, value, expect)

    async def remove(self, key: str, expect: int | None = None) -> None:
        await self._change(key, None, expect)

    async def _change(self, key: str, value: bytes | None, expect: int | None) -> int:
        broker = self._broker

        def change() -> int:
            if expect is not None and broker.buckets.get(key, (None, 0))[1] != expect:
                return 0
            broker.revision += 1
            broker.buckets[key] = value, broker.revision
            return broker.revision

        if not (revision := await self._ask(change)):
            raise Overtaken
        return revision

    async def _ask(self, operate: Callable[[], T]) -> T:
        try:
            return await self._broker.net.ask(self._process, operate, 5.0)
        except TimeoutError as error:
            raise Unavailable("bucket.no_answer", "no answer", retryable=True) from error


@dataclass(eq=False)
class _Firing:
    """A timer that fired, as a delivery of the timers' consumer."""

    item: Item
    process: Process

    @property
    def subject(self) -> str:
        return self.item.subject

    @property
    def headers(self) -> dict[str, str]:
        return {SET_FOR: str(self.item.body)}

    @property
    def stored_ns(self) -> int:
        return int(self.item.stored * 1e9)

    def ack(self) -> None:
        self.item.queue.ack(self.process, self.item)

    def nak(self, delay: float = 0.0) -> None:
        self.item.queue.nak(self.process, self.item, delay)

    def term(self, _reason: str) -> None:
        self.ack()


class SimTimers:
    """What pulls the timers that fired."""

    def __init__(self, broker: Broker, process: Process, fired: Callable[..., None]) -> None:
        self._queue, self._process, self._fired = broker.fired, process, fired

    async def start(self) -> None:
        self._queue.join(self._process, lambda item: self._fired(_Firing(item, self._process)))

    async def stop(self) -> None:
        self._queue.leave(self._process)

    def done(self) -> None:
        """Nothing is rationed here."""
