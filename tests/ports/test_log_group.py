"""Group commit keeps the promises of the log under it, and stores what comes together as one batch."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator

import pytest

from partsong.contracts.errors import Problem
from partsong.log.group import GroupCommit
from partsong.log.jetstream import JetStreamLog
from partsong.log.link import Lost
from partsong.log.port import Appended, Log, WrongSequence
from partsong.testing.log_suite import LogSuite, read_all
from partsong.testing.nats import Bus


class TestGroupCommit(LogSuite):
    """All that a log promises."""

    @pytest.fixture
    def root(self, bus: Bus) -> str:
        return f"{bus.subjects.prefix}.log"

    @pytest.fixture
    async def log(self, bus: Bus) -> AsyncIterator[Log]:
        under = bus.log()
        yield GroupCommit(under)
        await under.close()


@pytest.fixture
async def under(bus: Bus) -> AsyncIterator[JetStreamLog]:
    log = bus.log()
    yield log
    await log.close()


async def together(
    log: Log, bus: Bus, runs: range, expect: int, name: str
) -> list[Appended | BaseException]:
    appends = (
        log.append(bus.subjects.engine(f"r_{n}"), b"x", id=f"{name}.{n}", expect=expect)
        for n in runs
    )
    return await asyncio.gather(*appends, return_exceptions=True)


async def test_appends_of_one_moment_are_one_batch(bus: Bus, under: JetStreamLog) -> None:
    done = await together(GroupCommit(under), bus, range(100), 0, "a")
    assert [one.seq for one in done if isinstance(one, Appended)] == list(range(1, 101))
    stored = await bus.nc.jetstream().get_msg(bus.names.log, 50)
    assert (stored.headers or {})["Nats-Batch-Sequence"] == "50"


async def test_few_appends_are_made_one_by_one(bus: Bus, under: JetStreamLog) -> None:
    await together(GroupCommit(under), bus, range(15), 0, "a")
    stored = await bus.nc.jetstream().get_msg(bus.names.log, 7)
    assert "Nats-Batch-Id" not in (stored.headers or {})


async def test_one_guard_that_fails_is_refused_alone(bus: Bus, under: JetStreamLog) -> None:
    await under.append(bus.subjects.engine("r_5"), b"", id="first", expect=0)
    done = await together(GroupCommit(under), bus, range(40), 0, "a")
    refused = [n for n, one in enumerate(done) if isinstance(one, WrongSequence)]
    assert refused == [5]
    assert sum(isinstance(one, Appended) for one in done) == 39
    assert len(await read_all(under, bus.subjects.log())) == 40


async def test_a_batch_that_is_stored_already_is_the_same_appends(
    bus: Bus, under: JetStreamLog
) -> None:
    log = GroupCommit(under)
    first = await together(log, bus, range(30), 0, "a")
    again = await together(log, bus, range(30), 0, "a")
    places = [one.seq for one in first if isinstance(one, Appended)]
    assert again == [Appended(seq, duplicate=True) for seq in places]
    assert len(await read_all(under, bus.subjects.log())) == 30


async def test_a_subject_twice_in_one_moment_is_in_two_batches(
    bus: Bus, under: JetStreamLog
) -> None:
    log, subject = GroupCommit(under), bus.subjects.fact("r_same")
    done = await asyncio.gather(*(log.append(subject, b"", id=f"{n}") for n in range(40)))
    assert sorted(one.seq for one in done) == list(range(1, 41))


async def cancelled_as_its_batch_begins(log: Log, bus: Bus, runs: range, gone: int) -> bool:
    """Append to each run, cancel the append to `gone`, and wait until the server has answered all."""
    before = asyncio.all_tasks()

    async def append(n: int) -> Appended:
        return await log.append(bus.subjects.engine(f"r_{n}"), b"x", id=f"a.{n}", expect=0)

    async def cancel() -> None:
        await asyncio.sleep(0)  # the first append has made the batch, the others have not looked
        appends[gone].cancel()

    first = asyncio.ensure_future(append(runs[0]))
    cancelling = asyncio.ensure_future(cancel())
    appends = [first, *(asyncio.ensure_future(append(n)) for n in runs[1:])]
    await asyncio.wait([cancelling, *appends])
    if batches := asyncio.all_tasks() - before:
        await asyncio.wait(batches)
    return appends[gone].cancelled()


async def test_an_append_cancelled_as_its_batch_begins_leaves_no_refusal_unread(
    bus: Bus, under: JetStreamLog, complaints: list[object]
) -> None:
    await under.append(bus.subjects.engine("r_5"), b"", id="first", expect=0)
    assert await cancelled_as_its_batch_begins(GroupCommit(under), bus, range(40), 5)
    gc.collect()
    assert complaints == []


async def test_an_append_cancelled_before_a_batch_goes_along_with_none(
    bus: Bus, under: JetStreamLog
) -> None:
    log = GroupCommit(under)
    gone = asyncio.ensure_future(log.append(bus.subjects.engine("r_gone"), b"", id="gone"))
    await asyncio.sleep(0)  # it waits for what others append
    gone.cancel()
    await asyncio.wait([gone])
    await together(log, bus, range(40), 0, "a")
    assert await under.last(bus.subjects.engine("r_gone"), sure=True) is None


class NotYet:
    """A keeper that has not looked at the log on this connection, the first time it is asked."""

    doubtful = False

    def __init__(self) -> None:
        self.asked = 0

    def admit(self, connection: int) -> None:
        self.asked += 1
        if self.asked == 1:
            raise Lost("the log has not been looked at on this connection")

    def acked(self, seq: int, id: str, stored: bytes) -> None:
        """Nothing to note."""

    def full(self, problem: Problem) -> None:
        """There is room."""

    def unanswered(self) -> None:
        """All are."""


async def test_a_batch_after_a_reconnect_waits_until_the_log_was_looked_at(bus: Bus) -> None:
    keeper = NotYet()
    under = JetStreamLog(bus.nc, stream=bus.names.log, blobs=bus.names.blobs, keeper=keeper)
    done = await together(GroupCommit(under), bus, range(30), 0, "a")
    assert sorted(one.seq for one in done if isinstance(one, Appended)) == list(range(1, 31))
    assert keeper.asked > 1
    await under.close()
