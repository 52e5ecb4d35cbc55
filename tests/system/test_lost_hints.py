"""Hints that were stored and are gone: their calls are made within seconds, and no queue is filled with copies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from nats.aio.msg import Msg

import partsong.tool_runner.app
from partsong.contracts.wire.headers import REMINDER
from partsong.runtime.serve import open_context
from partsong.testing.nats import Bus
from tests.system.engines import until
from tests.system.platform import Platform, a_platform

WITHIN = 60
"""Seconds; the server remembers the ids of hints for two minutes, and drops what comes under one of them."""

CALLING = {
    "name": "calling",
    "entry": "a",
    "nodes": {"a": {"type": "function", "function": "tests.system.nodes:path_a"}},
}


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    """Without a tool-runner."""
    async with a_platform(bus) as running:
        await running.services["tool-runner"].stop()
        yield running


async def begin_work(platform: Platform) -> None:
    settings = replace(platform.settings, loads=("tests.system.nodes",))
    service = partsong.tool_runner.app.service(settings)
    platform.services["tool-runner"] = await open_context(settings, service)


async def test_a_hint_that_was_taken_from_the_queue_is_sent_again_within_seconds(
    bus: Bus, platform: Platform
) -> None:
    js = bus.nc.jetstream()
    run_id = await platform.client.start(CALLING)
    await until(platform, run_id, "running")
    for _ in range(2):  # and once more
        await js.purge_stream(bus.names.work)
        async with asyncio.timeout(WITHIN):
            while not (await js.stream_info(bus.names.work)).state.messages:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    await begin_work(platform)
    result = await platform.client.result(run_id, timeout=WITHIN)
    assert result.status == "completed"


async def test_a_call_that_waits_for_a_worker_has_one_hint_in_the_queue(
    bus: Bus, platform: Platform
) -> None:
    """However often its run is looked after."""
    reminders: asyncio.Queue[str] = asyncio.Queue()

    async def heard(msg: Msg) -> None:
        if REMINDER in (msg.headers or {}):
            reminders.put_nowait(msg.subject)

    await bus.nc.subscribe(bus.subjects.work("tool-runner"), cb=heard)
    await bus.nc.jetstream().account_info()  # a round trip: others publish
    run_id = await platform.client.start(CALLING)
    async with asyncio.timeout(WITHIN):
        for _ in range(3):
            await reminders.get()
    assert (await bus.nc.jetstream().stream_info(bus.names.work)).state.messages == 1
    await begin_work(platform)
    assert (await platform.client.result(run_id, timeout=WITHIN)).status == "completed"


async def test_hints_that_a_full_queue_refuses_are_sent_again_and_other_runs_go_on(
    bus: Bus, platform: Platform
) -> None:
    js = bus.nc.jetstream()
    await platform.services["agent-gateway"].stop()
    config = (await js.stream_info(bus.names.work)).config
    await js.update_stream(config.evolve(max_msgs=3))
    for _ in range(3):
        await js.publish(bus.subjects.work("agent-gateway"), b"somebody else's")
    engine = platform.services["graph-engine"].service
    waiting = await platform.client.start(CALLING)
    await until(platform, waiting, "running")
    async with asyncio.timeout(WITHIN):
        while (said := engine.problem) is None:  # type: ignore[attr-defined]  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert said.code == "work.full"
    other = await platform.client.start(
        {"name": "other", "nodes": {"a": {"type": "transform", "set": {"n": "1 + 1"}}}}
    )
    assert (await platform.client.result(other, timeout=WITHIN)).status == "completed"
    assert (await js.stream_info(bus.names.work)).state.messages == 3
    await js.purge_stream(bus.names.work)
    await js.update_stream(config)
    await begin_work(platform)
    assert (await platform.client.result(waiting, timeout=WITHIN)).status == "completed"
    async with asyncio.timeout(WITHIN):
        while engine.problem is not None:  # type: ignore[attr-defined]  # noqa: ASYNC110
            await asyncio.sleep(0.05)
