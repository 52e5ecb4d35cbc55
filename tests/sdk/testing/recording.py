"""A finished run of the shop, in a log of one's own, and the state that its engine was left with."""

from __future__ import annotations

from pathlib import Path

from partsong.contracts import events as e
from partsong.contracts.state.results import RunResult
from partsong.contracts.state.state import RunState
from partsong.engine.commands import runs
from partsong.engine.local.engine import LocalRun
from partsong.engine.local.performers import Performers
from partsong.engine.local.player import open_player
from partsong.log.file import FileLog
from partsong.runtime import clock
from partsong.testing import ScriptedModel, ToolCall
from partsong.tools import ToolRegistry
from partsong.workflow import WorkflowGraph
from tests.sdk.testing import shop

TOOLS = ToolRegistry([shop.price_of])


def script() -> ScriptedModel:
    """The shop's model: it looks the price up, then says it."""
    called = ToolCall("price_of", {"article": "tea"})
    return ScriptedModel(called, "It costs 3.50.", model=shop.MODEL)


async def play(path: Path, run_id: str = "r_shop", built: WorkflowGraph | None = None) -> RunState:
    """Play the shop, or another graph, into a file; the state as its engine decided on it, not as anybody read it."""
    graph = (built or shop.shop()).compile()
    async with (
        await FileLog.open(path) as log,
        Performers.open(graph, {}, TOOLS) as performers,
    ):
        run = LocalRun(log, run_id, performers)
        await run.load()
        start = runs.start(
            run_id, graph, {"article": "tea"}, e.RunOptions(), "test", clock.now_text()
        )
        return await run.go(start)


async def again(
    graph: WorkflowGraph, article: str = "tea", tools: ToolRegistry = TOOLS
) -> RunResult:
    """Execute a shop in memory."""
    async with open_player(graph.compile(), {}, tools=tools) as player:
        return await player.execute({"article": article})
