"""A graph on the bus calls the tool of an MCP server, through the tool-runner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from partsong.runtime.settings import Settings
from partsong.testing.nats import Bus
from partsong.workflow import WorkflowGraph
from tests.support.mcp_http import over_http
from tests.system.platform import a_platform


async def test_a_tool_node_calls_the_tool_of_an_mcp_server(
    bus: Bus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARTSONG_MCP_TRUST", "shelf")
    said = tmp_path / "said.json"
    said.write_text(json.dumps({"look": "Look somewhere."}))
    graph = WorkflowGraph("look").add_tool(
        "look", "shelf__look", args={"where": "{{place}}"}, output="seen"
    )
    async with over_http(said) as url:
        settings = Settings(mcp=(f"shelf={url}",), data_dir=tmp_path)
        async with a_platform(bus, settings) as platform:
            run_id = await platform.client.start(graph, {"place": "the attic"})
            result = await platform.client.result(run_id, timeout=60)
    assert result.status == "completed", result.error
    assert "the attic" in str(result["seen"])
    assert "untrusted" in str(result["seen"])
    assert "shelf" in json.loads((tmp_path / "mcp.json").read_text())
