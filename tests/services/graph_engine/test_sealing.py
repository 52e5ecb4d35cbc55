"""Sealing: what has gone by is written down, a successor goes on with it, and a change of one bit shows."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable

import pytest

from partsong.contracts.errors import Unavailable
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.wire.seals import Scrub
from partsong.contracts.wire.subjects import partition_of
from partsong.graph_engine.checkpoints import Checkpoint, Checkpoints
from partsong.graph_engine.sealing import Sealed
from partsong.log.memory import MemoryLog
from partsong.log.port import Record
from partsong.runtime.nats.server import EmbeddedNats
from partsong.testing.bucket import MemoryBucket
from partsong.testing.nats import a_bus, fresh_subjects
from tests.services.graph_engine.engines import World, ends_at
from tests.support.damage import damaged

GRAPH = parse_graph({"name": "one", "nodes": {"a": {"type": "function", "function": "m:a"}}})
HERE = partition_of("r_1")


@pytest.fixture
def world() -> World:
    return World(MemoryLog(), fresh_subjects(), GRAPH)


async def run_once(world: World, request_id: str = "") -> None:
    """Ask for the run, and wait until it has ended."""
    await world.start("r_1", request_id)
    await world.ended("r_1")


async def one_engine(world: World, name: str = "e0", request_id: str = "") -> None:
    """Let an engine lead the run to its end, and stop."""
    engine = world.engine(name)
    await engine.start()
    await run_once(world, request_id)
    await engine.stop()


async def records(world: World) -> list[Record]:
    return [record async for record in world.log.read(world.subjects.partition(HERE))]


def scrubbed(world: World, found: Iterable[Record]) -> tuple[int, list[str]]:
    """How many seals there are, and what they have found."""
    scrub, seals, wrong = Scrub(), 0, []
    for record in found:
        seal = world.subjects.parse_log(record.subject).entity == "seal"
        seals += seal
        if (damage := scrub.take(record.seq, record.body, seal=seal)) is not None:
            wrong.append(damage.why)
    return seals, wrong


def breaks(world: World, found: list[Record], at: int, *instead: Record) -> bool:
    """Whether exactly one seal is broken without one of the records, or by what is there instead."""
    return len(scrubbed(world, [*found[:at], *instead, *found[at + 1 :]])[1]) == 1


async def test_an_engine_that_stops_seals_what_it_has_followed(world: World) -> None:
    await one_engine(world)
    found = await records(world)
    assert scrubbed(world, found) == (1, [])


async def test_a_flipped_bit_of_a_finished_run_is_found(world: World) -> None:
    """Of its last commit too, for which no later one vouches."""
    await one_engine(world)
    found = await records(world)
    last = next(i for i, r in reversed([*enumerate(found)]) if r.subject.endswith(".engine"))
    body = bytearray(found[last].body)
    body[len(body) // 2] ^= 1
    changed = Record(found[last].seq, found[last].subject, bytes(body), found[last].id)
    assert breaks(world, found, last, changed)
    assert breaks(world, found, last), "a record that is gone is found as well"


async def test_a_successor_goes_on_with_the_seals_of_the_one_before(world: World) -> None:
    for n in range(3):
        await one_engine(world, f"e{n}", f"q{n}")
    assert scrubbed(world, await records(world)) == (3, [])


async def test_many_records_are_sealed_while_they_come(world: World) -> None:
    engine = world.engine("e0")
    await engine.start()
    processor = engine.processors[HERE]
    asked = [world.start("r_1", f"q{n}") for n in range(1100)]
    await asyncio.gather(*asked)
    await processor.seal()
    assert scrubbed(world, await records(world)) == (1, [])
    await engine.stop()


async def test_what_is_no_seal_is_covered_by_the_next_one_like_any_record(world: World) -> None:
    """Anybody can publish it: nothing is damaged by it, and the partition goes on being sealed."""
    await one_engine(world)
    await world.log.append(world.subjects.seal(HERE), b"no seal", id="garbage")
    engine = world.engine("e1")
    await engine.start()
    await world.log.append(world.subjects.seal(HERE), b"nor this", id="more")
    await run_once(world, "q1")
    await engine.stop()
    found = await records(world)
    assert scrubbed(world, found) == (4, [])
    garbage = next(i for i, record in enumerate(found) if record.id == "garbage")
    assert breaks(world, found, garbage), "it is covered"


async def test_a_seal_that_cannot_be_read_any_more_is_followed_by_the_next_one(
    nats_server: EmbeddedNats,
) -> None:
    """The server's guard takes it for none."""
    async with a_bus(nats_server.url, fresh_subjects()) as bus:
        log = bus.log()
        world = World(log, bus.subjects, GRAPH)
        engine = world.engine("e0")
        await engine.start()
        await run_once(world)
        processor = engine.processors[HERE]
        await processor.seal(drain=True)
        async with damaged(nats_server, bus.names.log, b'"prev":""'):
            await run_once(world, "q1")
            with pytest.raises(Unavailable, match=r"log\.unreadable"):
                await processor.seal(drain=True)
            await processor.seal(drain=True)
            seals = [r async for r in log.read(bus.subjects.seal(HERE), after=await log.head() - 1)]
            assert len(seals) == 1
        await engine.stop()
        await log.close()


async def test_a_checkpoint_carries_seals_and_root(world: World) -> None:
    await one_engine(world)
    kept = await Checkpoints(world.buckets).load(HERE, ends_at(sys.maxsize))
    assert kept.seq == kept.sealed.place.seq > 0
    assert Sealed.load(kept.sealed.dump()) == kept.sealed


async def test_a_checkpoint_that_cannot_be_read_is_one_at_the_beginning() -> None:
    bucket = MemoryBucket()
    revision = await bucket.put("3", b"junk")
    assert await Checkpoints(bucket).load(3, ends_at(sys.maxsize)) == Checkpoint(revision=revision)
