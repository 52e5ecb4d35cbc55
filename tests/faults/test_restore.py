"""A server's data is gone, and a backup is restored: what may have been done since is asked, and nothing is repeated."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from partsong.cli.platform import Platform
from partsong.client import Client
from partsong.client.approvals import Approvals
from partsong.contracts import events as e
from partsong.contracts.errors import NotFound
from partsong.contracts.services import SERVICES
from partsong.workflow import WorkflowGraph
from tests.faults.installed import with_tool
from tests.faults.slow import written
from tests.faults.test_kill import WITHIN, Heard

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]


def pays() -> WorkflowGraph:
    graph = WorkflowGraph("pays")
    return graph.add_tool("pay", "pay", args={"file": "{{file}}", "order": "{{order}}"})


def pays_later() -> WorkflowGraph:
    graph = WorkflowGraph("later").add_wait("wait", signal="go")
    graph.add_tool("pay", "pay", args={"file": "{{file}}", "order": "{{order}}"})
    return graph.add_edge("wait", "pay")


def pays_apart() -> WorkflowGraph:
    graph = WorkflowGraph("apart").add_wait("wait", signal="go")
    return graph.add_subgraph("sub", pays(), detached=True).add_edge("wait", "sub")


def environment(at: Path) -> dict[str, str]:
    tool = with_tool(at, "pay", "tests.soak.work:pay")
    return {**tool, "PARTSONG_HTTP_PORT": "0", "PARTSONG_DATA": str(at / "data")}


@asynccontextmanager
async def a_platform(at: Path, env: dict[str, str]) -> AsyncIterator[tuple[Platform, Client]]:
    # A test stops a service while a backup is made, however long that takes.
    platform = Platform(at / "data", env=env, fast=True, say=Heard(), roles=SERVICES, silence=600.0)
    try:
        await platform.start()
        async with Client(platform.nats_url) as client:
            yield platform, client
    finally:
        await platform.stop()


async def partsong(env: dict[str, str], *words: str) -> None:
    """The command line, as an operator uses it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "partsong.cli.main", *words),
        env=env,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


async def asked(client: Client, run_id: str) -> str:
    """The approval that a run waits for."""
    async with asyncio.timeout(WITHIN):
        async for placed in client.events(run_id, follow=True):
            if isinstance(placed.event, e.ApprovalRequested):
                return f"{run_id}.{placed.event.call_id}".replace("/", ",")
    raise AssertionError("it ended without asking")


async def test_after_a_restore_what_may_have_been_done_is_asked_and_nothing_is_repeated(
    tmp_path: Path,
) -> None:
    file, env, copy = tmp_path / "paid", environment(tmp_path), str(tmp_path / "copy")

    def order(name: str) -> dict[str, object]:
        return {"file": str(file), "order": name}

    async with a_platform(tmp_path, env) as (platform, client):
        await client.result(await client.start(pays(), order("done"), run_id="r_done"))
        os.kill(platform.pids["tool-runner"], signal.SIGSTOP)
        for name in ("again", "not"):
            await client.start(pays(), order(name), run_id=f"r_{name}")
        further = await client.start(pays_later(), order("further"), run_id="r_further")
        apart = await client.start(pays_apart(), order("apart"), run_id="r_apart")
        async with asyncio.timeout(WITHIN):
            for waiting in (further, apart):
                while (await client.state(waiting)).phase != "waiting":  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        await partsong(env, "log", "backup", copy, "--nats", platform.nats_url)
        os.kill(platform.pids["tool-runner"], signal.SIGCONT)
        for name in ("again", "not"):
            assert (await client.result(f"r_{name}", timeout=WITHIN)).status == "completed"
        await client.result(await client.start(pays(), order("late"), run_id="r_late"))
        for waiting in (further, apart):
            await client.signal(waiting, "go")
            assert (await client.result(waiting, timeout=WITHIN)).status == "completed"
    before = {f"pay {name}": 1 for name in ("done", "again", "not", "late", "further", "apart")}
    assert written(file) == before
    shutil.rmtree(tmp_path / "data" / "nats")
    await partsong(env, "log", "restore", "--from", copy, "--offline", "--by", "ann")
    async with a_platform(tmp_path, env) as (platform, client):
        assert (await client.result("r_done", timeout=WITHIN)).status == "completed"
        with pytest.raises(NotFound):
            await client.state("r_late")
        for waiting in (further, apart):
            await client.signal(waiting, "go")  # it waits for that once more
        questions = {name: await asked(client, f"r_{name}") for name in ("again", "not", "further")}
        questions["apart"] = await asked(client, "r_apart--sub-1")
        assert written(file) == before, "nothing is paid before somebody has answered"
        api = Approvals(platform.http_url)
        decisions = {"again": "approve", "not": "reject", "further": "reject", "apart": "reject"}
        for name, decision in decisions.items():
            await asyncio.to_thread(api.decide, questions[name], decision, "ann", None)
        assert (await client.result("r_again", timeout=WITHIN)).status == "completed"
        for name in ("not", "further", "apart"):
            assert (await client.result(f"r_{name}", timeout=WITHIN)).status == "failed"
        for run_id in ("r_done", "r_again", "r_not", "r_further", "r_apart--sub-1"):
            assert (await client.replay(run_id)).ok
    assert written(file) == {**before, "pay again": 2}
