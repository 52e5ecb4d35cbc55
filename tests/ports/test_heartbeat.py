"""Heartbeats over a real server, with a clock that the test moves."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

import pytest

from partsong.runtime import clock
from partsong.runtime.heartbeat.beat import Beat, worker_id
from partsong.runtime.heartbeat.monitor import SILENCE, LivenessMonitor
from partsong.runtime.heartbeat.task import TaskHeartbeat
from partsong.testing.nats import Bus

PATIENCE = 30.0


class Time:
    """What `clock.monotonic` says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(clock, "monotonic", made)
    return made


@pytest.fixture
async def watch(bus: Bus, time: Time) -> AsyncIterator[LivenessMonitor]:
    made = LivenessMonitor(bus.nc, bus.subjects)
    await made.start()
    yield made
    await made.stop()


class Beats:
    """Beats of workers, each heard before the next."""

    def __init__(self, bus: Bus, watch: LivenessMonitor, time: Time) -> None:
        self._bus, self._watch, self._time = bus, watch, time

    async def __call__(self, worker: str, *, stopped: bool = False) -> None:
        name, _, incarnation = worker.partition("~")
        beat = Beat(
            service="tool-runner", name=name, incarnation=incarnation, started="", stopped=stopped
        )
        self._watch._news.clear()
        await self._bus.nc.publish(
            self._bus.subjects.alive("tool-runner", name), beat.model_dump_json().encode()
        )
        async with asyncio.timeout(PATIENCE):
            await self._watch._news.wait()

    async def for_(self, seconds: float, *others: str) -> None:
        """Let time pass, in which we and `others` beat."""
        for _ in range(math.ceil(seconds)):
            self._time.now += seconds / math.ceil(seconds)
            for worker in ("me~1", *others):
                await self(worker)


@pytest.fixture
def beat(bus: Bus, watch: LivenessMonitor, time: Time) -> Beats:
    return Beats(bus, watch, time)


async def test_a_worker_that_beats_is_not_silent_and_one_that_stopped_beating_is(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    await beat("a~1")
    await beat.for_(SILENCE - 0.1, "b~1")
    assert not watch.silent("a~1")
    time.now += 0.2
    assert watch.silent("a~1")
    assert not watch.silent("b~1")


async def test_a_worker_never_heard_is_silent_a_while_after_the_first_question(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    await beat.for_(20)
    assert not watch.silent("new~1")
    await beat.for_(SILENCE + 0.1)
    assert watch.silent("new~1")
    await beat("new~1")
    assert not watch.silent("new~1")


async def test_who_hears_nobody_calls_nobody_silent(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    await beat("a~1")
    time.now += 100
    assert not watch.silent("a~1")


async def test_silence_while_we_were_cut_off_is_not_held_against_anybody(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    await beat("a~1")
    time.now += 100
    await beat("b~1")
    assert not watch.silent("a~1")
    await beat.for_(SILENCE + 0.1)
    assert watch.silent("a~1")


async def test_a_newer_incarnation_means_the_older_one_is_dead(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    await beat("a~1")
    time.now += 0.5
    await beat("a~2")
    assert watch.silent("a~1")
    assert not watch.silent("a~2")


async def test_two_workers_of_one_name_that_both_beat_are_both_alive(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    for _ in range(3):
        for worker in ("a~1", "a~2"):
            time.now += 0.5
            await beat(worker)
    assert not watch.silent("a~1")
    assert not watch.silent("a~2")


async def test_an_older_incarnation_never_heard_is_dead_once_the_newer_one_is_known_for_a_while(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    await beat("a~2")
    assert not watch.silent("a~1")
    time.now += 2.6
    await beat("a~2")
    assert watch.silent("a~1")


async def test_who_says_goodbye_is_not_waited_for(
    beat: Beats, watch: LivenessMonitor, time: Time
) -> None:
    await beat.for_(SILENCE + 0.1)
    await beat("a~1")
    assert not watch.silent("a~1")
    await beat("a~1", stopped=True)
    assert watch.silent("a~1")
    assert await watch.heard("a", within=0.0) is None


async def test_nonsense_is_no_heartbeat(bus: Bus, beat: Beats, watch: LivenessMonitor) -> None:
    await bus.nc.publish(bus.subjects.alive("tool-runner", "a"), b"?")
    await beat("b~1")
    assert set(watch.beats) == {"b~1"}


async def test_a_heart_beats_until_it_is_stopped_and_then_says_so(bus: Bus) -> None:
    watch = LivenessMonitor(bus.nc, bus.subjects)
    await watch.start()
    incarnation, worker = worker_id("w")
    load = 0
    heart = TaskHeartbeat(
        bus.nc, bus.subjects, "approval", "w", incarnation, in_flight=lambda: load
    )
    await heart.start()
    assert await watch.heard("w", within=PATIENCE) == worker
    heart.url = "http://127.0.0.1:1"
    load = 3
    async with asyncio.timeout(PATIENCE):  # a beat from before may still be on its way
        while watch.beats[worker].in_flight != 3:
            watch._news.clear()
            await watch._news.wait()
    assert watch.beats[worker].url == "http://127.0.0.1:1"
    watch._news.clear()
    await heart.stop()
    async with asyncio.timeout(PATIENCE):
        while not watch.beats[worker].stopped:
            watch._news.clear()
            await watch._news.wait()
    await watch.stop()


async def test_a_heart_answers_a_ping(bus: Bus) -> None:
    incarnation, worker = worker_id("w")
    heart = TaskHeartbeat(bus.nc, bus.subjects, "approval", "w", incarnation, in_flight=lambda: 0)
    await heart.start()
    reply = await bus.nc.request(bus.subjects.query("approval", "ping"), timeout=PATIENCE)
    assert Beat.model_validate_json(reply.data).worker == worker
    await heart.stop()


def test_incarnations_sort_by_time() -> None:
    (first, _), (second, _) = worker_id("w"), worker_id("w")
    assert first[:10] <= second[:10]
    assert first != second
