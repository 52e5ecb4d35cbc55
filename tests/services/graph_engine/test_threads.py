"""The lines of threads: what becomes of them when the server has lost one, for the runs know who was in it."""

from __future__ import annotations

import pytest

from partsong.contracts.errors import Conflict, Unavailable
from partsong.contracts.events import RunOptions
from partsong.contracts.wire.marks import Restored
from partsong.contracts.wire.subjects import PARTITIONS, Subjects
from partsong.graph_engine.core.thread_queue import Line as Written
from partsong.graph_engine.seating import Seating
from partsong.graph_engine.threads import Threads
from partsong.log.memory import MemoryLog
from partsong.log.port import Record
from partsong.log.snapshots.memory import MemorySnapshots
from partsong.runtime import clock
from partsong.testing.bucket import MemoryBucket
from tests.services.graph_engine.clocks import Still

WAITS = RunOptions(thread="t", on_busy="enqueue")
BESIDE = RunOptions(thread="t", on_busy="allow")
RUNNING = {"Partsong-Status": "running"}


class Forgetful(MemoryLog):
    """A log that may have lost the records of a subject."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten = set[str]()

    async def last(self, subject: str, *, sure: bool = False) -> Record | None:
        return None if subject in self.forgotten else await super().last(subject, sure=sure)


class Line:
    """One thread, and the server that keeps its line."""

    def __init__(self) -> None:
        self.clock = Still()
        self.bucket, self.seats, self.log = MemoryBucket(), MemoryBucket(), Forgetful()
        self.connections, self.restores = 0, list[Restored]()
        self.threads = self.another_engine()
        self.accepted: dict[str, str] = {}
        self.admitted: list[str] = []

    def another_engine(self) -> Threads:
        return Threads(
            self.bucket,
            self.log,
            Subjects(),
            MemorySnapshots(),
            self.admit,
            lambda: self.connections,
            Seating(self.seats, lambda: self.restores),
        )

    async def all_came(self) -> None:
        """All open runs of all partitions have been looked after since the restore."""
        for partition in range(PARTITIONS):
            await self.threads.seated(partition)

    def restore(self) -> None:
        """The log is, once more, what it was; the line is what it has become since."""
        self.restores.append(
            Restored(
                log_id="a", epoch=2 + len(self.restores), kept=9, since="", at="", by="ann", source="backup"
            )
        )  # fmt: skip

    def forget(self, run_id: str) -> None:
        """The log is restored to a moment before this run."""
        self.log.forgotten.add(Subjects().engine(run_id))

    async def written(self) -> Written:
        """The line as it is kept."""
        (key,) = await self.bucket.keys()
        return Written.model_validate_json((await self.bucket.get(key)).value or b"")

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
        self.accepted[run_id] = clock.now_text()
        return seat.queued

    async def may_go(self, run_id: str) -> bool:
        return await self.threads.may_go(run_id, "t", self.accepted[run_id])


async def test_a_run_that_has_the_thread_takes_it_back_when_the_line_is_lost() -> None:
    line = Line()
    await line.begins("r_1")
    await line.threads.hold("r_1", "t")
    await line.lose()
    line.clock.at += 21.0
    await line.threads.hold("r_1", "t")
    assert await line.waits("r_2")
    line.clock.at += 61.0
    await line.threads.leave("r_1", "t")
    assert line.admitted == ["r_2"]


async def test_of_a_lost_line_who_waits_lets_who_has_the_thread_come_first() -> None:
    line = Line()
    await line.begins("r_1")
    assert await line.waits("r_2")
    await line.lose()
    assert not await line.may_go("r_2")
    await line.threads.hold("r_1", "t")
    line.clock.at += 100.0
    assert not await line.may_go("r_2")
    await line.threads.leave("r_1", "t")
    assert await line.may_go("r_2")


async def test_of_a_lost_line_who_waits_goes_on_when_nobody_has_the_thread() -> None:
    line = Line()
    await line.begins("r_1")
    await line.waits("r_2")
    await line.lose()
    assert not await line.may_go("r_2")
    line.clock.at += 59.0
    assert not await line.may_go("r_2")
    line.clock.at += 2.0
    assert await line.may_go("r_2")


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
    with pytest.raises(Unavailable, match="those that were are waited for") as refused:
        await line.waits("r_2")
    assert refused.value.problem.retryable
    with pytest.raises(Unavailable, match="those that were are waited for"):
        await line.threads.rejoin("r_0", WAITS)
    line.clock.at += 10.0
    assert not await line.waits("r_2"), "nobody else has come"


async def two_of_a_lost_line() -> Line:
    """Two runs beside each other had the thread when its line was lost, and one of them is back in it."""
    line = Line()
    await line.begins("r_1")
    await line.threads.enter("r_2", BESIDE)
    await line.log.append(Subjects().engine("r_2"), b"{}", id="r_2", headers=RUNNING)
    await line.lose()
    await line.threads.hold("r_2", "t")
    return line


async def test_nobody_follows_the_first_that_came_back_to_a_lost_line() -> None:
    line = await two_of_a_lost_line()
    await line.threads.leave("r_2", "t")
    with pytest.raises(Unavailable, match="those that were are waited for"):
        await line.waits("r_3")
    await line.threads.hold("r_1", "t")
    assert await line.waits("r_3")
    await line.threads.leave("r_1", "t")
    line.clock.at += 61.0
    assert await line.may_go("r_3")


async def test_neither_does_one_that_had_waited() -> None:
    line = await two_of_a_lost_line()
    assert await line.waits("r_3")
    await line.threads.leave("r_2", "t")
    assert line.admitted == []
    assert not await line.may_go("r_3")
    await line.threads.hold("r_1", "t")
    line.clock.at += 61.0
    assert not await line.may_go("r_3")
    await line.threads.leave("r_1", "t")
    assert line.admitted == ["r_3"]


async def test_a_run_that_only_waits_does_not_go_on_by_a_retry() -> None:
    """It has ended, and a question that was asked too late had put it back among those that wait."""
    line = Line()
    await line.begins("r_1")
    assert await line.waits("r_2")
    with pytest.raises(Conflict, match="r_1 has thread 't'"):
        await line.threads.rejoin("r_2", WAITS)


async def a_restored_line() -> Line:
    """The log has r_1 open and r_2 and r_3 queued; the line is ahead of it, and has r_2 open."""
    line = Line()
    await line.begins("r_1")
    for run_id in ("r_2", "r_3"):
        line.clock.at += 1.0
        assert await line.waits(run_id)
    await line.threads.leave("r_1", "t")
    line.clock.at += 1000.0
    line.restore()
    line.admitted = []
    return line


async def test_after_a_restore_those_that_are_open_take_their_places_anew_in_their_old_order() -> (
    None
):
    line = await a_restored_line()
    assert not await line.may_go("r_3")
    await line.threads.hold("r_1", "t")
    assert not await line.may_go("r_2")
    await line.all_came()
    assert await line.waits("r_4")
    for ended, follows in (("r_1", "r_2"), ("r_2", "r_3"), ("r_3", "r_4")):
        assert not await line.may_go(follows)
        await line.threads.leave(ended, "t")
        assert await line.may_go(follows)
    assert line.admitted == ["r_2", "r_3", "r_4"]


async def test_after_a_restore_nobody_comes_into_a_thread_before_all_have_taken_their_places() -> (
    None
):
    line = await a_restored_line()
    for partition in range(PARTITIONS - 1):
        await line.threads.seated(partition)
    for thread in ("t", "another"):
        with pytest.raises(Unavailable, match="runs that were open then") as refused:
            await line.threads.enter("r_4", RunOptions(thread=thread, on_busy="reject"))
        assert refused.value.problem.retryable
        with pytest.raises(Unavailable, match="runs that were open then"):
            await line.threads.rejoin("r_0", RunOptions(thread=thread))
    beside = await line.threads.enter("r_5", RunOptions(thread="t", on_busy="allow"))
    assert beside is not None
    assert not beside.queued
    await line.threads.seated(PARTITIONS - 1)
    assert await line.waits("r_4")


async def test_after_a_restore_nobody_follows_before_all_have_taken_their_places() -> None:
    line = await a_restored_line()
    await line.threads.hold("r_1", "t")
    assert not await line.may_go("r_3")
    await line.threads.leave("r_1", "t")
    line.clock.at += 100.0
    assert not await line.may_go("r_3")
    assert not await line.may_go("r_2")
    assert line.admitted == []
    await line.all_came()
    assert not await line.may_go("r_3")
    assert await line.may_go("r_2")
    assert set(line.admitted) == {"r_2"}


async def test_after_a_restore_who_waits_need_not_wait_for_others_when_all_have_come() -> None:
    line = await a_restored_line()
    for run_id in ("r_2", "r_3"):
        assert not await line.may_go(run_id)
    await line.all_came()
    assert await line.may_go("r_2")
    assert not await line.may_go("r_3")


async def test_a_line_that_is_lost_later_is_waited_for_as_ever() -> None:
    line = await a_restored_line()
    await line.all_came()
    line.clock.at += 1.0
    await line.lose()
    assert not await line.may_go("r_2")
    assert not await line.may_go("r_2")
    line.clock.at += 61.0
    assert await line.may_go("r_2")


async def test_engines_know_of_each_other_who_has_come_since_which_restore() -> None:
    line = await a_restored_line()
    other = line.another_engine()
    for partition in range(PARTITIONS):
        await (other if partition % 2 else line.threads).seated(partition)
    await line.begins("r_4")
    line.restore()
    with pytest.raises(Unavailable, match="runs that were open then"):
        await line.waits("r_5")


async def test_after_a_restore_a_thread_remembers_the_last_run_of_which_the_log_knows() -> None:
    line = Line()
    for run_id in ("r_1", "r_2", "r_3"):
        await line.begins(run_id)
        status = "completed" if run_id < "r_3" else "running"
        headers = {"Partsong-Status": status}
        await line.log.append(Subjects().engine(run_id), b"{}", id=f"{run_id}.2", headers=headers)
        await line.threads.leave(run_id, "t")
    await line.begins("r_lost")
    await line.threads.leave("r_lost", "t")
    line.forget("r_lost")
    line.restore()
    await line.threads.hold("r_3", "t")
    assert (await line.written()).last == "r_2"
    assert (await line.written()).before == ("r_1",)


async def test_a_run_whose_newest_commit_cannot_be_read_holds_up_nobody_and_breaks_nobodys_turn() -> (
    None
):
    """Nobody decides on it any more, so what its header says is all that will ever be known of it."""
    line = Line()
    await line.begins("r_1")
    ended = {"Partsong-Status": "completed"}
    await line.log.append(Subjects().engine("r_1"), b"garbage", id="bad", headers=ended)
    assert not await line.waits("r_2")
