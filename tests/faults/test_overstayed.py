"""Timeouts hold where no worker is left to keep them, and what such a worker brings afterwards changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from partsong.cli.platform import Platform
from partsong.client import Client
from partsong.contracts import events as e
from partsong.workflow import Retry, WorkflowGraph
from tests.faults import slow
from tests.faults.test_kill import WITHIN, Heard, until
from tests.faults.test_liveness import a_runner

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

ENV = {**os.environ, "PARTSONG_LOAD": "tests.faults.slow"}
TWICE = Retry(attempts=2, initial=0.01)


@asynccontextmanager
async def a_platform(at: Path) -> AsyncIterator[tuple[Platform, Client]]:
    """Two engines, and nobody yet who calls functions."""
    roles = ("graph-engine", "graph-engine")
    platform = Platform(at / "data", env={**os.environ}, fast=True, say=Heard(), roles=roles)
    try:
        await platform.start()
        async with Client(platform.nats_url, timeout=10) as client:
            yield platform, client
    finally:
        await platform.stop()


async def begin(client: Client, graph: WorkflowGraph, file: Path, go: Path) -> None:
    """Start a run, and wait until its function is being called."""
    await client.start(graph, {"file": str(file), "go": str(go)}, run_id="r_1")
    await until("it begins", lambda: slow.written(file).total() == 1)


async def failed(client: Client, run_id: str) -> e.CallFailed:
    """The first call of a run that fails."""
    async for found in client.events(run_id, follow=True):
        if isinstance(found.event, e.CallFailed):
            return found.event
    raise AssertionError(run_id)


async def completions(client: Client, run_id: str) -> dict[int, str]:
    """The ids of what a run's attempts have brought, also of what came too late."""
    history = [found.event async for found in client.events(run_id)]
    return {event.attempt: event.id for event in history if isinstance(event, e.CallCompleted)}


async def test_the_result_of_a_frozen_worker_comes_too_late(tmp_path: Path) -> None:
    file, go = tmp_path / "lines", tmp_path / "go"
    graph = WorkflowGraph("frozen")
    graph.add_node("n", slow.wait_for, timeout=2, retry=TWICE)
    async with a_platform(tmp_path) as (platform, client):
        async with a_runner(platform, ENV, tmp_path, "first") as first:
            await begin(client, graph, file, go)
            first.send_signal(signal.SIGSTOP)
            async with asyncio.timeout(WITHIN):
                late = await failed(client, "r_1")
            assert (late.attempt, late.error.code) == (1, "function.timeout")
            go.touch()
            first.send_signal(signal.SIGCONT)
            assert (await client.result("r_1", timeout=WITHIN)).status == "completed"
            async with asyncio.timeout(WITHIN):
                while set(brought := await completions(client, "r_1")) != {1, 2}:  # noqa: ASYNC110  # no event says so
                    await asyncio.sleep(0.05)
        assert (await client.state("r_1")).superseded == (brought[1],)
        assert (await client.replay("r_1")).ok
    assert slow.written(file) == {"begin r_1": 2, "end r_1": 2}


async def test_the_silence_of_a_killed_worker_is_an_attempt_and_another_one_makes_the_next(
    tmp_path: Path,
) -> None:
    file, go = tmp_path / "lines", tmp_path / "go"
    graph = WorkflowGraph("killed")
    graph.add_node("n", slow.wait_for, idle_timeout=1, retry=TWICE)
    async with a_platform(tmp_path) as (platform, client):
        async with a_runner(platform, ENV, tmp_path, "first") as first:
            await begin(client, graph, file, go)
            first.kill()
            async with asyncio.timeout(WITHIN):
                silent = await failed(client, "r_1")
        assert (silent.attempt, silent.error.code) == (1, "function.idle_timeout")
        go.touch()
        async with a_runner(platform, ENV, tmp_path, "second"):
            result = await client.result("r_1", timeout=WITHIN)
        closed = [(event.type, event.attempt) for event in result.events if isinstance(event, e.CallCompleted | e.CallFailed)]  # fmt: skip
        assert closed == [("call.failed", 1), ("call.completed", 2)]
    assert slow.written(file) == {"begin r_1": 2, "end r_1": 1}
