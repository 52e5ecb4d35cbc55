"""Detached subgraphs on the bus: runs of their own, which their parents get an answer from whatever dies in between."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import JsonValue

from partsong.client.requests import ask
from partsong.contracts.errors import InvalidInput
from partsong.contracts.events import Parent, RunOptions
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.wire.requests import RunRequest
from partsong.engine.commands import runs, signals
from partsong.testing.nats import Bus
from tests.system.engines import dies_after, replace_engine, signal, until
from tests.system.platform import Platform, a_platform

GATE: dict[str, JsonValue] = {
    "name": "gate",
    "entry": "wait",
    "nodes": {
        "wait": {"type": "wait", "signal": "go"},
        "done": {"type": "transform", "set": {"answer": "state.question + 1"}},
    },
    "edges": [{"from": "wait", "to": "done"}],
}


def asking(inner: dict[str, JsonValue], **node: JsonValue) -> dict[str, JsonValue]:
    """A graph that has `inner` run by itself and takes its answer."""
    sub: dict[str, JsonValue] = {
        "type": "subgraph",
        "graph": inner,
        "detached": True,
        "inputs": {"question": "{{asked}}"},
        "outputs": {"got": "answer"},
        **node,
    }
    return {"name": "asking", "nodes": {"sub": sub}}


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    async with a_platform(bus) as running:
        yield running


async def test_a_detached_subgraph_is_a_run_of_its_own_and_its_answer_comes_back(
    platform: Platform,
) -> None:
    run_id = await platform.client.start(
        asking(GATE), {"asked": 41}, run_id="r_p", labels={"k": "v"}
    )
    child = await until(platform, "r_p--sub-1", "waiting")
    assert child.options.labels == {"k": "v"}
    waiting = (await until(platform, run_id, "waiting")).waits_on
    assert waiting is not None
    assert (waiting.on, waiting.what) == ("run", "sub:1")
    await signal(platform, child.run_id)
    result = await platform.client.result(run_id, timeout=30)
    assert (result.status, result.state) == ("completed", {"asked": 41, "got": 42})
    assert (await platform.client.replay(run_id)).ok


async def test_cancelling_the_parent_cancels_the_child(platform: Platform) -> None:
    run_id = await platform.client.start(asking(GATE), {"asked": 1}, run_id="r_p")
    await until(platform, "r_p--sub-1", "waiting")
    await platform.client.cancel(run_id)
    child = await platform.client.result("r_p--sub-1", timeout=30)
    assert child.status == "cancelled"
    assert child.error is not None
    assert "r_p does not wait" in child.error.message


async def test_a_child_that_fails_fails_its_node_with_its_own_error(platform: Platform) -> None:
    broken: dict[str, JsonValue] = {
        "name": "broken",
        "entry": "x",
        "nodes": {"x": {"type": "function", "function": "tests.system.nodes:broken"}},
    }
    run_id = await platform.client.start(asking(broken, outputs=None), {"asked": 1})
    result = await platform.client.result(run_id, timeout=30)
    assert result.status == "failed"
    assert result.error is not None
    assert "ValueError: always" in result.error.message


async def test_a_child_that_is_refused_at_the_door_fails_its_node(platform: Platform) -> None:
    long: dict[str, JsonValue] = {
        "type": "subgraph",
        "graph": GATE,
        "detached": True,
        "inputs": {"question": "{{asked}}"},
    }
    graph: dict[str, JsonValue] = {"name": "asking", "nodes": {"n" * 60: long}}
    run_id = await platform.client.start(graph, {"asked": 1}, run_id="r_" + "p" * 150)
    result = await platform.client.result(run_id, timeout=30)
    assert result.error is not None
    assert result.error.code == "id.invalid"


async def test_nobody_can_pose_as_a_child(platform: Platform) -> None:
    posing = RunRequest(
        id="q_pose",
        run_id="r_mine",
        graph=GATE,
        options=RunOptions(parent=Parent(run_id="r_p", call_id="sub:1")),
    )
    with pytest.raises(InvalidInput, match="waits for r_p--sub-1 at sub:1, not for r_mine"):
        await ask(
            platform.client.nats, platform.client.subjects, "run", posing.id, posing, within=20
        )


async def test_a_child_that_lost_a_race_is_cancelled(platform: Platform) -> None:
    race: dict[str, JsonValue] = {
        "name": "race",
        "entry": "begin",
        "nodes": {
            "begin": {"type": "transform", "set": {"asked": "1"}},
            "slow": {"type": "subgraph", "graph": GATE, "detached": True},
            "fast": {"type": "wait", "signal": "go"},
            "first": {"type": "transform", "set": {"won": "'fast'"}, "join": "first"},
        },
        "edges": [
            {"from": "begin", "to": "slow"},
            {"from": "begin", "to": "fast"},
            {"from": "slow", "to": "first"},
            {"from": "fast", "to": "first"},
        ],
    }
    run_id = await platform.client.start(race, run_id="r_p")
    await until(platform, "r_p--slow-1", "waiting")
    await signal(platform, run_id)
    assert (await platform.client.result(run_id, timeout=30))["won"] == "fast"
    assert (await platform.client.result("r_p--slow-1", timeout=30)).status == "cancelled"


async def test_a_child_whose_parents_engine_died_before_it_asked_is_asked_for_by_the_next_one(
    bus: Bus, platform: Platform
) -> None:
    await platform.services["graph-engine"].stop()
    graph = parse_graph(asking(GATE))
    await dies_after(
        bus,
        "r_p",
        lambda _state, now: runs.start("r_p", graph, {"asked": 41}, RunOptions(), "q", now),
    )
    await replace_engine(platform)
    await until(platform, "r_p--sub-1", "waiting")
    await signal(platform, "r_p--sub-1")
    assert (await platform.client.result("r_p", timeout=30))["got"] == 42


async def test_an_answer_that_died_with_its_engine_is_given_again(
    bus: Bus, platform: Platform
) -> None:
    run_id = await platform.client.start(asking(GATE), {"asked": 41}, run_id="r_p")
    child = await until(platform, "r_p--sub-1", "waiting")
    await platform.services["graph-engine"].stop()
    await dies_after(
        bus, child.run_id, lambda state, now: signals.signal(state, "go", None, "q", now)
    )
    assert (await platform.client.state(child.run_id)).status == "completed"
    assert not (await platform.client.state(run_id)).ended
    await replace_engine(platform)
    assert (await platform.client.result(run_id, timeout=30))["got"] == 42


async def test_a_child_whose_parent_ended_as_its_engine_died_is_cancelled(
    bus: Bus, platform: Platform
) -> None:
    await platform.client.start(asking(GATE), {"asked": 41}, run_id="r_p")
    child = await until(platform, "r_p--sub-1", "waiting")
    await platform.services["graph-engine"].stop()
    await dies_after(bus, "r_p", lambda state, now: runs.cancel(state, "enough", "q", now))
    await replace_engine(platform)
    assert (await platform.client.result(child.run_id, timeout=30)).status == "cancelled"
