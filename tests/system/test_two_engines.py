"""Two engine services that share the partitions, over a real bus: no run forks, and no request is lost or refused."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

from partsong.client import Client
from partsong.contracts import events as e
from partsong.contracts.wire.subjects import PARTITIONS
from partsong.testing.nats import Bus
from partsong.workflow import WorkflowGraph
from tests.system import graphs
from tests.system.engines import an_engine
from tests.system.platform import a_platform


async def whole(client: Client, run_id: str) -> None:
    """The run's chain verifies, its requests have one outcome each, and what is read is what is replayed."""
    found = await client.replay(run_id)
    assert found.ok, found.findings
    state = await client.state(run_id)
    assert (state.values, state.status) == (found.state.values, found.state.status)
    events = [placed.event async for placed in client.events(run_id)]
    asked = Counter(x.request_id for x in events if isinstance(x, e.CommandReceived))
    settled = Counter(x.request_id for x in events if isinstance(x, e.CommandSettled))
    assert asked == settled
    assert set(settled.values()) == {1}


async def test_many_runs_on_two_engines_have_one_history_each(bus: Bus) -> None:
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(a_platform(bus))
        await stack.enter_async_context(an_engine(platform.settings))
        client = platform.client
        runs = await asyncio.gather(
            *(client.start(graphs.diamond(), run_id=f"r_{i}") for i in range(200))
        )
        results = await asyncio.gather(*(client.result(run_id, timeout=100) for run_id in runs))
        for result in results:
            assert result.status == "completed"
            assert result["sum"] == 3
            done = [event.exec for event in result.events if event.type == "node.completed"]
            assert sorted(done) == ["join:1", "left:1", "right:1", "start:1"]
        await asyncio.gather(*(whole(client, run_id) for run_id in runs))


async def test_runs_are_steered_through_any_engine(bus: Bus) -> None:
    """Each request reaches one of the engines, which mostly does not own the run."""
    graph = WorkflowGraph("steered")
    graph.add_wait("w", signal="go").add_wait("v", signal="on").add_edge("w", "v")
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(a_platform(bus))
        for _ in range(2):
            await stack.enter_async_context(an_engine(platform.settings))
        client = platform.client
        runs = [f"r_{i}" for i in range(40)]

        async def steer(run_id: str, number: int) -> None:
            await client.start(graph, run_id=run_id)
            await client.pause(run_id, "lunch")
            await client.signal(run_id, "go")
            await client.resume(run_id)
            if number % 2:
                await client.cancel(run_id, "enough")
            else:
                await client.signal(run_id, "on")

        await asyncio.gather(*(steer(run_id, number) for number, run_id in enumerate(runs)))
        results = [await client.result(run_id, timeout=60) for run_id in runs]
        assert [result.status for result in results] == ["completed", "cancelled"] * 20
        await asyncio.gather(*(whole(client, run_id) for run_id in runs))


async def test_an_engine_that_comes_takes_its_share_and_gives_it_back(bus: Bus) -> None:
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(a_platform(bus))
        client = platform.client
        graph = WorkflowGraph("waiting").add_wait("w", signal="go")
        runs = [f"r_{i}" for i in range(60)]
        await asyncio.gather(*(client.start(graph, run_id=run_id) for run_id in runs[:30]))
        async with an_engine(platform.settings):
            await asyncio.gather(*(client.start(graph, run_id=run_id) for run_id in runs[30:]))
            await asyncio.gather(*(client.signal(run_id, "go") for run_id in runs[::2]))
        await asyncio.gather(*(client.signal(run_id, "go") for run_id in runs[1::2]))
        for run_id in runs:
            assert (await client.result(run_id, timeout=60)).status == "completed"
            await whole(client, run_id)


async def test_an_engine_that_comes_knows_who_is_there_and_takes_no_more_than_its_share(
    bus: Bus,
) -> None:
    """One record per partition that it takes; one that takes them all and gives most of them back writes 32 and more."""
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(a_platform(bus))
        owners = f"{platform.settings.prefix}.log.*.~.owner"
        before = len([record async for record in platform.client.log.read(owners)])
        await stack.enter_async_context(an_engine(platform.settings))
        after = len([record async for record in platform.client.log.read(owners)])
        assert before == PARTITIONS
        assert before < after < 2 * before
