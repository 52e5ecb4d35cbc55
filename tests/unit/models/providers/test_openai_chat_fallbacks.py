"""What a compatible server does not know or cannot find: it is asked otherwise, or the error says what to do."""

from __future__ import annotations

import json
import logging
import socket

import pytest
from pydantic import BaseModel

from partsong.agents import Agent, AgentFailed, AgentLimits, OpenAIAgent
from partsong.contracts.events import AgentTurnCompleted, ConversationCompacted
from partsong.testing import FakeLLM
from partsong.testing.fake_llm import Answer, Ask, Call, Deny, Finish, Manners, Reply, Say
from partsong.tools import tool
from partsong.workflow import AgentSpec, WorkflowGraph
from tests.support.agents import AT_ONCE


class Verdict(BaseModel):
    """What is asked for."""

    fine: bool


def _verdict(_ask: Ask) -> Reply:
    return Answer((Say('```json\n{"fine": true}\n```'), Finish()))


def _agent(llm: FakeLLM, model: str = "small", path: str = "/v1", **options: object) -> OpenAIAgent:
    return OpenAIAgent(model, base_url=llm.url + path, retry=AT_ONCE, **options)  # type: ignore[arg-type]


async def test_a_server_that_knows_no_schema_is_told_it_in_words_and_not_asked_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    manners = Manners(refuses=frozenset({"response_format"}))
    with caplog.at_level(logging.WARNING, "partsong.models"):
        async with FakeLLM(_verdict, manners=manners) as llm:
            for _ in range(2):
                result = await _agent(llm, output=Verdict).call("Is tea fine?")
                assert result.output == Verdict(fine=True)
            bodies = [call.body for call in llm.calls]
    assert ["response_format" in body for body in bodies] == [True, False, False]
    assert "fits this JSON Schema" in json.dumps(bodies[1]["messages"])
    (said,) = caplog.records
    assert said.__dict__["unknown"] == ["response_format"]


async def test_a_server_that_knows_neither_schema_nor_options_of_streams_is_asked_without_both() -> (
    None
):
    manners = Manners(refuses=frozenset({"response_format", "stream_options"}), usage="never")
    async with FakeLLM(_verdict, manners=manners) as llm:
        result = await _agent(llm, output=Verdict).call("Is tea fine?")
        assert not {"response_format", "stream_options"} & llm.calls[-1].body.keys()
    assert result.output == Verdict(fine=True)
    assert result.usage.estimated


async def test_a_refusal_of_something_else_is_not_tried_again() -> None:
    async with FakeLLM(lambda _ask: Deny(400, "invalid_request", "the context is full")) as llm:
        with pytest.raises(AgentFailed, match="the context is full"):
            await _agent(llm, output=Verdict).call("Is tea fine?")
        assert len(llm.calls) == 1


async def test_a_refusal_that_stays_is_said_and_nothing_is_remembered() -> None:
    async with FakeLLM(lambda _ask: Deny(400, "invalid_request", "bad schema of tool t")) as llm:
        async with _agent(llm, output=Verdict) as agent:
            for _ in range(2):
                with pytest.raises(AgentFailed, match="bad schema"):
                    await agent.call("Is tea fine?")
        assert ["response_format" in call.body for call in llm.calls] == [True, False] * 2


async def test_an_address_without_v1_is_told_the_right_one() -> None:
    async with FakeLLM(_verdict, manners=Manners(under_v1=True)) as llm:
        with pytest.raises(AgentFailed) as caught:
            await _agent(llm, path="").call("q")
        assert f"{llm.url}/v1" in (caught.value.problem.fix or "")
        assert (await _agent(llm).call("q")).text


async def test_an_address_that_says_too_much_is_told_so() -> None:
    async with FakeLLM(lambda _ask: Deny(404, "invalid_request", "Not Found")) as llm:
        with pytest.raises(AgentFailed) as caught:
            await _agent(llm, path="/v1/chat/completions").call("q")
    assert "leave /chat/completions out" in (caught.value.problem.fix or "")


async def test_a_model_that_is_not_there_is_named_with_where_to_look() -> None:
    async with FakeLLM(_verdict, manners=Manners(models=("small",))) as llm:
        with pytest.raises(AgentFailed, match="'smal' not found") as caught:
            await _agent(llm, "smal").call("q")
        fix = caught.value.problem.fix or ""
    assert f"{llm.url}/v1/models" in fix
    assert "ollama pull smal" in fix


def _closed_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("model", ["openai-chat:m", "openai:m", "anthropic:m", "google:m"])
async def test_a_server_that_does_not_run_is_named_with_its_address(model: str) -> None:
    address = f"http://127.0.0.1:{_closed_port()}/v1"
    with pytest.raises(AgentFailed) as caught:
        await Agent(model, api_key="fake", base_url=address, retry=AT_ONCE).call("q")
    problem = caught.value.problem
    assert problem.code == "provider.connection"
    assert address in problem.message
    assert address in (problem.fix or "")


@tool(side_effect="read")
def look(page: int) -> str:
    """Looks up a page."""
    return f"page {page}"


def _looking(ask: Ask) -> Reply:
    if ask.nth < 6:
        return Answer((Call("look", f'{{"page": {ask.nth}}}'), Finish("tool_calls")))
    return Answer((Say("done"), Finish()))


SILENT = Manners(usage="never")
LONG = "word " * 2400


async def test_limits_see_the_prompt_of_a_server_that_counts_nothing() -> None:
    async with FakeLLM(_looking, manners=SILENT) as llm:
        agent = _agent(llm, tools=[look], limits=AgentLimits(tokens=4000))
        with pytest.raises(AgentFailed) as caught:
            await agent.call(LONG)
    assert caught.value.problem.code == "agent.max_tokens"


@pytest.mark.parametrize(
    ("more", "ends"),
    [
        ({"compact_at": 1000}, "completed"),
        ({"max_total_tokens": 4000}, "failed"),
        ({"max_cost": 0.005}, "failed"),
    ],
)
async def test_so_do_compaction_and_limits_of_a_graph_and_the_price(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, float], ends: str
) -> None:
    spec = {"model": "openai-chat:gpt-5.4", "tools": ["look"], "max_tokens": 50, **more}
    graph = WorkflowGraph("g", tools=[look])
    graph.add_agent("a", AgentSpec.model_validate(spec))
    async with FakeLLM(_looking, manners=SILENT) as llm:
        for name, value in llm.env().items():
            monkeypatch.setenv(name, value)
        run = await graph.execute({"input": LONG})
    assert run.status == ends
    assert ("compact_at" in more) is any(isinstance(e, ConversationCompacted) for e in run.events)
    for turn in (event for event in run.events if isinstance(event, AgentTurnCompleted)):
        assert turn.usage.estimated
        assert turn.usage.input_total > 30
        assert turn.usage.cost
