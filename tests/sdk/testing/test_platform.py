"""The platform in a test's process: its corner of the server is its own, and gone afterwards."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote
from urllib.request import urlopen

import pytest

from partsong.client import Client
from partsong.contracts.events import ApprovalRequested
from partsong.runtime.connect import connect, disconnect
from partsong.runtime.streams import table
from partsong.testing import a_platform
from partsong.testing.platform import Platform
from partsong.workflow import WorkflowGraph


async def streams(url: str) -> set[str]:
    nc = await connect(url, name="tests")
    try:
        return {info.config.name or "" for info in await nc.jetstream().streams_info()}
    finally:
        await disconnect(nc)


async def first_question(client: Client, run_id: str) -> str:
    async for placed in client.events(run_id, follow=True):
        if isinstance(placed.event, ApprovalRequested):
            return placed.event.call_id
    raise AssertionError(f"run {run_id} asked nobody")


async def test_two_platforms_do_not_see_each_other_and_leave_nothing(partsong_nats: str) -> None:
    graph = WorkflowGraph("sum").add_tool("add", "calculator", args={"expression": "1 + 1"})
    async with a_platform(partsong_nats) as one, a_platform(partsong_nats) as other:
        run_id = await one.client.start(graph)
        assert (await one.client.result(run_id, timeout=30))["add"] == "2"
        assert [run.run_id for run in await one.client.runs()] == [run_id]
        assert await other.client.runs() == []
        ours = {stream.name for stream in table(one.settings.subjects).streams}
        assert ours <= await streams(partsong_nats)
    assert not ours & await streams(partsong_nats)


@pytest.mark.partsong(approval=True)
async def test_the_approval_service_shows_what_waits(partsong_bus: Platform) -> None:
    client: Client = partsong_bus.client
    run_id = await client.start(WorkflowGraph("ask").add_approval("sure", title="Sure?"))
    call_id = await asyncio.wait_for(first_question(client, run_id), 30)

    def shown() -> str:
        approval = quote(f"{run_id}.{call_id.replace('/', ',')}", safe="")
        with urlopen(f"{partsong_bus.http_url}/api/approvals/{approval}", timeout=30) as page:
            return str(json.load(page)["title"])

    assert await asyncio.to_thread(shown) == "Sure?"
    await partsong_bus.decide(run_id, "reject")
    assert (await client.result(run_id, timeout=30)).status == "failed"
