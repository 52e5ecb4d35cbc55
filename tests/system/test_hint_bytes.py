"""What hints cost on the bus: a big state is kept once, a map is linear, and a part that is deleted is put again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

import partsong.tool_runner.app
from partsong.runtime.serve import open_context
from partsong.testing.nats import Bus
from partsong.workflow import WorkflowGraph
from tests.system import nodes
from tests.system.platform import Platform, a_platform

WITHIN = 120.0
BIG = 5_000_000


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    async with a_platform(bus) as running:
        yield running


async def stored(bus: Bus, stream: str) -> int:
    return (await bus.nc.jetstream().stream_info(stream)).state.bytes


def loop(steps: int) -> WorkflowGraph:
    graph = WorkflowGraph("loop").add_node("load", nodes.load_text).add_node("step", nodes.one_more)
    graph.add_edge("load", "step")
    return graph.add_condition("step", [(f"state.i < {steps}", "step")], otherwise="END")


async def test_thirty_steps_over_a_big_state_keep_it_once(bus: Bus, platform: Platform) -> None:
    run_id = await platform.client.start(loop(30), {"size": BIG})
    result = await platform.client.result(run_id, timeout=WITHIN)
    assert (result.status, result["i"]) == ("completed", 30)
    assert await stored(bus, f"OBJ_{bus.names.hints}") < 1.2 * BIG
    assert await stored(bus, f"OBJ_{bus.names.blobs}") < 1.2 * BIG


async def test_a_map_over_many_puts_into_the_queue_what_its_items_are(
    bus: Bus, platform: Platform
) -> None:
    count, size, passed = 600, 4_000, 0

    async def weigh(msg: Any) -> None:
        nonlocal passed
        passed += len(msg.data)

    await bus.nc.subscribe(bus.subjects.works("tool-runner"), cb=weigh)
    await bus.nc.flush()
    graph = WorkflowGraph("wide").add_node("source", nodes.many).add_edge("source", "m")
    graph.add_map("m", nodes.length, over="docs", into="out", collect="n")
    run_id = await platform.client.start(graph, {"count": count, "size": size})
    result = await platform.client.result(run_id, timeout=WITHIN)
    assert result["out"] == [size] * count
    assert count * size <= passed < 2 * count * (size + 1000)
    assert await stored(bus, f"OBJ_{bus.names.hints}") == 0


async def test_a_part_that_is_deleted_before_the_work_is_put_again(
    bus: Bus, platform: Platform
) -> None:
    js = bus.nc.jetstream()
    await platform.services["tool-runner"].stop()
    graph = WorkflowGraph("one").add_node("length", nodes.text_length)
    run_id = await platform.client.start(graph, {"text": "x" * 900_000})
    async with asyncio.timeout(WITHIN):
        while not (await js.stream_info(bus.names.work)).state.messages:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    await js.purge_stream(f"OBJ_{bus.names.hints}")
    settings = replace(platform.settings, loads=("tests.system.nodes",))
    service = partsong.tool_runner.app.service(settings)
    platform.services["tool-runner"] = await open_context(settings, service)
    result = await platform.client.result(run_id, timeout=WITHIN)
    assert (result.status, result["n"]) == ("completed", 900_000)
