"""A function that kills its worker: it is given up after as many workers as it may cost, and harms no other run."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from partsong.cli.platform import Platform
from partsong.client import Client
from partsong.workflow import Retry, WorkflowGraph
from tests.faults import deadly
from tests.faults.slow import written
from tests.faults.test_kill import WITHIN, Heard, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

ROLES = ("graph-engine", "tool-runner")
NEIGHBOURS = 6
STEPS = 8


@asynccontextmanager
async def a_platform(data: Path, heard: Heard) -> AsyncIterator[Platform]:
    env = {**os.environ, "PARTSONG_LOAD": "tests.faults.deadly"}
    platform = Platform(data, env=env, fast=True, say=heard, roles=ROLES)
    try:
        await platform.start()
        yield platform
    finally:
        await platform.stop()


def deaths(file: Path, run_id: str) -> int:
    return sum(count for line, count in written(file).items() if line.startswith(f"die {run_id} "))


def poison(attempts: int | None) -> WorkflowGraph:
    graph = WorkflowGraph("poison")
    retry = None if attempts is None else Retry(attempts=attempts, initial=0.01)
    graph.add_node("n", deadly.die, retry=retry)
    return graph


def honest() -> WorkflowGraph:
    graph = WorkflowGraph("honest")
    for n in range(STEPS):
        graph.add_node(f"s{n}", deadly.step)
    for n in range(STEPS - 1):
        graph.add_edge(f"s{n}", f"s{n + 1}")
    return graph


@pytest.mark.parametrize(("attempts", "lives"), [(None, 3), (2, 2)])
async def test_a_function_that_kills_its_worker_is_given_up_and_the_others_go_on(
    attempts: int | None, lives: int, tmp_path: Path
) -> None:
    heard, file = Heard(), tmp_path / "lines"
    state = {"file": str(file)}
    async with (
        a_platform(tmp_path / "data", heard) as platform,
        Client(platform.nats_url, timeout=10) as client,
    ):
        await client.start(poison(attempts), state, run_id="r_die")
        for n in range(NEIGHBOURS):
            await client.start(honest(), state, run_id=f"r_{n}")
        results = [await client.result(f"r_{n}", timeout=3 * WITHIN) for n in range(NEIGHBOURS)]
        assert [result.status for result in results] == ["completed"] * NEIGHBOURS
        result = await client.result("r_die", timeout=2 * WITHIN)
        assert result.status == "failed"
        assert result.error is not None
        assert result.error.code == "call.worker_died"
        assert "killed" not in result.error.message
        # The first delivery has no claim, so that the log does not know whether a worker died of it.
        assert deaths(file, "r_die") <= lives + 1
        lapses = [event for event in result.events if event.type == "call.lapsed"]
        assert len(lapses) == lives


async def test_a_function_that_kills_one_worker_returns_from_the_next(tmp_path: Path) -> None:
    heard, file = Heard(), tmp_path / "lines"
    graph = WorkflowGraph("once")
    graph.add_node("n", deadly.die_once)
    async with (
        a_platform(tmp_path / "data", heard) as platform,
        Client(platform.nats_url, timeout=10) as client,
    ):
        await client.start(graph, {"file": str(file)}, run_id="r_once")
        result = await client.result("r_once", timeout=WITHIN)
        assert result.status == "completed"
        assert result.state["lived"] is True


async def test_a_run_that_was_cancelled_kills_no_worker_any_more(tmp_path: Path) -> None:
    heard, file = Heard(), tmp_path / "lines"
    async with (
        a_platform(tmp_path / "data", heard) as platform,
        Client(platform.nats_url, timeout=10) as client,
    ):
        await client.start(poison(50), {"file": str(file)}, run_id="r_die")
        await until("it kills two", lambda: deaths(file, "r_die") > 1)
        await client.cancel("r_die", reason="enough")
        await client.result("r_die", timeout=WITHIN)
        before = deaths(file, "r_die")
        await client.start(honest(), {"file": str(file)}, run_id="r_after")
        assert (await client.result("r_after", timeout=WITHIN)).status == "completed"
        assert deaths(file, "r_die") <= before + 1  # it may have been begun before the run ended
