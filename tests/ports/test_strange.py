"""Nothing that anybody puts into the log ends a reader: every record comes, in its place, be it as unreadable."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

import pytest

from partsong.bus.nats_feed import NatsFeed
from partsong.log.leader import Leader
from partsong.log.port import Record
from partsong.log.reading import Unreadable, message_of
from partsong.log.summaries import summaries
from partsong.log.walk import walk
from partsong.testing.log_suite import read_all, take
from partsong.testing.nats import Bus
from tests.support.strange import HEADERS, PAYLOADS, TAILS, put

BODILESS = [name for name in HEADERS if "body" in name]


async def surrounded(bus: Bus, tail: bytes, body: bytes, headers: bytes | None = None) -> Record:
    """A strange record between two of ours, as all readers give it."""
    log, everything = bus.log(), bus.subjects.log()
    await log.append(bus.subjects.fact("r_before"), b"before", id="before")
    await put(bus.url, f"{bus.subjects.prefix}.log.".encode() + tail, body, headers)
    await log.append(bus.subjects.fact("r_after"), b"after", id="after")
    found = bare(await read_all(log, everything))
    async with asyncio.timeout(60), aclosing(log.tail(everything)) as records:
        assert bare(await take(records, 3)) == found
    assert bare(await delivered(bus, log.blobs.get)) == found
    walked = walk(bus.nc, bus.names.log, everything, upto=3)
    assert [raw.seq async for raw in walked] == [1, 2, 3]
    assert [s async for s in summaries(bus.nc, bus.names.log, bus.subjects.fact("r_after"))]
    await log.close()
    assert [record.seq for record in found] == [1, 2, 3]
    assert [found[0].body, found[2].body] == [b"before", b"after"]
    return found[1]


def bare(records: list[Record]) -> list[Record]:
    """Without headers: the server writes its own into a block that has no end, in the middle of a name."""
    return [replace(record, headers={}) for record in records]


async def delivered(bus: Bus, body_of: Callable[..., object]) -> list[Record]:
    """What a partition's feed delivers."""
    found, whole = list[Record](), asyncio.Event()

    def receive(record: Record, _stored: bytes) -> None:
        found.append(record)
        if record.seq == 3:
            whole.set()

    feed = NatsFeed(bus.nc, bus.names.log, bus.subjects.log(), body_of)  # type: ignore[arg-type]
    await feed.start(0, receive)
    async with asyncio.timeout(60):
        await whole.wait()
    await feed.stop()
    return found


@pytest.mark.parametrize("name", HEADERS)
async def test_no_block_of_headers_ends_a_reader(bus: Bus, name: str) -> None:
    record = await surrounded(bus, b"0.r_x.fact", b"{}", HEADERS[name])
    leader = Leader(bus.nc, bus.subjects, bus.names.log)
    stored = await leader.get({"seq": 2})
    await leader.close()
    assert stored is not None
    assert stored.id == record.id, "marks are of the id that the leader reads"
    last = await bus.log().last(record.subject)
    assert last is not None
    assert bare([last]) == [record]
    if name in BODILESS:
        assert record.problem is not None
        assert record.problem.code == "log.blob_missing"
    assert bus.nc.stats["reconnects"] == 0


@pytest.mark.parametrize("name", TAILS)
async def test_no_subject_ends_a_reader(bus: Bus, name: str) -> None:
    record = await surrounded(bus, TAILS[name], b"{}")
    assert isinstance(message_of(bus.subjects, record), Unreadable)
    assert bus.nc.stats["reconnects"] == 0


@pytest.mark.parametrize("entity", ["engine", "fact", "call.c", "command.q"])
@pytest.mark.parametrize("name", PAYLOADS)
async def test_a_body_that_is_no_message_is_unreadable_in_its_place(
    bus: Bus, name: str, entity: str
) -> None:
    log, subject = bus.log(), f"{bus.subjects.prefix}.log.0.r.{entity}"
    await put(bus.url, subject.encode(), PAYLOADS[name])
    (record,) = await read_all(log, subject)
    found = message_of(bus.subjects, record)
    if entity == "engine" and name == "a commit of nobody's":
        assert not isinstance(found, Unreadable), "its hash is for the run's history to judge"
        return
    if name == "a newer one" and entity != "engine":
        assert not isinstance(found, Unreadable)
        assert found.newer is not None
        return
    assert isinstance(found, Unreadable)
    assert found.problem.where == f"{subject} at {record.seq}"
    assert found.problem.message.startswith("the log of r holds what cannot be read: ")
    assert found.problem.fault == "platform"
    assert found.problem.fix
