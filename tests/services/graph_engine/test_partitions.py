"""Partitions: an engine looks after the runs of those that come to it from another one, and only then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from partsong.contracts import events as e
from partsong.contracts.envelope import encode_report
from partsong.contracts.state import Call, RunState, Timer
from partsong.contracts.subjects import partition_of
from partsong.graph_engine.partitions import Partitions
from partsong.graph_engine.runs import Runs
from partsong.log.jetstream import JetStreamLog
from partsong.runtime.streams import ENGINE_GROUP
from partsong.testing.nats import Bus

RUN = "r_1"
HERE = partition_of(RUN)
PATIENCE = 30.0


class Nobody:
    """An outbox of which nothing is wanted: the run whose facts are heard does not exist."""

    async def hint(self, state: RunState, call: Call, *, again: bool = False) -> None:
        raise AssertionError(call)

    async def timer(self, run_id: str, timer: Timer) -> None:
        raise AssertionError(timer)

    async def stop(self, run_id: str, reason: str, owner: str | None = None) -> None:
        raise AssertionError(run_id)


@pytest.fixture
async def log(bus: Bus) -> AsyncIterator[JetStreamLog]:
    log = bus.log()
    yield log
    await log.close()


@asynccontextmanager
async def an_engine(bus: Bus, log: JetStreamLog) -> AsyncIterator[list[int]]:
    """An engine's ears; yields the partitions that it was told to look after."""
    took: list[int] = []
    runs = Runs(log, bus.subjects, Nobody(), "engine")
    ears = Partitions(bus.nc, bus.names.log, bus.subjects, runs, pinned=took.append)
    await ears.start()
    try:
        yield took
    finally:
        await ears.stop()
        await runs.drain()


async def report(bus: Bus, log: JetStreamLog, n: int) -> None:
    """A fact comes; returns when some engine has dealt with it."""
    fact = e.CallCompleted(id=f"{n}", call_id=f"a:{n}", attempt=1)
    await log.append(bus.subjects.fact(RUN), encode_report(RUN, fact), id=fact.id)
    async with asyncio.timeout(PATIENCE):
        while await acknowledged(bus) < n:  # noqa: ASYNC110  # the server has no event for it
            await asyncio.sleep(0.01)


async def acknowledged(bus: Bus) -> int:
    """How many deliveries have been dealt with."""
    info = await bus.nc.jetstream().consumer_info(bus.names.log, f"engine-{HERE}")
    return info.ack_floor.consumer_seq if info.ack_floor else 0


async def unpin(bus: Bus) -> None:
    """What the server does when nothing has happened for a while."""
    body = json.dumps({"group": ENGINE_GROUP}).encode()
    await bus.nc.request(f"$JS.API.CONSUMER.UNPIN.{bus.names.log}.engine-{HERE}", body, timeout=30)


async def test_a_pin_that_comes_back_to_the_engine_that_had_it_changes_nothing(
    bus: Bus, log: JetStreamLog
) -> None:
    async with an_engine(bus, log) as took:
        await report(bus, log, 1)
        assert took == [HERE]
        for n in (2, 3):
            await unpin(bus)
            await report(bus, log, n)
        assert took == [HERE]


async def test_a_partition_that_another_engine_has_heard_is_looked_after_when_it_comes_back(
    bus: Bus, log: JetStreamLog
) -> None:
    async with an_engine(bus, log) as first:
        await report(bus, log, 1)
        async with an_engine(bus, log) as second:
            n = 1
            async with asyncio.timeout(PATIENCE):
                while not second:  # the pin goes to whoever asks first
                    await unpin(bus)
                    await report(bus, log, n := n + 1)
            assert (first, second) == ([HERE], [HERE])
        await report(bus, log, n + 1)
        assert first == [HERE, HERE]
