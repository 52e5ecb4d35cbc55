"""A run whose decision ends its engine: it is set aside, and all others go on."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from partsong.cli.platform import Platform
from partsong.client import Client
from partsong.contracts.errors import PartsongError
from partsong.contracts.state.explained import explained
from partsong.graph_engine.deciding import MOST_DEATHS
from partsong.workflow import WorkflowGraph
from tests.faults import deadly
from tests.faults.test_kill import WITHIN, Heard, insist, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]

CODE = """
import os, signal, sys

if any(arg == "graph-engine" for arg in sys.orig_argv):
    from partsong.graph_engine import turn

    decide = turn.decide

    def deadly(state, now, **more):
        if state.run_id == "r_deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        return decide(state, now, **more)

    turn.decide = deadly
"""
"""What Python runs before an engine begins, in the place of a crash of native code."""


def died(heard: Heard) -> int:
    return sum(who == "graph-engine" and "ended with" in what for _, who, what in heard.lines)


async def test_a_run_that_ends_every_engine_is_set_aside_and_all_others_go_on(
    tmp_path: Path,
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "sitecustomize.py").write_text(CODE, "utf-8")
    heard = Heard()
    env = {
        **os.environ,
        "PARTSONG_LOAD": "tests.faults.deadly",
        "PYTHONPATH": f"{code}:{os.environ.get('PYTHONPATH', '')}",
    }
    roles = ("graph-engine", "tool-runner")
    platform = Platform(tmp_path / "data", env=env, fast=True, say=heard, roles=roles)
    graph = WorkflowGraph("g")
    graph.add_node("n", deadly.step)
    state = {"file": str(tmp_path / "lines")}
    try:
        await platform.start()
        async with Client(platform.nats_url, timeout=5) as client:
            with pytest.raises(PartsongError):
                await client.start(graph, state, run_id="r_deadly")
            await until("it has cost its engines", lambda: died(heard) == MOST_DEATHS)
            await insist(partial(client.start, graph, state, run_id="r_1"))
            assert (await client.result("r_1", timeout=WITHIN)).status == "completed"
            with pytest.raises(PartsongError) as refused:
                await client.cancel("r_deadly")
            assert refused.value.problem.code == "engine.died"
            assert "3 engines died" in explained(await client.state("r_deadly"))
            assert died(heard) == MOST_DEATHS
    finally:
        await platform.stop()
