"""Nothing fails in silence: what could not be undone, and logs that are newer than their engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from partsong.contracts.errors import PartsongError
from partsong.runtime import clock
from partsong.testing.nats import Bus
from tests.system.engines import replace_engine, until
from tests.system.platform import Platform, a_platform


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    async with a_platform(bus) as running:
        yield running


def saga(undo: str) -> dict[str, object]:
    step = {"type": "function", "retry": {"attempts": 1}}
    first = {**step, "function": "tests.system.nodes:path_a", "compensate": undo}
    broken = {**step, "function": "tests.system.nodes:broken"}
    nodes = {"a": first, "b": broken}
    return {"name": "saga", "entry": "a", "nodes": nodes, "edges": [{"from": "a", "to": "b"}]}


async def dead_letters(bus: Bus) -> list[dict[str, object]]:
    js = bus.nc.jetstream()
    count = (await js.stream_info(bus.names.dead)).state.messages
    return [
        json.loads((await js.get_msg(bus.names.dead, seq)).data or b"")
        for seq in range(1, count + 1)
    ]


async def test_what_could_not_be_undone_is_in_list_result_state_and_dead_letters(
    bus: Bus, platform: Platform
) -> None:
    client = platform.client
    well = await client.start(saga("tests.system.nodes:path_b"))
    assert (await client.result(well, timeout=60)).uncompensated == {}
    assert await dead_letters(bus) == []

    badly = await client.start(saga("tests.system.nodes:broken"))
    result = await client.result(badly, timeout=60)
    assert (result.status, list(result.uncompensated)) == ("failed", ["a:1"])
    assert list((await client.state(badly)).uncompensated) == ["a:1"]
    listed = {run.run_id: run.uncompensated for run in await client.runs()}
    assert listed == {well: (), badly: ("a:1",)}
    (letter,) = await dead_letters(bus)
    reason = letter["reason"]
    assert isinstance(reason, dict)
    assert (reason["code"], reason["where"]) == ("compensation.failed", "a:1")
    assert badly in reason["message"]


def newer(run_id: str) -> bytes:
    told = {"id": "x", "type": "call.progressed", "v": 1, "time": clock.now_text(), "data": {}}
    return json.dumps({"run": run_id, "events": [told]}).encode()


async def test_a_run_whose_log_is_newer_stops_is_refused_and_holds_up_nobody(
    bus: Bus, platform: Platform
) -> None:
    client = platform.client
    gate: dict[str, object] = {
        "name": "gate", "entry": "w", "nodes": {"w": {"type": "wait", "signal": "go"}},
    }  # fmt: skip
    run_id, other = await client.start(gate), await client.start(gate)
    await client.log.append(bus.subjects.fact(run_id), newer(run_id), id="x")
    for again in (False, True):
        if again:  # whoever reads it from its beginning finds the same
            await replace_engine(platform)
        with pytest.raises(PartsongError) as refused:
            await client.signal(run_id, "go", None)
        assert refused.value.problem.code == "engine.too_old"
        state = await client.state(run_id)
        assert state.waits_on is not None
        assert "needs a newer engine" in state.waits_on.reason
        assert state.commits == 1, "nothing was decided on what cannot be known"
    assert [f.code for f in (await client.replay(run_id)).findings] == ["log.newer"]
    await client.signal(other, "go", None)
    assert (await client.result(other, timeout=60)).status == "completed"
    await until(platform, other, "completed")
