"""`ReplayModel`: the same question gets the recorded answer, and any other one fails."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import JsonValue

from partsong.agents import Agent
from partsong.contracts.errors import InvalidInput
from partsong.contracts.graph import AgentSpec, OutputMode, Retry
from partsong.log.journal import read
from partsong.testing import Fails, ReplayModel, ScriptedModel, closed_network
from partsong.testing.platform import Platform
from partsong.tools import ToolRegistry, tool
from partsong.workflow import WorkflowGraph
from tests.sdk.testing import shop
from tests.sdk.testing.recording import TOOLS, again, play, script

AT_ONCE = Retry(attempts=3, initial=0.001, jitter=0)


@pytest.fixture
async def log(tmp_path: Path) -> Path:
    """A recorded run of the shop."""
    with script():
        await play(tmp_path / "log")
    return tmp_path / "log"


async def fails(
    log: Path, graph: WorkflowGraph, why: str, article: str = "tea", tools: ToolRegistry = TOOLS
) -> None:
    """The graph fails, and so does the block, with these words."""
    model = ReplayModel(log)
    model.__enter__()
    result = await again(graph, article, tools)
    with pytest.raises(AssertionError, match=why):
        model.__exit__(None, None, None)
    assert result.status == "failed"
    assert result.error is not None
    assert re.search(why, result.error.message)


async def test_the_same_conversation_gets_the_recorded_answers_as_often_as_it_is_had(
    log: Path,
) -> None:
    with ReplayModel(log) as model, closed_network() as tried:
        first, second = await again(shop.shop()), await again(shop.shop())
    assert first.raise_for_status().state == second.raise_for_status().state
    assert first["shouted"] == "IT COSTS 3.50."
    assert (len(model.asked), model.models, tried) == (4, (shop.MODEL,), [])


async def test_records_will_do_and_a_file_is_not_touched(log: Path) -> None:
    before = list(read(log))
    for source in (log, str(log), before):
        with ReplayModel(source, "r_shop"):
            (await again(shop.shop())).raise_for_status()
    assert list(read(log)) == before


async def test_a_changed_prompt_fails_and_the_difference_is_named(log: Path) -> None:
    await fails(
        log, shop.shop("You sell coffee."), "instructions was 'You sell tea.', is now 'You sell c"
    )
    await fails(log, shop.shop(), "text was 'What does tea cost.', is now .*milk", article="milk")


@pytest.mark.parametrize("mode", ["native", "tool"])
async def test_what_the_platform_offers_beside_the_agents_own_tools_is_known(
    tmp_path: Path, mode: OutputMode
) -> None:
    """Graphs as tools, handoffs, and structured answers by a tool call."""
    schema: dict[str, JsonValue] = {"type": "object", "properties": {"n": {"type": "integer"}}}
    spec = AgentSpec(
        model=shop.MODEL, output_schema=schema, output_mode=mode, handoffs={"other": "Never."}
    )
    graph = WorkflowGraph("count").add_agent("count", spec, prompt="{{article}}")
    graph.add_agent_tool("count", "research", AgentSpec(model="scripted:echo"), description="Asks.")
    graph.add_agent("rest", "scripted:echo").add_edge("count", "rest", on="other")
    with ScriptedModel({"n": 4}, model=shop.MODEL):
        played = await play(tmp_path / "log", built=graph)
    with ReplayModel(tmp_path / "log"), closed_network():
        assert (await again(graph))["count"] == played.values["count"] == {"n": 4}


async def test_what_a_tool_gives_back_is_part_of_the_conversation(log: Path) -> None:
    @tool
    def price_of(article: str) -> float:
        """The price of an article."""
        return 4.5

    await fails(
        log,
        shop.shop(),
        r"messages\[2\].content was '3.5', is now '4.5'",
        tools=ToolRegistry([price_of]),
    )


async def test_another_tool_or_schema_is_another_question(log: Path) -> None:
    more = AgentSpec(
        model=shop.MODEL, instructions="You sell tea.", tools=("price_of", "calculator")
    )
    graph = WorkflowGraph("shop").add_agent("ask", more, prompt="What does {{article}} cost?")
    await fails(log, graph, r"tools\[1\] is new: 'calculator'")
    typed = more.model_copy(update={"tools": ("price_of",), "output_schema": {"type": "object"}})
    graph = WorkflowGraph("shop").add_agent("ask", typed, prompt="What does {{article}} cost?")
    await fails(log, graph, "output_schema was 'null', is now ")


async def test_failed_attempts_are_not_played_and_equal_questions_keep_their_order(
    tmp_path: Path,
) -> None:
    graph = WorkflowGraph("dice").add_agent("one", shop.MODEL, prompt="Roll", retry=AT_ONCE)
    graph.add_agent("two", shop.MODEL, prompt="Roll").add_edge("one", "two")
    with ScriptedModel(Fails("server"), "4", "6", model=shop.MODEL):
        recorded = await graph.execute({}, log=str(tmp_path / "log"))
    with ReplayModel(tmp_path / "log") as model:
        replayed = await graph.execute({})
    assert (replayed["one"], replayed["two"]) == (recorded["one"], recorded["two"]) == ("4", "6")
    assert len(model.asked) == 2


async def test_an_agent_outside_a_graph_is_answered_too(tmp_path: Path) -> None:
    graph = WorkflowGraph("one").add_agent("ask", shop.MODEL, prompt="France?")
    with ScriptedModel("Paris", model=shop.MODEL):
        await graph.execute({}, log=str(tmp_path / "log"))
    with ReplayModel(tmp_path / "log"):
        assert (await Agent(shop.MODEL).call("France?")).text == "Paris"


async def test_a_recording_without_a_model_is_refused(tmp_path: Path) -> None:
    graph = WorkflowGraph("sum").add_tool("add", "calculator", args={"expression": "1 + 1"})
    await graph.execute({}, log=str(tmp_path / "log"))
    with pytest.raises(InvalidInput, match="no model answered"):
        ReplayModel(tmp_path / "log")


@pytest.mark.partsong(load=["tests.sdk.testing.shop"], tools=[shop.price_of])
async def test_it_answers_on_the_platform_what_was_recorded_in_one_process(
    partsong_bus: Platform, log: Path
) -> None:
    with ReplayModel(log):
        run_id = await partsong_bus.client.start(shop.shop(), {"article": "tea"})
        result = await partsong_bus.client.result(run_id, timeout=30)
    assert result.raise_for_status()["shouted"] == "IT COSTS 3.50."
