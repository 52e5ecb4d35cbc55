"""Catching up: one pass over the log leaves the checkpoints that an owner of each partition would have left."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace

import pytest

from partsong.contracts.errors import Unavailable
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.wire.seals import Scrub
from partsong.contracts.wire.subjects import PARTITIONS, partition_of
from partsong.graph_engine.catch_up import CatchUp
from partsong.graph_engine.checkpoints import Checkpoint, Checkpoints
from partsong.graph_engine.ownership import Ownership
from partsong.log.memory import MemoryLog
from partsong.testing.bucket import MemoryBucket
from partsong.testing.nats import Bus
from tests.services.graph_engine.engines import PATIENCE, World, ends_at
from tests.support.whole_log import WholeLogOf

GRAPH = parse_graph(
    {
        "name": "two",
        "entry": "a",
        "nodes": {n: {"type": "function", "function": f"m:{n}"} for n in ("a", "b")},
        "edges": [{"from": "a", "to": "b"}],
    }
)
EVERYWHERE = [
    next(run for n in range(9999) if partition_of(run := f"r_{n}") == partition)
    for partition in range(PARTITIONS)
]
"""One run of each partition."""


@pytest.fixture
async def world(bus: Bus) -> World:
    """A log with an ended run in each partition, and an open one in each third."""
    world = World(MemoryLog(), bus.subjects, GRAPH)
    engine = world.engine("e0")
    await engine.start()
    await asyncio.gather(*(world.start(run) for run in EVERYWHERE))
    await asyncio.gather(*(world.ended(run) for run in EVERYWHERE))
    world.work = world.nothing
    await asyncio.gather(*(world.start(f"open-{run}") for run in EVERYWHERE[::3]))
    await engine.stop()
    return world


def catch_up(
    world: World, kept: Checkpoints, *, far: int = 0, cut: int = 0, bad: bool = False
) -> CatchUp:
    whole = WholeLogOf(world.log, world.subjects, cut=cut, bad=bad)
    return CatchUp(kept, world.subjects, whole, far=far)


def everything(_partition: int) -> bool:
    return True


def said(checkpoint: Checkpoint) -> tuple[object, ...]:
    """What a checkpoint says of its partition."""
    sealed = checkpoint.sealed
    return dict(checkpoint.open), sealed.place, sealed.last_seq, sealed.last


async def test_a_pass_notes_what_is_open_and_what_the_seals_say(world: World) -> None:
    kept = Checkpoints(MemoryBucket())
    one = catch_up(world, kept)
    behind = await one.behind(range(PARTITIONS))
    assert sorted(behind) == list(range(PARTITIONS))
    await one.catch_up(behind, epoch=1, wanted=everything)
    still: dict[str, int] = {}
    for partition in range(PARTITIONS):
        found = await kept.load(partition, ends_at(sys.maxsize))
        assert found.seq == await world.log.head()
        still |= found.open
        scrub = Scrub()
        async for record in world.log.read(world.subjects.partition(partition)):
            seal = record.subject == world.subjects.seal(partition)
            assert scrub.take(record.seq, record.body, seal=seal) is None
        assert scrub.check(found.sealed.place, found.open) is None
        assert (scrub.last, found.sealed.last_seq) == (found.sealed.last, found.sealed.place.seq)
    newest = {f"open-{run}": 0 for run in EVERYWHERE[::3]}
    async for record in world.log.read(world.subjects.log()):
        run = world.subjects.parse_log(record.subject).run_id
        newest |= {run: record.seq} if run in newest else {}
    assert still == newest
    assert await one.behind(range(PARTITIONS)) == {}


async def test_a_pass_goes_on_where_each_owner_has_left_off(world: World) -> None:
    anew, kept = Checkpoints(MemoryBucket()), Checkpoints(world.buckets)
    left = {p: await kept.load(p, ends_at(sys.maxsize)) for p in range(PARTITIONS)}
    assert len({checkpoint.seq for checkpoint in left.values()}) > 1
    await catch_up(world, kept).catch_up(left, epoch=1, wanted=everything)
    await catch_up(world, anew).catch_up(
        dict.fromkeys(left, Checkpoint()), epoch=1, wanted=everything
    )
    for partition in left:
        assert said(await kept.load(partition, ends_at(sys.maxsize))) == said(
            await anew.load(partition, ends_at(sys.maxsize))
        )


async def test_who_is_near_is_not_behind(world: World) -> None:
    far = await world.log.head()
    assert await catch_up(world, Checkpoints(MemoryBucket()), far=far).behind([1, 2]) == {}


async def test_a_pass_that_was_cut_short_leaves_no_checkpoint(world: World) -> None:
    kept = Checkpoints(MemoryBucket())
    one = catch_up(world, kept, cut=1)
    behind = await one.behind([3, 4])
    with pytest.raises(Unavailable, match="read up to"):
        await one.catch_up(behind, epoch=1, wanted=everything)
    assert (await kept.load(3, ends_at(sys.maxsize))).seq == 0


async def test_an_end_that_cannot_be_read_is_an_end(world: World) -> None:
    kept = Checkpoints(MemoryBucket())
    one = catch_up(world, kept, cut=1, bad=True)
    await one.catch_up(await one.behind([3, 4]), epoch=1, wanted=everything)
    assert (await kept.load(3, ends_at(sys.maxsize))).seq == await world.log.head()


async def test_who_has_nothing_new_is_moved_to_the_head_without_a_pass(world: World) -> None:
    left = await Checkpoints(world.buckets).load(3, ends_at(sys.maxsize))
    kept = Checkpoints(MemoryBucket())
    newest = [r.seq async for r in world.log.read(world.subjects.partition(3))][-1]
    await kept.keep(3, replace(left, seq=newest, revision=0))
    assert await catch_up(world, kept).behind([3]) == {}
    found = await kept.load(3, ends_at(sys.maxsize))
    assert (found.seq, found.open) == (await world.log.head(), left.open)


async def test_a_partition_that_is_given_up_meanwhile_is_left_as_it_is(world: World) -> None:
    kept = Checkpoints(MemoryBucket())
    one = catch_up(world, kept)
    await one.catch_up(await one.behind([3, 4]), epoch=1, wanted=lambda p: p == 4)
    assert (await kept.load(3, ends_at(sys.maxsize))).seq == 0
    assert (await kept.load(4, ends_at(sys.maxsize))).seq == await world.log.head()


async def test_a_partition_that_another_engine_takes_meanwhile_is_left_to_it(world: World) -> None:
    kept = Checkpoints(MemoryBucket())
    one = catch_up(world, kept)
    behind = await one.behind([3, 4])
    theirs = Checkpoint(seq=7, epoch=9)
    await kept.keep(3, theirs)
    await one.catch_up(behind, epoch=1, wanted=everything)
    assert (await kept.load(3, ends_at(sys.maxsize))).epoch == 9
    assert (await kept.load(4, ends_at(sys.maxsize))).seq == await world.log.head()


async def test_an_engine_without_checkpoints_passes_then_takes_and_goes_on(world: World) -> None:
    kept = Checkpoints(MemoryBucket())
    engine = world.engine("e1", kept)
    world.work = world.finish
    ownership = Ownership(
        engine.processors, lambda: {"e1"}, "e1", catch_up=catch_up(world, kept, far=10)
    )
    await ownership.start()
    assert all(processor.owned for processor in engine.processors)
    async with asyncio.timeout(PATIENCE):
        for run in EVERYWHERE[::3]:
            state = await world.ended(f"open-{run}")
            assert state.status == "completed"
    await ownership.stop()
    await engine.turns.drain()
