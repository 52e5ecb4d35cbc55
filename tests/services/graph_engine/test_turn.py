"""A busy run's turns: what looks through all of its calls is not done by each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest
from pydantic import JsonValue

from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.state import Call
from partsong.contracts.wire.subjects import Subjects
from partsong.graph_engine import turn
from partsong.log.memory import MemoryLog
from tests.services.graph_engine.engines import World

MAP = {
    "name": "wide",
    "nodes": {
        "m": {
            "type": "map",
            "over": "l",
            "into": "out",
            "graph": {"name": "i", "nodes": {"f": {"type": "function", "function": "m:f"}}},
        }
    },
}


@pytest.mark.parametrize(("often", "looks"), [(3600.0, False), (0.0, True)])
async def test_who_makes_a_busy_runs_calls_is_looked_at_now_and_then(
    monkeypatch: pytest.MonkeyPatch, often: float, *, looks: bool
) -> None:
    """And if it were done in each turn, this test would see it."""
    monkeypatch.setattr(turn, "_WATCH", often)
    world, asked, width = World(MemoryLog(), Subjects(), parse_graph(MAP)), list[str](), 60

    def unattended(_run_id: str, call_id: str, _attempt: int) -> None:
        asked.append(call_id)

    async def one_by_one(run_id: str, call: Call, view: Mapping[str, JsonValue]) -> None:
        for _ in range(int(call.exec.split("/")[1])):
            await asyncio.sleep(0)
        await world.finish(run_id, call, view)

    world.work = one_by_one
    engine = world.engine("e")
    engine.turns._unattended = unattended
    await engine.start()
    try:
        await world.start("r_wide", input={"l": list(range(width))})
        state = await world.ended("r_wide")
    finally:
        await engine.stop()
    assert state.status == "completed"
    assert (len(asked) > 0) is looks
