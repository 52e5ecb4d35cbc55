"""The ports of the platform's real parts, on the simulated broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from partsong.contracts.errors import Unavailable
from partsong.contracts.requests import CancelRequest, RunRequest
from partsong.contracts.run_events import Parent
from partsong.contracts.state import Call, RunState, Timer
from partsong.contracts.work import ChildWork, child_of_v0
from partsong.graph_engine.bucket import Bucket, Entry, Overtaken
from partsong.graph_engine.children import Children
from partsong.graph_engine.core.hints import work_of
from partsong.graph_engine.feed import Delivered, Standing
from partsong.graph_engine.open_runs import is_open
from partsong.log.port import Appended, Record, WrongSequence
from partsong.log.subject import check_append
from tests.sim.broker import SUBJECTS, Broker
from tests.sim.consumers import Item, Receiver
from tests.sim.loop import Process

__all__ = [
    "SimBucket",
    "SimChildren",
    "SimFeed",
    "SimLog",
    "SimOpenRuns",
    "SimOutbox",
    "SimTimers",
]

T = TypeVar("T")

_ATTEMPT, _DEADLINE = 5.0, 30.0
_SERVICE = {"agent.turn": "agent-gateway"}


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

    async def last(self, subject: str) -> Record | None:
        return await self._insist(lambda: self._broker.log.last(subject))

    async def head(self) -> int:
        return await self._insist(lambda: self._broker.log.head)


class SimFeed:
    """The feed of one partition; see `Feed`."""

    def __init__(self, broker: Broker, process: Process, partition: int) -> None:
        self._broker, self._process = broker, process
        self.partition = partition
        self._consumer = broker.feeds[partition]
        self._pin = ""
        self._receiver: Receiver | None = None

    async def start(self, receive: Callable[[Delivered], None], pinned: Callable[[], None]) -> None:
        def deliver(record: Record, consumer_seq: int, deliveries: int, pin: str) -> None:
            if pin != self._pin:
                self._pin = pin
                pinned()
            receive(
                Delivered(
                    record,
                    consumer_seq,
                    deliveries > 1,
                    False,
                    lambda: self._send(lambda: self._consumer.ack(record.seq)),
                    lambda delay: self._send(lambda: self._consumer.nak(record.seq, delay)),
                )
            )

        self._receiver = Receiver(self._process, deliver)
        self._consumer.receivers.append(self._receiver)
        self._broker.net.later(self._broker.net.latency(), self._consumer.pump)

    def _send(self, arrive: Callable[[], object]) -> None:
        self._broker.net.send(self._process, arrive)

    async def stop(self) -> None:
        if self._receiver in self._consumer.receivers:
            self._consumer.receivers.remove(self._receiver)
            if self._consumer.pin is self._receiver:
                self._send(self._consumer.unpin)

    async def standing(self) -> Standing | None:
        if not self._process.linked or not self._broker.net.up:
            return None
        return Standing(self._consumer.holder is not None, self._consumer.unanswered)


class SimOutbox:
    """The outbox; see `Outbox`."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker, self._process = broker, process

    async def hint(self, state: RunState, call: Call) -> None:
        work = work_of(state, call)
        if work is None:
            return
        if isinstance(work, ChildWork):
            request = RunRequest(
                id=work.child,
                run_id=work.child,
                graph=work.graph,
                input=work.input,
                options=work.options,
            )
            body = request.model_dump_json(exclude_none=True).encode()
            requests = self._broker.requests
            self._broker.net.send(self._process, lambda: requests.put("run", body))
            return
        queue = self._broker.work[_SERVICE.get(work.kind, "tool-runner")]
        self._broker.net.send(self._process, lambda: queue.put("work", work, work.id))

    async def timer(self, run_id: str, timer: Timer) -> None:
        target = SUBJECTS.fired(run_id, timer.id)
        try:
            await self._broker.net.ask(
                self._process, lambda: self._broker.set_timer(target, timer.at), 5.0
            )
        except TimeoutError as error:
            raise Unavailable("timer.not_set", "no answer", retryable=True) from error

    async def stop(self, run_id: str, reason: str, owner: str | None = None) -> None:
        self._broker.net.send(self._process, lambda: self._broker.stop_run(run_id, owner))


class SimBucket(Bucket):
    """A bucket with compare-and-set."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker, self._process = broker, process

    async def get(self, key: str) -> Entry:
        return await self._ask(lambda: Entry(*self._broker.buckets.get(key, (None, 0))))

    async def put(self, key: str, value: bytes, expect: int | None = None) -> None:
        await self._change(key, value, expect)

    async def remove(self, key: str, expect: int | None = None) -> None:
        await self._change(key, None, expect)

    async def _change(self, key: str, value: bytes | None, expect: int | None) -> None:
        broker = self._broker

        def change() -> bool:
            if expect is not None and broker.buckets.get(key, (None, 0))[1] != expect:
                return False
            broker.revision += 1
            broker.buckets[key] = value, broker.revision
            return True

        if not await self._ask(change):
            raise Overtaken

    async def _ask(self, operate: Callable[[], T]) -> T:
        try:
            return await self._broker.net.ask(self._process, operate, 5.0)
        except TimeoutError as error:
            raise Unavailable("bucket.no_answer", "no answer", retryable=True) from error


class SimChildren(Children):
    """What passes between parents and children, with requests to the simulated door."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker, self._process = broker, process
        self._log, self._subjects = SimLog(broker, process), SUBJECTS

    async def cancel(self, run_id: str, call: Call) -> None:
        parent = Parent(run_id=run_id, call_id=call.id, attempt=call.attempt)
        child = call.child or child_of_v0(parent)
        request = CancelRequest(id=f"{child}~cancel", run_id=child, reason="nobody waits")
        body = request.model_dump_json(exclude_none=True).encode()
        requests = self._broker.requests
        self._broker.net.send(self._process, lambda: requests.put("cancel", body, request.id))


class SimOpenRuns:
    """The open runs of a partition; see `OpenRuns`."""

    def __init__(self, broker: Broker, process: Process) -> None:
        self._broker, self._log = broker, SimLog(broker, process)

    async def of(self, partition: int) -> AsyncIterator[str]:
        newest: dict[str, Record] = {}
        async for record in self._log.read(SUBJECTS.commits(partition)):
            newest[record.subject] = record
        for record in newest.values():
            if is_open(record.headers):
                yield SUBJECTS.parse_log(record.subject).run_id


@dataclass(eq=False)
class _Firing:
    """A timer that fired, as a delivery of the timers' consumer."""

    item: Item
    process: Process

    @property
    def subject(self) -> str:
        return self.item.subject

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
