"""Walks through what is newest, on a real server: whole, whatever becomes of the connection meanwhile."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from partsong.contracts.wire.subjects import Subjects
from partsong.log.feed import feed
from partsong.log.link import Link
from partsong.runtime.nats.server import EmbeddedNats
from partsong.testing.nats import a_bus

RUNS = [f"r_{n}" for n in range(12)]
PATIENCE = 60.0


async def test_a_list_that_was_begun_again_is_whole(tmp_path: Path, subjects: Subjects) -> None:
    async with (
        EmbeddedNats(tmp_path / "nats", fast=True) as server,
        a_bus(server.url, subjects) as bus,
    ):
        log = bus.log()
        for run in RUNS:
            await log.append(subjects.engine(run), b"commit", id=run)
        link, lost = Link(bus.nc, attempt=5.0, deadline=PATIENCE), asyncio.Event()
        link.watch(lost.set)
        found = list[str]()
        walk = feed(link, bus.names.log, subjects.commits(), 0, limit=sys.maxsize, newest=True)
        async for _, msg in walk:
            found.append(msg.subject)
            if len(found) == 3:
                await server.restart()
                async with asyncio.timeout(PATIENCE):
                    await lost.wait()
        await link.close()
    assert found == [subjects.engine(run) for run in RUNS]
