"""Two engine services on the same runs at once, over a real bus: no run forks or loses an event."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import partsong.graph_engine.app
from partsong.contracts.envelope import Commit, decode
from partsong.runtime.serve import open_context
from partsong.runtime.settings import Settings
from partsong.testing.nats import Bus
from tests.system import graphs
from tests.system.platform import a_platform


async def test_many_runs_decided_by_two_engines_that_both_hear_everything(bus: Bus) -> None:
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(a_platform(bus, Settings(affinity=False)))
        second = await open_context(
            platform.settings, partsong.graph_engine.app.service(platform.settings)
        )
        stack.push_async_callback(second.stop)
        client = platform.client
        runs = await asyncio.gather(
            *(client.start(graphs.diamond(), run_id=f"r_{i}") for i in range(200))
        )
        results = await asyncio.gather(*(client.result(run_id, timeout=100) for run_id in runs))
        for result in results:
            assert result.status == "completed"
            assert result["sum"] == 3
            replayed = await client.replay(result.run_id)
            assert replayed.ok, replayed.findings
            done = [event.exec for event in result.events if event.type == "node.completed"]
            assert sorted(done) == ["join:1", "left:1", "right:1", "start:1"]
        commits = [
            message.n
            async for record in client.log.read(bus.subjects.engine("r_0"))
            if isinstance(message := decode(record.body), Commit)
        ]
        assert commits == list(range(1, len(commits) + 1))
