"""Agents that call graphs and hand over, in one process and over a real bus; conversations that a thread remembers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from pydantic import JsonValue

from partsong.agents import Agent
from partsong.cli.explain import told, turns_of
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.results import RunResult
from partsong.contracts.talk.messages import MESSAGES
from partsong.testing import ScriptedModel, ToolCall
from partsong.testing.nats import Bus
from partsong.workflow import AgentSpec, WorkflowGraph
from tests.system.platform import Platform, a_platform

Run = Callable[[WorkflowGraph, dict[str, JsonValue]], Awaitable[RunResult]]


@pytest.fixture
async def platform(bus: Bus) -> AsyncIterator[Platform]:
    async with a_platform(bus) as running:
        yield running


@pytest.fixture(params=["local", "bus"])
def run(request: pytest.FixtureRequest) -> Run:
    if request.param == "local":
        return lambda graph, input: graph.execute(input)
    platform: Platform = request.getfixturevalue("platform")

    async def on_the_bus(graph: WorkflowGraph, input: dict[str, JsonValue]) -> RunResult:
        run_id = await platform.client.start(graph, input)
        return await platform.client.result(run_id, timeout=30)

    return on_the_bus


def lead() -> WorkflowGraph:
    graph = WorkflowGraph("team").add_agent("lead", "lead:model", prompt="{{question}}")
    return graph.add_agent_tool(
        "lead", "research", AgentSpec(model="helper:model"), description="Finds things out."
    )


async def test_an_agent_asks_another_one_as_a_tool(run: Run) -> None:
    with (
        ScriptedModel(
            ToolCall("research", {"input": "What is love?"}), "It is 42.", model="lead:model"
        ) as boss,
        ScriptedModel("42", model="helper:model") as helper,
    ):
        result = await run(lead(), {"question": "love?"})
    assert result.raise_for_status()["lead"] == "It is 42."
    assert helper.asked[0].messages[-1].text == "What is love?"
    assert boss.asked[1].messages[-1].text == "42"
    assert set(result) == {"question", "lead"}


async def test_an_answer_with_a_schema_comes_as_a_tool_call_where_it_is_to(run: Run) -> None:
    schema: dict[str, JsonValue] = {"type": "object", "properties": {"n": {"type": "integer"}}}
    spec = AgentSpec(model="lead:model", output_schema=schema, output_mode="tool")
    graph = WorkflowGraph("count").add_agent("count", spec, prompt="{{q}}")
    with ScriptedModel({"n": "four"}, {"n": 4}, model="lead:model") as model:
        result = await run(graph, {"q": "How many?"})
    assert result.raise_for_status()["count"] == {"n": 4}
    assert [[tool.name for tool in asked.tools] for asked in model.asked] == [["final_answer"]] * 2
    assert [asked.output_schema for asked in model.asked] == [None, None]
    assert '"four" is not of type "integer"' in model.asked[1].messages[-1].text


def desk() -> WorkflowGraph:
    front = AgentSpec(model="front:model", handoffs={"billing": "Questions about money."})
    graph = WorkflowGraph("desk", reducers={"talk": "messages"}, memory=["talk"])
    graph.add_agent("front", front, prompt="{{q}}", history="talk")
    graph.add_agent("billing", "billing:model", prompt="Go on.", history="talk")
    return graph.add_edge("front", "billing", on="billing")


async def test_an_agent_hands_over_with_the_whole_conversation(run: Run) -> None:
    call = ToolCall("transfer_to_billing", {"message": "She asks for her bill."})
    with (
        ScriptedModel(call, model="front:model"),
        ScriptedModel("5 $.", model="billing:model") as billing,
    ):
        result = await run(desk(), {"q": "my bill?"})
    assert result.raise_for_status()["billing"] == "5 $."
    assert [message.role for message in billing.asked[0].messages] == [
        "user", "assistant", "tool", "user",
    ]  # fmt: skip


async def test_a_threads_next_run_goes_on_with_the_conversation(platform: Platform) -> None:
    with ScriptedModel("Hello Ann!", "You are Ann.", model="front:model") as front:
        for question in ("I am Ann.", "Who am I?"):
            run_id = await platform.client.start(desk(), {"q": question}, thread="t1")
            result = await platform.client.result(run_id, timeout=30)
    assert result["front"] == "You are Ann."
    texts = [message.text for message in front.asked[1].messages if message.role == "user"]
    assert texts == ["I am Ann.", "Who am I?"]
    talk = MESSAGES.validate_python(result["talk"])
    assert [message.role for message in talk] == ["user", "assistant", "user", "assistant"]
    assert (await platform.client.replay(run_id)).ok


async def test_a_thread_without_memory_begins_anew(platform: Platform) -> None:
    graph = WorkflowGraph("plain").add_agent("a", "front:model", prompt="{{q}}")
    with ScriptedModel("one", "two", model="front:model") as front:
        for question in ("first", "second"):
            run_id = await platform.client.start(graph, {"q": question}, thread="t2")
            await platform.client.result(run_id, timeout=30)
    assert [len(asked.messages) for asked in front.asked] == [1, 1]


def shout(text: str) -> str:
    """Say it loudly.

    Args:
        text: What to say.
    """
    return text.upper()


async def test_in_one_process_an_agent_object_answers_with_its_own_tools() -> None:
    with ScriptedModel(ToolCall("shout", {"text": "hi"}), "done", model="own:model") as model:
        agent = Agent("own:model", tools=[shout])
        graph = WorkflowGraph("own").add_agent("a", agent, prompt="say hi")
        result = await graph.execute()
    assert result.raise_for_status()["a"] == "done"
    assert model.asked[1].messages[-1].text == "HI"


async def test_in_one_process_a_graph_brings_tools_for_all_its_nodes() -> None:
    graph = WorkflowGraph("tools", tools=[shout])
    graph.add_tool("loud", "shout", args={"text": "{{word}}"})
    assert (await graph.execute({"word": "hi"}))["loud"] == "HI"


def test_a_graph_with_agents_in_agents_is_the_same_as_data() -> None:
    for built in (lead().compile(), desk().compile()):
        assert parse_graph(built.spec()) == built


async def test_a_routed_turn_says_why_in_the_log_and_on_the_command_line(run: Run) -> None:
    graph = WorkflowGraph("routed").add_agent("a", "auto", prompt="Say hello.")
    result = await run(graph, {})
    turns = turns_of(result.raise_for_status().events)
    assert [turn.routed.model for turn in turns if turn.routed] == ["scripted:text"]
    text = "\n".join(line for turn in turns for line in told(turn))
    assert "a:1/t1: scripted:text, effort" in text
    assert "scripted:text: chosen" in text
    assert "answered by text:" in text
    assert turns[0].record()["model"] == "scripted:text"
