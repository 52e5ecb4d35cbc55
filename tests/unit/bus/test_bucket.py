"""A bucket with compare-and-set: of several writers one is first, and the others learn it."""

from __future__ import annotations

import asyncio

import pytest

from partsong.bus.bucket import Bucket, Entry, NatsBucket, Overtaken
from partsong.contracts.errors import Unavailable
from partsong.testing.bucket import MemoryBucket
from partsong.testing.nats import Bus


@pytest.fixture(params=["memory", "jetstream"])
def bucket(request: pytest.FixtureRequest, bus: Bus) -> Bucket:
    return MemoryBucket() if request.param == "memory" else NatsBucket(bus.nc, bus.names.threads)


async def test_a_key_is_set_changed_and_removed_under_its_revision(bucket: Bucket) -> None:
    assert await bucket.get("a") == Entry(None, 0)
    revision = await bucket.put("a", b"1", 0)
    assert await bucket.get("a") == Entry(b"1", revision)
    with pytest.raises(Overtaken):
        await bucket.put("a", b"2", 0)
    newer = await bucket.put("a", b"2", revision)
    assert newer > revision
    with pytest.raises(Overtaken):
        await bucket.remove("a", revision)
    await bucket.remove("a", newer)
    gone = await bucket.get("a")
    assert gone.value is None
    await bucket.put("a", b"3", gone.revision)
    await bucket.put("b", b"4")
    assert (await bucket.get("a")).value == b"3"
    assert await bucket.keys() == ["a", "b"]


async def test_of_many_writers_each_adds_once(bucket: Bucket) -> None:
    async def add() -> None:
        while True:
            entry = await bucket.get("sum")
            try:
                await bucket.put("sum", b"%d" % (int(entry.value or 0) + 1), entry.revision)
            except Overtaken:
                continue
            return

    await asyncio.gather(*(add() for _ in range(20)))
    assert (await bucket.get("sum")).value == b"20"


async def test_a_bucket_that_is_not_there_is_unavailable_and_not_empty(bus: Bus) -> None:
    bucket = NatsBucket(bus.nc, "nowhere", within=1.0)
    for asked in (bucket.get("a"), bucket.put("a", b"1"), bucket.keys()):
        with pytest.raises(Unavailable, match="bucket nowhere did not answer"):
            await asked
