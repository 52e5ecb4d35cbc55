"""A run that has lost a record: it is refused by name, and everybody else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from partsong.contracts.errors import PartsongError
from partsong.contracts.wire.subjects import Subjects, partition_of
from partsong.runtime.nats.server import EmbeddedNats
from partsong.testing.nats import Bus, a_bus
from tests.support.damage import damaged
from tests.system.engines import replace_engine, until
from tests.system.platform import Platform, a_platform

HURT = "r_hurt"
BESIDE = next(run for n in range(999) if partition_of(run := f"r_{n}") == partition_of(HURT))
"""A run of the same partition."""
GATE = {"name": "gate", "entry": "w", "nodes": {"w": {"type": "wait", "signal": "go"}}}


@pytest.fixture
async def bus(nats_server: EmbeddedNats, subjects: Subjects) -> AsyncIterator[Bus]:
    async with a_bus(nats_server.url, subjects) as made:
        yield made


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    async with a_platform(bus) as running:
        yield running


async def found(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def goes_on(platform: Platform) -> None:
    await platform.client.start(GATE, run_id=BESIDE)
    await platform.client.signal(BESIDE, "go")
    assert (await platform.client.result(BESIDE, timeout=60)).status == "completed"


async def refused(platform: Platform) -> set[str]:
    """The reasons for which what is asked of the run that is hurt is refused."""
    codes = set()
    for ask in (platform.client.cancel, platform.client.pause, platform.client.fork):
        with pytest.raises(PartsongError) as caught:
            await ask(HURT)
        codes.add(caught.value.problem.code)
    return codes


async def test_a_run_whose_body_is_gone_is_refused_and_its_partition_goes_on(
    bus: Bus, platform: Platform
) -> None:
    await platform.client.start(GATE, {"big": "x" * 300_000}, run_id=HURT)
    await until(platform, HURT, "waiting")
    await bus.nc.jetstream().purge_stream(f"OBJ_{bus.names.blobs}")
    await replace_engine(platform)
    await goes_on(platform)
    assert await refused(platform) == {"log.blob_missing"}


async def test_a_run_whose_newest_commit_cannot_be_read_is_refused(
    bus: Bus, platform: Platform, nats_server: EmbeddedNats
) -> None:
    await platform.client.start(GATE, run_id=HURT)
    await until(platform, HURT, "waiting")
    newest = await platform.client.log.last(bus.subjects.engine(HURT))
    assert newest is not None
    await platform.client.start(GATE, run_id="r_newer")
    await until(platform, "r_newer", "waiting")
    async with damaged(nats_server, bus.names.log, newest.id.encode()):
        await replace_engine(platform)
        monitor = platform.services["graph-engine"].context.monitor
        await found(lambda: monitor.doubtful)
        await goes_on(platform)
        assert await refused(platform) <= {"log.unreadable", "log.damaged"}
