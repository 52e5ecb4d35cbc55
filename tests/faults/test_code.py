"""kill -9 of the tool-runner while code that it ran waits for a person."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import httpx2
import pytest

from partsong.approval.core.approval import id_of
from partsong.cli.platform import Platform
from partsong.client import Client
from partsong.contracts import events as e
from partsong.contracts.services import SERVICES
from partsong.workflow import WorkflowGraph
from tests.faults.test_kill import WITHIN, Heard, until

pytestmark = pytest.mark.timeout(
    180
)  # it kills one process of its own, and leaves the others their cores

TILL = """
from pathlib import Path
from partsong.tools import tool

@tool(approval="args.amount >= 10")
def pay(amount: int, book: str) -> str:
    "Pays."
    with Path(book).open("a") as file:
        file.write(f"{amount}\\n")
    return f"paid {amount}"
"""
CODE = """
before = [n * n for n in range(4)]
small = pay(amount=1, book=BOOK)
large = pay(amount=50, book=BOOK)
[before, small, large]
"""


def installed(at: Path) -> None:
    """A package with a tool that writes down what it did."""
    (at / "till.py").write_text(TILL)
    metadata = at / "till-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: till\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[partsong.tools]\ntill = till:pay\n")


async def question(client: Client, run_id: str) -> e.ApprovalRequested:
    async with asyncio.timeout(WITHIN):
        async for placed in client.events(run_id, follow=True):
            if isinstance(placed.event, e.ApprovalRequested):
                return placed.event
    raise AssertionError("the run ended and asked nobody")


async def approve(platform: Platform, run_id: str, call_id: str) -> None:
    end = asyncio.get_running_loop().time() + WITHIN
    url = f"{platform.http_url}/api/approvals/{id_of(run_id, call_id)}/decision"
    async with httpx2.AsyncClient(timeout=10, verify=False) as http:
        while True:
            answer = await http.post(url, json={"decision": "approve", "by": "ann"})
            if answer.status_code < 300:
                return
            assert answer.status_code == 404, answer.text  # its inbox has not seen it yet
            assert asyncio.get_running_loop().time() < end
            await asyncio.sleep(0.05)


async def test_code_goes_on_in_another_tool_runner_and_its_tools_ran_once(tmp_path: Path) -> None:
    heard, book = Heard(), tmp_path / "book"
    installed(tmp_path)
    path = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    env = {**os.environ, "PYTHONPATH": path, "PARTSONG_TOOLS": "till", "PARTSONG_HTTP_PORT": "0"}
    platform = Platform(tmp_path / "data", env=env, fast=True, say=heard, roles=SERVICES)
    code = CODE.replace("BOOK", repr(str(book)))
    graph = WorkflowGraph("shop").add_tool("buy", "run_code", args={"code": code}, tools=["pay"])
    await platform.start()
    try:
        async with Client(platform.nats_url, timeout=10) as client:
            run_id = await client.start(graph, {})
            asked = await question(client, run_id)
            assert asked.context == {"amount": 50, "book": str(book)}
            old = platform.pids["tool-runner"]
            os.kill(old, signal.SIGKILL)
            await until("it is back", lambda: len(heard.ready("tool-runner")) == 2)
            assert platform.pids["tool-runner"] != old
            await approve(platform, run_id, asked.call_id)
            result = await client.result(run_id, timeout=WITHIN)
            assert (await client.replay(run_id)).ok
    finally:
        await platform.stop()
    done = {"value": [[0, 1, 4, 9], "paid 1", "paid 50"], "printed": ""}
    assert result.raise_for_status()["buy"] == done
    assert book.read_text() == "1\n50\n"
    workers = {event.worker for event in result.events if isinstance(event, e.CallSuspended)}
    ended = [event for event in result.events if isinstance(event, e.CallCompleted)]
    assert len(workers) == 1
    assert ended[-1].worker not in workers
