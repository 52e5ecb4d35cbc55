"""Runs whose function no tool-runner has: they wait, say for what, and go on when one comes that has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

import partsong.tool_runner.app
from partsong.runtime.serve import Running, open_context
from partsong.testing.nats import Bus
from tests.system.engines import until
from tests.system.platform import Platform, a_platform


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    async with a_platform(bus) as running:
        yield running


@asynccontextmanager
async def a_tool_runner(platform: Platform, module: str) -> AsyncIterator[Running]:
    """One more tool-runner, with a module of its own."""
    settings = replace(platform.settings, loads=(module,))
    running = await open_context(settings, partsong.tool_runner.app.service(settings))
    try:
        yield running
    finally:
        await running.stop()


def calling(node: dict[str, object]) -> dict[str, object]:
    return {"name": "calling", "entry": "a", "nodes": {"a": node}}


RARE = calling({"type": "function", "function": "tests.system.rare:found"})
COMMON = calling({"type": "function", "function": "tests.system.nodes:path_a"})


async def test_a_run_waits_for_a_function_that_nobody_has_and_goes_on_when_somebody_does(
    platform: Platform,
) -> None:
    run_id = await platform.client.start(RARE)
    waiting = (await until(platform, run_id, "waiting")).waits_on
    assert waiting is not None
    assert (waiting.on, waiting.what) == ("worker", "a:1")
    assert waiting.reason == "waiting for function tests.system.rare:found, no worker has it"
    async with a_tool_runner(platform, "tests.system.rare"):
        result = await platform.client.result(run_id, timeout=60)
    assert (result.status, result.state) == ("completed", {"found": True})
    assert (await platform.client.replay(run_id)).ok


async def test_a_tool_that_nobody_has_is_waited_for_by_name(platform: Platform) -> None:
    run_id = await platform.client.start(calling({"type": "tool", "tool": "divining_rod"}))
    waiting = (await until(platform, run_id, "waiting")).waits_on
    assert waiting is not None
    assert waiting.reason == "waiting for tool divining_rod, no worker has it"
    await platform.client.cancel(run_id)
    assert (await platform.client.result(run_id, timeout=30)).status == "cancelled"


async def test_two_tool_runners_with_different_modules_both_get_their_work(
    platform: Platform,
) -> None:
    async with a_tool_runner(platform, "tests.system.rare"):
        runs = [await platform.client.start(graph) for graph in [RARE, COMMON] * 10]
        results = await asyncio.gather(
            *(platform.client.result(run_id, timeout=60) for run_id in runs)
        )
    assert [result.status for result in results] == ["completed"] * 20
