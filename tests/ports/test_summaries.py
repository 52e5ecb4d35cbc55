"""Lists of what is newest, on a real server: whole, whatever becomes of the connection meanwhile."""

from __future__ import annotations

from pathlib import Path

from partsong.contracts.subjects import Subjects
from partsong.log.summaries import summaries
from partsong.runtime.nats_server import EmbeddedNats
from partsong.testing.nats import a_bus

RUNS = [f"r_{n}" for n in range(12)]


async def test_a_list_that_was_begun_again_is_whole(tmp_path: Path, subjects: Subjects) -> None:
    async with (
        EmbeddedNats(tmp_path / "nats", fast=True) as server,
        a_bus(server.url, subjects) as bus,
    ):
        log = bus.log()
        for run in RUNS:
            await log.append(subjects.engine(run), b"commit", id=run)
        found = list[str]()
        async for summary in summaries(bus.nc, bus.names.log, subjects.commits()):
            found.append(summary.subject)
            if len(found) == 3:
                await server.restart()
    assert found == [subjects.engine(run) for run in RUNS]
