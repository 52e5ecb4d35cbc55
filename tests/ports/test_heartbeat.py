"""The heartbeat port: one suite for the task in the service's loop and for the process beside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from partsong.contracts.wire.heartbeat import Beat, HeldCall
from partsong.runtime.heartbeat.held import MOST
from partsong.runtime.heartbeat.identity import worker_id
from partsong.runtime.heartbeat.monitor import LivenessMonitor
from partsong.runtime.heartbeat.port import Heartbeat, HeartbeatFactory
from partsong.runtime.heartbeat.process import ProcessHeartbeat
from partsong.runtime.heartbeat.task import TaskHeartbeat
from partsong.testing.nats import Bus

PATIENCE = 30.0
ADAPTERS: tuple[HeartbeatFactory, ...] = (TaskHeartbeat, ProcessHeartbeat)


@pytest.fixture
async def monitor(bus: Bus) -> AsyncIterator[LivenessMonitor]:
    made = LivenessMonitor(bus.nc, bus.subjects)
    await made.start()
    yield made
    await made.stop()


class World:
    """A heartbeat that has begun, and what is heard of it."""

    def __init__(self, bus: Bus, monitor: LivenessMonitor, factory: HeartbeatFactory) -> None:
        incarnation, self.worker = worker_id("w")
        self.load = 0
        self._bus, self._monitor = bus, monitor
        self.heartbeat: Heartbeat = factory(
            bus.nc,
            bus.subjects,
            "tool-runner",
            "w",
            incarnation,
            in_flight=lambda: self.load,
            nats_url=bus.url,
        )

    async def until(self, true: Callable[[Beat], bool]) -> Beat:
        """The first beat from now on of which something is true."""
        async with asyncio.timeout(PATIENCE):
            while True:
                beat = self._monitor.beats.get(self.worker)
                if beat is not None and true(beat):
                    return beat
                self._monitor._news.clear()
                await self._monitor._news.wait()

    async def pong(self) -> Beat:
        """The answer to a ping."""
        ping = self._bus.subjects.query("tool-runner", "ping")
        return Beat.model_validate_json((await self._bus.nc.request(ping, timeout=PATIENCE)).data)


@pytest.fixture(params=ADAPTERS, ids=["task", "process"])
async def world(
    bus: Bus, monitor: LivenessMonitor, request: pytest.FixtureRequest
) -> AsyncIterator[World]:
    made = World(bus, monitor, request.param)
    await made.heartbeat.start()
    yield made
    await made.heartbeat.stop()


async def test_it_beats_with_what_is_so_then_and_says_when_it_stops(
    world: World, monitor: LivenessMonitor
) -> None:
    assert await monitor.heard("w", within=PATIENCE) == world.worker
    world.heartbeat.url = "http://127.0.0.1:1"
    world.load = 3
    beat = await world.until(lambda beat: beat.in_flight == 3 and beat.url is not None)
    assert beat.url == "http://127.0.0.1:1"
    assert not beat.ready
    assert not beat.stopped
    world.heartbeat.ready = True
    await world.until(lambda beat: beat.ready)
    await world.heartbeat.stop()
    await world.until(lambda beat: beat.stopped)


async def test_it_answers_a_ping(world: World) -> None:
    assert (await world.pong()).worker == world.worker


async def test_a_ping_is_answered_with_every_call_that_is_held(world: World) -> None:
    held = world.heartbeat.held
    slots = [held.hold("r_1", "n:1", 1, "shop:pay"), held.hold("r_2", "n:1", 2, "f", asking=True)]
    found = (await world.pong()).held
    assert sorted(found, key=lambda call: call.run_id) == [
        HeldCall(run_id="r_1", call_id="n:1", function="shop:pay"),
        HeldCall(run_id="r_2", call_id="n:1", attempt=2, function="f", asking=True),
    ]
    held.begin(slots[1])
    held.release(slots[0])
    (left,) = (await world.pong()).held
    assert (left.run_id, left.asking) == ("r_2", False)


async def test_a_beat_lists_calls_that_are_held_for_a_while(world: World) -> None:
    slot = world.heartbeat.held.hold("r_1", "n:1", 1, "shop:pay")
    beat = await world.until(lambda beat: bool(beat.held))
    assert beat.held == (HeldCall(run_id="r_1", call_id="n:1", function="shop:pay"),)
    world.heartbeat.held.release(slot)
    await world.until(lambda beat: not beat.held)


async def test_more_calls_than_can_be_listed_are_counted(world: World) -> None:
    held = world.heartbeat.held
    slots = [held.hold(f"r_{n}", "n:1", 1, "f") for n in range(MOST + 2)]
    beat = await world.pong()
    assert (len(beat.held), beat.held_more) == (MOST, 2)
    for slot in slots:
        held.release(slot)
    beat = await world.pong()
    assert (beat.held, beat.held_more) == ((), 0)


async def test_a_call_whose_names_do_not_fit_is_counted(world: World) -> None:
    slot = world.heartbeat.held.hold("r_1", "n:1", 1, "f" * 3000)
    assert (await world.pong()).held_more == 1
    world.heartbeat.held.release(slot)
    assert (await world.pong()).held_more == 0


async def test_a_function_that_blocks_its_loop_is_named(world: World) -> None:
    world.heartbeat.held.block("shop:pay", "r_1", "n:1")
    blocked = (await world.until(lambda beat: beat.blocked is not None)).blocked
    assert blocked is not None
    assert (blocked.functions, blocked.run_id, blocked.call_id) == (("shop:pay",), "r_1", "n:1")
    assert not blocked.process
    world.heartbeat.held.block()
    await world.until(lambda beat: beat.blocked is None)
