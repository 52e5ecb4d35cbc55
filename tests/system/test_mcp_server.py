"""Partsong as an MCP server, asked by the SDK's client: a run is started, approved and read over MCP alone."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mcp import Client as McpClient
from mcp import StdioServerParameters
from mcp.types import CallToolResult, TextContent
from pydantic import JsonValue

import partsong.approval.app
from partsong.cli.mcp_server import platform_server
from partsong.client import Client
from partsong.client.approvals import Approvals
from partsong.runtime.serve import open_context
from partsong.runtime.settings import Settings
from partsong.testing.nats import Bus
from tests.system.platform import a_platform

DEADLINE = 60.0
PARTSONG = Path(sys.executable).with_name("partsong")
REFUND: dict[str, JsonValue] = {
    "name": "refund",
    "entry": "amount",
    "nodes": {
        "amount": {
            "type": "tool",
            "tool": "calculator",
            "args": {"expression": "{{price}} * 2"},
            "output": "total",
        },
        "ok": {"type": "approval", "title": "Refund {{total}}?", "editable": "total"},
    },
    "edges": [{"from": "amount", "to": "ok"}],
}


@asynccontextmanager
async def asked(bus: Bus, folder: Path) -> AsyncIterator[tuple[McpClient, Client]]:
    """An MCP client, connected to a server before a whole platform, and the platform's own client."""
    settings = Settings(http_port=0, data_dir=folder)
    async with a_platform(bus, settings) as platform:
        approval = await open_context(
            platform.settings, partsong.approval.app.service(platform.settings)
        )
        try:
            api = Approvals(approval.context.heart.url)
            async with McpClient(platform_server(platform.client, api, by="ann")) as client:
                yield client, platform.client
        finally:
            await approval.stop()


async def said(client: McpClient, tool: str, **args: JsonValue) -> dict[str, JsonValue]:
    result = await client.call_tool(tool, args)
    assert not result.is_error, text(result)
    found = result.structured_content
    assert isinstance(found, dict)
    return found


def text(result: CallToolResult) -> str:
    return "".join(block.text for block in result.content if isinstance(block, TextContent))


async def test_a_run_is_started_approved_and_read_over_mcp(bus: Bus, tmp_path: Path) -> None:
    async with asked(bus, tmp_path) as (client, platform), asyncio.timeout(DEADLINE):
        tools = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}
        assert tools.keys() == {"start_run", "get_run", "list_approvals", "approve"}
        assert tools["approve"] is not None
        assert tools["approve"].destructive_hint

        run_id = str((await said(client, "start_run", graph=REFUND, input={"price": 21}))["run_id"])
        approval = await waiting(client, run_id)
        assert approval["title"] == "Refund 42?"
        assert (await said(client, "get_run", run_id=run_id))["status"] == "waiting"

        decided = await said(
            client,
            "approve",
            approval_id=approval["id"],
            decision="approve",
            reason="fair",
            edit=40,
        )
        assert (decided["by"], decided["edited"]) == ("ann", 40)
        again = await client.call_tool(
            "approve", {"approval_id": approval["id"], "decision": "reject", "reason": "late"}
        )
        assert again.is_error
        assert "approval." in text(again)

        await platform.result(run_id)
        run = await said(client, "get_run", run_id=run_id)
        assert (run["status"], run["error"]) == ("completed", None)
        assert '"total": 40' in json.dumps(run["state"])


async def waiting(client: McpClient, run_id: str) -> dict[str, JsonValue]:
    """The approval that the run waits for, once the inbox has it: nobody is told when that is."""
    while True:
        found = (await said(client, "list_approvals", run_id=run_id))["approvals"]
        assert isinstance(found, list)
        if found and isinstance(found[0], dict):
            return found[0]
        await asyncio.sleep(0.05)


async def test_the_command_serves_on_stdio_and_prints_nothing_else(
    bus: Bus, tmp_path: Path
) -> None:
    async with a_platform(bus) as platform, asyncio.timeout(DEADLINE):
        run_id = await platform.client.start(REFUND, {"price": 1})
        words = ["mcp", "serve", "--nats", bus.url, "--prefix", bus.subjects.prefix, "--by", "ann"]
        command = StdioServerParameters(command=str(PARTSONG), args=words, cwd=tmp_path)
        async with McpClient(command) as client:
            assert (await said(client, "get_run", run_id=run_id))["run_id"] == run_id


async def test_a_mistake_is_answered_with_the_reason(bus: Bus, tmp_path: Path) -> None:
    async with asked(bus, tmp_path) as (client, _), asyncio.timeout(DEADLINE):
        for tool, args, reason in (
            ("get_run", {"run_id": "r_nobody"}, "run.unknown"),
            ("start_run", {"graph": "nobody-knows"}, "graph.unknown"),
            (
                "approve",
                {"approval_id": "r_1.x", "decision": "approve", "reason": "x"},
                "approval.",
            ),
            ("approve", {"approval_id": "r_1.x", "decision": "maybe", "reason": "x"}, "decision"),
        ):
            result = await client.call_tool(tool, dict(args))
            assert result.is_error
            assert reason in text(result)
