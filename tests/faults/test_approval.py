"""kill -9 of the approval service while fifty people decide."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx2
import pytest

from partsong.cli.platform import Platform
from partsong.client import Client
from partsong.contracts.services import SERVICES
from partsong.workflow import WorkflowGraph
from tests.faults.test_kill import WITHIN, Heard, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

RUNS = 50


def graph() -> WorkflowGraph:
    graph = WorkflowGraph("deciding").add_approval("ok", title="Pay {{amount}}?")
    graph.add_tool("paid", "calculator", args={"expression": "{{amount}} * 2"})
    return graph.add_conditional_edge("ok", {"approved": "paid", "rejected": "END"})


async def decide(http: httpx2.AsyncClient, platform: Platform, run_id: str) -> int:
    """Approve as a patient person does: again, until there is an answer."""
    end = asyncio.get_running_loop().time() + WITHIN
    body = {"decision": "approve", "by": "ann"}
    while asyncio.get_running_loop().time() < end:
        url = f"{platform.http_url}/api/approvals/{run_id}.ok:1/decision"  # another one after the kill
        try:
            answer = await http.post(url, json=body)
        except httpx2.HTTPError:
            await asyncio.sleep(0.05)
            continue
        if answer.status_code < 300 or answer.status_code == 409:
            return answer.status_code
        await asyncio.sleep(0.05)
    raise AssertionError(f"no answer for {run_id}")


async def test_fifty_decisions_survive_a_kill_of_the_approval_service(tmp_path: Path) -> None:
    heard = Heard()
    env = {**os.environ, "PARTSONG_HTTP_PORT": "0"}
    platform = Platform(tmp_path / "data", env=env, fast=True, say=heard, roles=SERVICES)
    await platform.start()
    try:
        async with (
            Client(platform.nats_url) as client,
            httpx2.AsyncClient(timeout=10, verify=False) as http,
        ):
            run_ids = [f"r_{n}" for n in range(RUNS)]
            for run_id in run_ids:
                await client.start(graph(), {"amount": 21}, run_id=run_id)
            deciding = [asyncio.create_task(decide(http, platform, run_id)) for run_id in run_ids]
            await asyncio.wait(deciding, return_when=asyncio.FIRST_COMPLETED)
            os.kill(platform.pids["approval"], signal.SIGKILL)
            answers = await asyncio.gather(*deciding)
            assert set(answers) <= {200, 202, 409}
            for run_id in run_ids:
                result = await client.result(run_id, timeout=WITHIN)
                assert result.status == "completed"
                assert result["paid"] in (42, "42")
                assert sum(event.type == "approval.decided" for event in result.events) == 1
                assert (await client.replay(run_id)).ok
            await until("approval is back", lambda: len(heard.ready("approval")) == 2)
    finally:
        await platform.stop()
