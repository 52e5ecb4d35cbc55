"""The lines of threads: what becomes of them when the server has lost one, for the runs know who was in it."""

from __future__ import annotations

import secrets

import pytest

from partsong.contracts.errors import Unavailable
from partsong.contracts.run_events import RunOptions
from partsong.contracts.subjects import Subjects
from partsong.graph_engine.threads import Threads
from partsong.log.memory import MemoryLog
from partsong.log.snapshots.memory import MemorySnapshots
from partsong.runtime import clock
from partsong.testing.bucket import MemoryBucket

WAITS = RunOptions(thread="t", on_busy="enqueue")


class Clock:
    """Stands still until it is put forward."""

    at = 1_000_000.0

    def wall(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def randbits(self, bits: int) -> int:
        return secrets.randbits(bits)


class Line:
    """One thread, and the server that keeps its line."""

    def __init__(self) -> None:
        self.clock = Clock()
        clock.set_source(self.clock)
        self.bucket, self.log = MemoryBucket(), MemoryLog()
        self.connections = 0
        self.threads = Threads(
            self.bucket,
            self.log,
            Subjects(),
            MemorySnapshots(),
            self.admit,
            lambda: self.connections,
        )
        self.admitted: list[str] = []

    async def lose(self) -> None:
        for key in await self.bucket.keys():
            await self.bucket.remove(key)

    async def held(self) -> bool:
        """Whether anybody is in line."""
        return any([(await self.bucket.get(key)).value for key in await self.bucket.keys()])

    async def admit(self, run_id: str, left: str) -> None:
        self.admitted.append(run_id)

    async def begins(self, run_id: str) -> None:
        assert not await self.waits(run_id)

    async def waits(self, run_id: str) -> bool:
        seat = await self.threads.enter(run_id, WAITS)
        assert seat is not None
        headers = {"Partsong-Status": "queued" if seat.queued else "running"}
        await self.log.append(Subjects().engine(run_id), b"{}", id=run_id, headers=headers)
        return seat.queued


async def test_a_run_that_has_the_thread_takes_it_back_when_the_line_is_lost() -> None:
    line = Line()
    await line.begins("r_1")
    await line.threads.hold("r_1", "t")
    await line.lose()
    line.clock.at += 21.0
    await line.threads.hold("r_1", "t")
    assert await line.waits("r_2")
    await line.threads.leave("r_1", "t")
    assert line.admitted == ["r_2"]


async def test_of_a_lost_line_who_waits_lets_who_has_the_thread_come_first() -> None:
    line = Line()
    await line.begins("r_1")
    assert await line.waits("r_2")
    await line.lose()
    assert not await line.threads.may_go("r_2", "t")
    await line.threads.hold("r_1", "t")
    line.clock.at += 100.0
    assert not await line.threads.may_go("r_2", "t")
    await line.threads.leave("r_1", "t")
    assert await line.threads.may_go("r_2", "t")


async def test_of_a_lost_line_who_waits_goes_on_when_nobody_has_the_thread() -> None:
    line = Line()
    await line.begins("r_1")
    await line.waits("r_2")
    await line.lose()
    assert not await line.threads.may_go("r_2", "t")
    line.clock.at += 59.0
    assert not await line.threads.may_go("r_2", "t")
    line.clock.at += 2.0
    assert await line.threads.may_go("r_2", "t")


async def test_a_run_that_has_the_thread_looks_now_and_then_and_when_the_connection_is_back() -> (
    None
):
    line = Line()
    await line.begins("r_1")
    await line.threads.hold("r_1", "t")
    await line.lose()
    line.clock.at += 19.0
    await line.threads.hold("r_1", "t")
    assert not await line.held(), "it has looked just now"
    line.connections += 1
    await line.threads.hold("r_1", "t")
    assert await line.waits("r_2")


async def test_nobody_is_let_into_a_lost_line_before_those_that_were_in_it_have_looked() -> None:
    line = Line()
    await line.begins("r_1")
    await line.lose()
    line.connections += 1
    with pytest.raises(Unavailable, match="nobody is in thread 't' now") as refused:
        await line.waits("r_2")
    assert refused.value.problem.retryable
    with pytest.raises(Unavailable, match="nobody is in thread 't' now"):
        await line.threads.rejoin("r_0", WAITS)
    line.clock.at += 10.0
    assert not await line.waits("r_2"), "nobody else has come"
