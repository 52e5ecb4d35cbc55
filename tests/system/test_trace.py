"""One run is one trace, over all services, received over real OTLP."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx2

import partsong.approval.app
from partsong.runtime.serve import open_context
from partsong.runtime.settings import Settings
from partsong.runtime.telemetry.telemetry import traceparent
from partsong.testing.nats import Bus
from partsong.testing.otlp import OtlpReceiver
from partsong.workflow import AgentSpec, WorkflowGraph
from tests.system import nodes
from tests.system.platform import Platform, a_platform


def graph() -> WorkflowGraph:
    graph = WorkflowGraph("traced").add_node("start", nodes.start)
    graph.add_agent("agent", AgentSpec(model="scripted:echo"), prompt="hello")
    graph.add_tool("tool", "calculator", args={"expression": "6 * 7"})
    graph.add_approval("ok", title="Go on?")
    return graph.add_edge("start", "agent").add_edge("agent", "tool").add_edge("tool", "ok")


async def approve(platform: Platform, run_id: str, url: str) -> None:
    """Decide over HTTP, as a person does."""
    async for placed in platform.client.events(run_id, follow=True):
        if placed.event.type == "approval.requested":
            break
    async with httpx2.AsyncClient(base_url=url, timeout=60) as http:
        answer = await http.post(
            f"/api/approvals/{run_id}.ok:1/decision", json={"decision": "approve", "by": "ann"}
        )
    assert answer.status_code < 300, answer.text


async def test_a_run_that_crossed_four_services_is_one_connected_trace(
    bus: Bus, tmp_path: Path
) -> None:
    async with OtlpReceiver() as receiver:
        settings = Settings(otlp_endpoint=receiver.url, http_port=0, data_dir=tmp_path)
        async with a_platform(bus, settings) as platform:
            approval = await open_context(
                platform.settings, partsong.approval.app.service(platform.settings)
            )
            run_id = await platform.client.start(graph())
            await asyncio.wait_for(approve(platform, run_id, str(approval.context.heart.url)), 60)
            result = await platform.client.result(run_id, timeout=60)
            await approval.stop()
        assert result.status == "completed"
        spans = receiver.spans
    trace = traceparent(run_id).split("-")[1]
    mine = [span for span in spans if span.trace_id == trace]
    names = {span.name for span in mine}
    assert {
        "run traced",
        "node start",
        "node agent",
        "chat echo",
        "execute_tool calculator",
        "approval Go on?",
        "append",
    } <= names
    assert {span.service for span in mine} >= {
        "graph-engine",
        "agent-gateway",
        "tool-runner",
        "approval",
    }
    ids = {span.span_id for span in mine}
    root = next(span for span in mine if span.name == "run traced")
    assert not root.parent_id
    assert all(span.parent_id in ids for span in mine if span is not root), (
        "every span hangs on another one"
    )
