"""One's own tools, in one process and over a real bus: from modules, from lists, made of methods, named like built-in ones."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

import partsong.tool_runner.app
from partsong.client import Client
from partsong.contracts.errors import InvalidInput
from partsong.contracts.state.results import RunResult
from partsong.runtime.serve import Running, open_context
from partsong.testing import ScriptedModel, ToolCall
from partsong.testing.nats import Bus
from partsong.tools import tool
from partsong.workflow import WorkflowGraph
from tests.system import own_shop
from tests.system.platform import Platform, a_platform

Run = Callable[[WorkflowGraph], Awaitable[RunResult]]

SHOP = "tests.system.own_shop"


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    async with a_platform(bus) as running:
        yield running


@asynccontextmanager
async def a_tool_runner(platform: Platform, **told: Any) -> AsyncIterator[Running]:
    """One more tool-runner: that of the platform has no tools but the built-in ones."""
    settings = replace(platform.settings, loads=(), **told)
    running = await open_context(settings, partsong.tool_runner.app.service(settings))
    try:
        yield running
    finally:
        await running.stop()


@pytest.fixture(params=["local", "bus"])
async def run(request: pytest.FixtureRequest, bus: Bus) -> AsyncIterator[Run]:
    if request.param == "local":
        yield lambda graph: graph.execute()
        return
    async with a_platform(bus) as platform, a_tool_runner(platform) as _:
        loaded = replace(platform.settings, loads=(SHOP,))
        shop = await open_context(loaded, partsong.tool_runner.app.service(loaded))

        async def on_the_bus(graph: WorkflowGraph) -> RunResult:
            run_id = await platform.client.start(graph)
            result = await platform.client.result(run_id, timeout=60)
            assert (await platform.client.replay(run_id)).ok
            return result

        try:
            yield on_the_bus
        finally:
            await shop.stop()


async def test_a_graphs_tools_are_those_it_was_given(run: Run) -> None:
    turns = ToolCall("web_search", {"article": "B-2"}), "42 there are."
    with ScriptedModel(*turns, model="openai:gpt-5.4") as model:
        result = (await run(own_shop.graph())).raise_for_status()
    assert result["sum"] == "mine: 1 + 1"
    assert result["loud"] == "HI"
    assert result["many"] == "42 of A-7"
    assert "A user's module" in str(result["text"])
    assert result["ask"] == "42 there are."
    assert model.asked[1].messages[-1].text == "42 of B-2"
    (shown,) = model.asked[0].tools
    assert shown.description == "How many of an article there are."


async def test_methods_objects_and_partials_of_a_module_are_called(run: Run) -> None:
    result = (await run(own_shop.called())).raise_for_status()
    assert (result["found"], result["called"], result["scaled"]) == (42, 42, 3)


async def test_functions_and_tools_are_given_what_they_depend_on(run: Run) -> None:
    result = (await run(own_shop.depending())).raise_for_status()
    assert result["counted"] == result["asked"] == "42 of A-7"


async def test_a_graph_of_a_module_brings_what_has_no_name_there(run: Run) -> None:
    result = (await run(own_shop.inline)).raise_for_status()
    assert "A user's module" in str(result["text"])


def test_where_they_stand_is_in_the_graph() -> None:
    nodes = own_shop.graph().spec().spec()["nodes"]
    assert isinstance(nodes, dict)
    found = {name: node.get("sources") for name, node in nodes.items() if isinstance(node, dict)}
    assert found == {
        "sum": {"calculator": f"{SHOP}:calculator"},
        "loud": {"plain": f"{SHOP}:plain"},
        "many": {"count": f"{SHOP}:desk.count"},
        "text": {"read_file": f"{SHOP}:reader"},
        "ask": None,
    }
    assert nodes["ask"]["agent"]["sources"] == {"web_search": f"{SHOP}:clerk"}  # type: ignore[index, call-overload]
    assert "sources" not in str(WorkflowGraph().add_tool("c", "calculator").spec().spec())


async def test_what_no_module_has_is_refused_before_anything_runs(platform: Platform) -> None:
    @tool
    def local(text: str) -> str:
        """Local."""
        return text

    other = own_shop.Desk(1)
    for given, name, why in (
        (local, "local", "is local"),
        (other.count, "count", "is a method of a Desk that no module has under a public name"),
    ):
        graph = WorkflowGraph("g", tools=[given]).add_tool("a", name, args={})
        with pytest.raises(InvalidInput) as caught:
            await platform.client.start(graph)
        problem = caught.value.problem
        assert (problem.code, problem.where) == ("tool.not_portable", "nodes.a")
        assert why in problem.message
        assert "`partsong up --load your.module`" in (problem.fix or "")
        assert graph.unplaced_tools() == {name: problem}
    assert await platform.client.runs() == []
    for function in (other.lookup, other, print, lambda state: state):
        with pytest.raises(InvalidInput, match=r"function\.not_portable"):
            WorkflowGraph("g").add_node("a", function).spec()
    with pytest.raises(InvalidInput, match="names no module"):
        WorkflowGraph("g").add_node("a", "lookup").spec()


async def test_a_place_in_the_settings_gives_its_tools(platform: Platform) -> None:
    graph = WorkflowGraph("g").add_tool("a", "count", args={"article": "A-7"})
    run_id = await platform.client.start(graph)
    async with a_tool_runner(platform, tools=(f"{SHOP}:desk.count",)):
        result = await platform.client.result(run_id, timeout=60)
    assert result.raise_for_status()["a"] == "42 of A-7"


async def test_what_a_module_brings_is_logged(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "partsong.tool_runner")
    settings = replace(platform.settings, loads=(SHOP, "tests.system.nothing_in_it"))
    running = await open_context(settings, partsong.tool_runner.app.service(settings))
    await running.stop()
    said = [
        (r.getMessage(), r.__dict__.get("module_name") or r.__dict__.get("tool"))
        for r in caplog.records
    ]
    assert ("loaded module", SHOP) in said
    assert ("loaded module has neither a function nor a tool", "tests.system.nothing_in_it") in said
    assert ("a tool of one's own takes the place of the built-in one", "calculator") in said
    brought = next(r for r in caplog.records if r.__dict__.get("module_name") == SHOP)
    assert brought.__dict__["tools"] == "ask, calculator, read_file, web_search"
    assert "plain" in brought.__dict__["functions"]


async def test_what_no_worker_has_is_said_when_a_run_is_started(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    graph = own_shop.graph().add_node("f", own_shop.desk.lookup).add_edge("ask", "f")
    await platform.client.start(graph)
    said = [r.getMessage() for r in caplog.records if r.name == "partsong.client"]
    load = (
        f"load it: `partsong up --load {SHOP}` or `partsong worker start tool-runner --load {SHOP}`"
    )
    assert f"warning: no worker has tool calculator ({SHOP}:calculator); {load}" in said
    assert f"warning: no worker has function {SHOP}:desk.lookup; {load}; if that" in " ".join(said)
    assert len(said) == 6
    caplog.clear()
    await platform.client.start(graph)
    assert not [r for r in caplog.records if r.name == "partsong.client"], "it was just said"
    lacks = {problem.where for problem in await platform.client.lacking(graph)}
    async with a_tool_runner(platform, tools=(f"{SHOP}:plain",)):
        some = {problem.where for problem in await platform.client.lacking(graph)}
    assert lacks - some == {f"{SHOP}:plain"}


async def test_that_no_worker_is_there_at_all_is_said(bus: Bus) -> None:
    graph = own_shop.graph().add_node("f", own_shop.desk.lookup).add_edge("ask", "f")
    async with Client(bus.url, prefix=bus.subjects.prefix) as client:
        runner, gateway = await client.lacking(graph)
        assert await client.lacking(WorkflowGraph("t").add_transform("t", {"a": "1"})) == ()
    assert runner.code == gateway.code == "worker.none"
    assert "no tool-runner is running, and the graph calls function" in runner.message
    assert f"`partsong worker start tool-runner --load {SHOP}`" in (runner.fix or "")
    assert "no agent-gateway is running, and the graph asks a model" in gateway.message


async def test_a_graph_whose_workers_have_all_is_started_without_a_word(
    platform: Platform, caplog: pytest.LogCaptureFixture
) -> None:
    graph = WorkflowGraph("sum").add_tool("sum", "calculator", args={"expression": "1 + 1"})
    run_id = await platform.client.start(graph)
    assert (await platform.client.result(run_id, timeout=60))["sum"] == "2"
    assert not [r for r in caplog.records if r.name == "partsong.client"]
