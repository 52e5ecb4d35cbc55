"""Streams that are full, and what is said of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence

import pytest
from pydantic import JsonValue

from partsong.bus.bucket import NatsBucket
from partsong.contracts.errors import Problem, Unavailable
from partsong.graph_engine.graphs import Graphs
from partsong.graph_engine.room_watch import RoomWatch
from partsong.runtime.room import full_streams
from partsong.testing.nats import Bus


async def eventually(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():  # noqa: ASYNC110 — nobody tells
            await asyncio.sleep(0.01)


async def limited(bus: Bus, stream: str, most: int) -> None:
    config = (await bus.nc.jetstream().stream_info(stream)).config.as_dict()
    body = json.dumps({**config, "max_msgs": most}).encode()
    answer = await bus.nc.request(f"$JS.API.STREAM.UPDATE.{stream}", body)
    assert "error" not in json.loads(answer.data)


async def test_a_stream_that_holds_what_it_may_is_said_with_what_follows(bus: Bus) -> None:
    assert await full_streams(bus.nc, bus.subjects) == []
    await limited(bus, bus.names.work, 10)
    await limited(bus, bus.names.dead, 1)
    await bus.nc.jetstream().publish(bus.subjects.dead("x"), b"the oldest of it goes")
    for _ in range(9):
        await bus.nc.jetstream().publish(bus.subjects.work("tool-runner"), b"hint")
    assert await full_streams(bus.nc, bus.subjects) == []
    (crowded,) = await full_streams(bus.nc, bus.subjects, share=0.9)
    assert "holds 9 messages of the 10 that it may" in crowded.message
    await bus.nc.jetstream().publish(bus.subjects.work("tool-runner"), b"hint")
    (full,) = await full_streams(bus.nc, bus.subjects)
    assert (full.code, full.where, full.retryable) == ("work.full", bus.names.work, True)
    assert "none is lost" in full.message


async def test_an_engine_says_so_while_a_stream_is_full(bus: Bus) -> None:
    asked = list[str]()

    async def full() -> Sequence[Problem]:
        asked.append("")
        if len(asked) == 1:
            raise OSError("no answer")
        return await full_streams(bus.nc, bus.subjects)

    watch = RoomWatch(full, every=0.01)
    watch.start()
    await limited(bus, bus.names.work, 1)
    await bus.nc.jetstream().publish(bus.subjects.work("tool-runner"), b"hint")
    await eventually(lambda: watch.problem is not None and watch.problem.code == "work.full")
    await bus.nc.jetstream().purge_stream(bus.names.work)
    await eventually(lambda: watch.problem is None)
    await watch.stop()


async def test_a_bucket_that_is_full_refuses_for_good_and_changes_what_it_has(bus: Bus) -> None:
    bucket = NatsBucket(bus.nc, bus.names.threads)
    await limited(bus, f"KV_{bus.names.threads}", 1)
    revision = await bucket.put("a", b"1")
    with pytest.raises(Unavailable, match=r"bucket\.full") as refused:
        await bucket.put("b", b"1", 0)
    assert not refused.value.problem.retryable
    await bucket.put("a", b"2", revision)


async def test_a_graph_that_finds_no_room_is_refused_and_those_that_are_known_are_not(
    bus: Bus,
) -> None:
    graphs = Graphs(bus.nc, bus.subjects)
    spec: dict[str, JsonValue] = {
        "name": "one",
        "nodes": {"a": {"type": "wait", "seconds": 1}},
    }
    known = await graphs.resolve(dict(spec))
    await limited(bus, f"KV_{bus.names.graphs}", 2)
    with pytest.raises(Unavailable, match=r"graphs\.full"):
        await graphs.resolve({**spec, "name": "two"})
    assert (await Graphs(bus.nc, bus.subjects).resolve(dict(spec))).hash == known.hash
