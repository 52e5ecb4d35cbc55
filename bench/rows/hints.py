"""Work hints: our own pull loop against FastStream, on the same queue with the same hints."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub
from nats.aio.client import Client

from bench.row import Context, Row
from partsong.bus.faststream import Command, command_broker, on_command
from partsong.bus.jobs import Jobs
from partsong.contracts.wire.subjects import Subjects
from partsong.contracts.wire.work import WORK, FunctionWork, Work
from partsong.log.jetstream import JetStreamLog
from partsong.runtime.clock import monotonic
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.nats.server import start_embedded
from partsong.runtime.streams import Names, provision

__all__ = ["measure"]

_SERVICE = "tool-runner"
_SLOW = 1.0
"""Seconds that a slow handler takes; the queue redelivers after two."""
_SLOTS, _BATCH = 4, 10

Handler = Callable[[Work], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Bus:
    nc: Client
    url: str
    subjects: Subjects
    names: Names

    async def hint(self, *numbers: int) -> None:
        """Put hints of 1 KB into the queue."""
        publish, subject = self.nc.jetstream().publish, self.subjects.work(_SERVICE)
        works = (
            FunctionWork(
                run_id="r_1", call_id=f"f:{n}", node="f", function="m:f", state={"text": "x" * 900}
            )
            for n in numbers
        )
        await asyncio.gather(*(publish(subject, WORK.dump_json(work)) for work in works))


@dataclass(frozen=True, slots=True)
class _Way:
    """A way to work hints off."""

    name: str
    title: str
    open: Callable[[_Bus, Handler, int], AbstractAsyncContextManager[None]]


async def measure(context: Context) -> list[Row]:
    """Rate and CPU of each way; then a quick hint behind a slow one, and slow ones beyond the slots."""
    async with _a_bus(context) as bus:
        return [
            await figure(context, bus, way) for figure in (_rate, _behind, _twice) for way in _WAYS
        ]


async def _rate(context: Context, bus: _Bus, way: _Way) -> Row:
    count = context.size(5000, 200)
    for first in range(0, count, 200):
        await bus.hint(*range(first, first + 200))
    left, done = count, asyncio.Event()

    async def work(_: Work) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    cpu, start = time.process_time(), monotonic()
    async with way.open(bus, work, 64):
        await done.wait()
        took, burnt = monotonic() - start, time.process_time() - cpu
    return context.figure(
        f"hints.rate.{way.name}",
        f"hints decoded, handled by nothing, acknowledged: {way.title}",
        count / took,
        "hints/s",
        note=f"{burnt / count * 1e6:.0f} µs of this process's CPU each",
    )


async def _behind(context: Context, bus: _Bus, way: _Way) -> Row:
    slow, quick = asyncio.Event(), asyncio.Event()

    async def work(work: Work) -> None:
        if work.call_id == "f:1":
            slow.set()
            await asyncio.sleep(_SLOW)
        else:
            quick.set()

    async with way.open(bus, work, _SLOTS):
        await bus.hint(1)
        await slow.wait()
        start = monotonic()
        await bus.hint(2)
        await quick.wait()
        took = monotonic() - start
        await asyncio.sleep(_SLOW)
    return context.figure(
        f"hints.behind.{way.name}",
        f"a hint that comes while one of {_SLOTS} slots is busy for {_SLOW:g} s begins after: {way.title}",
        took * 1000,
        "ms",
    )


async def _twice(context: Context, bus: _Bus, way: _Way) -> Row:
    """Every slot is busy, and more hints wait than there are slots."""
    count = 6 * _SLOTS
    begun, ended = Counter[str](), asyncio.Event()

    async def work(work: Work) -> None:
        begun[work.call_id] += 1
        await asyncio.sleep(_SLOW)
        if len(begun) == count:
            ended.set()

    await bus.hint(*range(count))
    async with way.open(bus, work, _SLOTS):
        await ended.wait()
        await asyncio.sleep(3 * _SLOW)
    return context.figure(
        f"hints.twice.{way.name}",
        f"calls of {_SLOW:g} s made twice, of {count} with {_SLOTS} slots: {way.title}",
        begun.total() - count,
        "calls",
    )


@asynccontextmanager
async def _jobs(bus: _Bus, work: Handler, at_once: int) -> AsyncIterator[None]:
    store = JetStreamLog(bus.nc, stream=bus.names.log, blobs=bus.names.blobs)
    jobs = Jobs(bus.nc, bus.subjects, _SERVICE, work, store, slots=at_once)
    await jobs.start()
    yield
    await jobs.drain(10)
    await store.close()


@asynccontextmanager
async def _typed(bus: _Bus, work: Handler, _at_once: int) -> AsyncIterator[None]:
    """As its documentation shows it, but for the acknowledging: its default destroys what fails."""
    broker = NatsBroker(bus.url, ack_policy=AckPolicy.NACK_ON_ERROR, logger=None)

    async def handle(body: Work) -> None:
        await work(body)

    broker.subscriber(
        bus.subjects.works(_SERVICE),
        stream=JStream(bus.names.work, declare=False),
        durable=_SERVICE,
        pull_sub=PullSub(batch_size=_BATCH, timeout=1.0),
        no_reply=True,
    )(handle)
    await broker.start()
    yield
    await broker.stop()


@asynccontextmanager
async def _command(bus: _Bus, work: Handler, at_once: int) -> AsyncIterator[None]:
    """Under our own rules, with workers: what commands go through."""
    broker = command_broker(bus.nc, bus.subjects, _SERVICE)

    async def handle(command: Command) -> None:
        await work(WORK.validate_json(command.body))

    subject = bus.subjects.works(_SERVICE)
    on_command(broker, bus.names.work, _SERVICE, subject, handle, at_once=at_once)
    await broker.start()
    yield
    await broker.stop()


_WAYS = (
    _Way("jobs", "our pull loop", _jobs),
    _Way("typed", f"FastStream, batches of {_BATCH}", _typed),
    _Way("workers", "FastStream under our rules, with workers", _command),
)


@asynccontextmanager
async def _a_bus(context: Context) -> AsyncIterator[_Bus]:
    async with start_embedded(context.folder / "nats", fast=True) as server:
        nc = await connect(server.url, name="bench")
        try:
            subjects = Subjects()
            await provision(nc, subjects)
            yield _Bus(nc, server.url, subjects, Names.of(subjects))
        finally:
            await disconnect(nc)
