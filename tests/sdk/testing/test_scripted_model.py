"""`ScriptedModel`: answers from a list, for agents and graphs alike."""

from __future__ import annotations

import pytest
from pydantic import BaseModel

from partsong.agents import Agent, AgentFailed
from partsong.contracts.errors import Conflict, InvalidInput
from partsong.contracts.graph import Retry
from partsong.testing import Fails, ScriptedModel, ToolCall, Turn
from partsong.testing.platform import Platform
from partsong.testing.plugin import Script
from partsong.workflow import WorkflowGraph
from tests.sdk.testing import shop

AT_ONCE = Retry(attempts=3, initial=0.001, jitter=0)


class City(BaseModel):
    name: str
    rivers: int


async def test_an_agent_gets_the_answers_in_order_and_the_questions_are_kept() -> None:
    with ScriptedModel("Paris", "Oslo") as model:
        agent = Agent(model.model, instructions="Be brief.")
        assert (await agent.call("France?")).text == "Paris"
        assert (await agent.call("Norway?")).text == "Oslo"
    assert [asked.messages[-1].text for asked in model.asked] == ["France?", "Norway?"]
    assert model.asked[0].instructions == "Be brief."


async def test_a_streaming_agent_gets_an_answer_in_pieces() -> None:
    with ScriptedModel("one two  three\n") as model:
        pieces = [piece async for piece in Agent(model.model).call_stream("Count")]
    assert len(pieces) > 1
    assert "".join(pieces) == "one two  three\n"


async def test_tools_are_called_and_their_results_come_back_as_a_question() -> None:
    script = (
        [ToolCall("price_of", {"article": "tea"}), ToolCall("price_of", {"article": "milk"})],
        Turn("7 in all", reasoning="3.5 + 3.5"),
    )
    with ScriptedModel(*script) as model:
        result = await Agent(model.model, tools=[shop.price_of]).call("Both?")
    assert (result.text, result.tool_calls, result.model) == ("7 in all", 2, "test:model")
    assert [message.text for message in model.asked[1].messages[-2:]] == ["3.5", "3.5"]


@pytest.mark.parametrize("mode", ["native", "tool"])
async def test_a_value_is_structured_output_however_the_agent_wants_it(mode: str) -> None:
    city = City(name="Paris", rivers=1)
    with ScriptedModel(city, {"name": "Oslo", "rivers": 2}) as model:
        agent = Agent(model.model, mode="tool" if mode == "tool" else "native")
        assert (await agent.call("France?", output=City)).output == city
        assert (await agent.call("Norway?", output=City)).output == City(name="Oslo", rivers=2)


async def test_a_failure_is_retried_or_not_by_its_class() -> None:
    with ScriptedModel(Fails("overloaded"), Fails("truncated", after="Par"), "Paris") as model:
        assert (await Agent(model.model, retry=AT_ONCE).call("France?")).text == "Paris"
    with (
        ScriptedModel(Fails("auth", "no such key")) as model,
        pytest.raises(AgentFailed, match="no such key"),
    ):
        await Agent(model.model, retry=AT_ONCE).call("France?")
    assert len(model.asked) == 1


async def test_a_question_too_many_fails_the_turn_and_the_block() -> None:
    model = ScriptedModel("Paris")

    async def swallows_the_failure() -> None:
        with model:
            await Agent(model.model).call("France?")
            with pytest.raises(AgentFailed, match="this is question 2"):
                await Agent(model.model, retry=AT_ONCE).call("Norway?")

    with pytest.raises(AssertionError, match=r"has 1 answers, this is question 2: 'Norway\?'"):
        await swallows_the_failure()
    assert len(model.asked) == 2


async def test_an_answer_too_many_fails_the_block() -> None:
    model = ScriptedModel("Paris", "Oslo")
    model.__enter__()
    await Agent(model.model).call("France?")
    with pytest.raises(AssertionError, match="asked 1 times, its script has 1 answers more"):
        model.__exit__(None, None, None)


async def test_it_stands_in_for_a_vendors_model_and_only_for_that_and_only_for_its_block() -> None:
    with ScriptedModel("Paris", model=shop.MODEL):
        assert (await Agent(shop.MODEL).call("France?")).model == shop.MODEL
        with pytest.raises(AgentFailed, match="ANTHROPIC_API_KEY is not set"):
            await Agent("anthropic:other").call("France?")
    with pytest.raises(AgentFailed, match="ANTHROPIC_API_KEY is not set"):
        await Agent(shop.MODEL).call("France?")
    with pytest.raises(InvalidInput, match="test:model"):
        Agent("test:model")


def test_one_model_has_one_stand_in_at_a_time() -> None:
    with (
        ScriptedModel(model="test:a"),
        ScriptedModel(model="test:b"),
        pytest.raises(Conflict, match="another provider stands in for test:a"),
    ):
        ScriptedModel(model="test:a").__enter__()
    with ScriptedModel(model="test:a"):
        pass
    with pytest.raises(InvalidInput, match="not provider:model"):
        ScriptedModel(model="clerk").__enter__()


async def test_a_graph_in_one_process_asks_it(scripted_model: Script) -> None:
    model = scripted_model("3.50 euros", model=shop.MODEL)
    graph = WorkflowGraph("plain").add_agent("ask", shop.MODEL, prompt="{{q}}")
    result = await graph.execute({"q": "Tea?"})
    assert result.raise_for_status()["ask"] == "3.50 euros"
    assert model.asked[0].messages[-1].text == "Tea?"


@pytest.mark.partsong(load=["tests.sdk.testing.shop"], tools=[shop.price_of])
async def test_a_graph_on_the_platform_asks_it(
    partsong_bus: Platform, scripted_model: Script
) -> None:
    model = scripted_model(ToolCall("price_of", {"article": "tea"}), "3.50", model=shop.MODEL)
    run_id = await partsong_bus.client.start(shop.shop(), {"article": "tea"})
    result = await partsong_bus.client.result(run_id, timeout=30)
    assert result.raise_for_status()["shouted"] == "3.50"
    assert [tool.name for tool in model.asked[0].tools] == ["price_of"]
    assert model.asked[1].messages[-1].text == "3.5"
