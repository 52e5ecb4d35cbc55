"""The feed of a partition: all of it, in order, once, from where its reader says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from partsong.bus.feed import Feed
from partsong.bus.log_feed import LogFeed
from partsong.bus.nats_feed import NatsFeed
from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.subjects import partition_of
from partsong.log.memory import MemoryLog
from partsong.log.port import Log, Record
from partsong.testing.nats import Bus

RUN = "r_1"
HERE = partition_of(RUN)
PATIENCE = 60.0


class Reader:
    """Keeps what a feed delivers."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.stored: list[bytes] = []
        self._more = asyncio.Event()

    def __call__(self, record: Record, stored: bytes) -> None:
        self.stored.append(stored)
        self.records.append(record)
        self._more.set()

    async def until(self, seq: int) -> list[int]:
        """The sequences delivered, as soon as `seq` is among them."""
        async with asyncio.timeout(PATIENCE):
            while not self.records or self.records[-1].seq < seq:
                self._more.clear()
                await self._more.wait()
        return [record.seq for record in self.records]


class Corner:
    """A log, and feeds of one of its partitions."""

    def __init__(self, log: Log, bus: Bus, make: Callable[[], Feed]) -> None:
        self.log, self.subjects, self.make = log, bus.subjects, make

    async def write(self, count: int, *, size: int = 1) -> list[int]:
        """Sequences of new records of the partition, with others between them."""
        written: list[int] = []
        head = await self.log.head()
        for n in range(head, head + count):
            id_, body = f"{n}", b"%d" % n + b"x" * size
            done = await self.log.append(self.subjects.fact(RUN), body, id=id_)
            written.append(done.seq)
            await self.log.append(self.subjects.fact("r_elsewhere"), b"", id=f"other-{n}")
        return written


@pytest.fixture(params=["log", "nats"])
async def corner(request: pytest.FixtureRequest, bus: Bus) -> AsyncIterator[Corner]:
    filter = bus.subjects.partition(HERE)
    made: list[Feed] = []
    if request.param == "log":
        memory = MemoryLog()

        def make() -> Feed:
            made.append(LogFeed(memory, filter))
            return made[-1]

        yield Corner(memory, bus, make)
    else:
        log, bodies = bus.log(), bus.log().blobs

        def make() -> Feed:
            made.append(NatsFeed(bus.nc, bus.names.log, filter, bodies.get))
            return made[-1]

        yield Corner(log, bus, make)
        await log.close()
    for feed in made:
        await feed.stop()


async def test_what_is_there_and_what_comes_is_delivered_in_order(corner: Corner) -> None:
    before = await corner.write(5)
    reader, feed = Reader(), corner.make()
    await feed.start(0, reader)
    after = await corner.write(5)
    assert await reader.until(after[-1]) == [*before, *after]
    assert all(record.subject == corner.subjects.fact(RUN) for record in reader.records)
    assert reader.records[0].body.startswith(b"0x")
    assert reader.records[0].id == "0"


async def test_it_begins_behind_the_place_that_its_reader_names(corner: Corner) -> None:
    seqs = await corner.write(6)
    reader, feed = Reader(), corner.make()
    await feed.start(seqs[3], reader)
    assert await reader.until(seqs[-1]) == seqs[4:]


async def test_begun_anew_it_goes_back_and_loses_nothing(corner: Corner) -> None:
    seqs = await corner.write(4)
    reader, feed = Reader(), corner.make()
    await feed.start(0, reader)
    await reader.until(seqs[-1])
    again = Reader()
    await feed.start(seqs[0], again)
    more = await corner.write(3)
    assert await again.until(more[-1]) == [*seqs[1:], *more]
    assert [record.seq for record in reader.records] == seqs, "the old reader gets nothing more"


async def test_many_records_come_without_a_gap(corner: Corner) -> None:
    reader, feed = Reader(), corner.make()
    await feed.start(0, reader)
    seqs = [seq for _ in range(4) for seq in await corner.write(200)]
    assert await reader.until(seqs[-1]) == seqs


async def test_big_bodies_come_whole_and_in_their_place(corner: Corner) -> None:
    seqs = await corner.write(2)
    seqs += await corner.write(1, size=400_000)
    seqs += await corner.write(2)
    reader, feed = Reader(), corner.make()
    await feed.start(0, reader)
    assert await reader.until(seqs[-1]) == seqs
    assert len(reader.records[2].body) > 400_000


async def test_each_of_two_engines_gets_everything(corner: Corner) -> None:
    first, second = corner.make(), corner.make()
    one, other = Reader(), Reader()
    await first.start(0, one)
    seqs = await corner.write(10)
    await one.until(seqs[-1])
    await second.start(seqs[3], other)
    more = await corner.write(10)
    assert await one.until(more[-1]) == [*seqs, *more]
    assert await other.until(more[-1]) == [*seqs[4:], *more]


async def test_what_was_missed_is_delivered_before_what_comes_next(bus: Bus) -> None:
    """The server has forgotten the consumer."""
    log, reader = bus.log(), Reader()
    feed = NatsFeed(bus.nc, bus.names.log, bus.subjects.partition(HERE), log.blobs.get)
    await feed.start(0, reader)
    js = bus.nc.jetstream()
    (consumer,) = await js.consumers_info(bus.names.log)
    first = await log.append(bus.subjects.fact(RUN), b"", id="1")
    await reader.until(first.seq)
    await js.delete_consumer(bus.names.log, consumer.name)
    seqs = [(await log.append(bus.subjects.fact(RUN), b"", id=f"{n}")).seq for n in (2, 3)]
    assert await reader.until(seqs[-1]) == [first.seq, *seqs]
    await feed.stop()
    await log.close()


async def test_a_log_that_ends_before_the_place_is_said_to_be_behind(bus: Bus) -> None:
    feed = NatsFeed(bus.nc, bus.names.log, bus.subjects.partition(HERE), bus.log().blobs.get)
    await bus.log().append(bus.subjects.fact(RUN), b"", id="1")
    with pytest.raises(Unavailable, match="the log ends at 1"):
        await feed.start(7, Reader())
    await feed.stop()


async def test_a_body_that_is_gone_comes_with_its_problem_and_holds_nothing_up(bus: Bus) -> None:
    """It is one run's, and the partition has others."""
    log = bus.log()
    for n, size in enumerate((300_000, 1)):
        await log.append(bus.subjects.fact(RUN), bytes(size), id=f"{n}")
    await bus.nc.jetstream().purge_stream(f"OBJ_{bus.names.blobs}")
    filter = bus.subjects.partition(HERE)
    feed, reader = NatsFeed(bus.nc, bus.names.log, filter, log.blobs.get), Reader()
    await feed.start(0, reader)
    assert await reader.until(2) == [1, 2]
    gone, there = reader.records
    assert gone.problem is not None
    assert (gone.problem.code, gone.body) == ("log.blob_missing", b"")
    assert (there.problem, there.body) == (None, bytes(1))
    assert b"sha256:" in reader.stored[0], "a seal covers what the stream holds"
    await feed.stop()
    await log.close()
