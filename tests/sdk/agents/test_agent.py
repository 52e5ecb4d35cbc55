"""Agents as a library: the real SDKs, in front of a fake, by way of the gateway's own code."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from partsong.agents import (
    Agent,
    AgentFailed,
    ClaudeAgent,
    Conversation,
    GeminiAgent,
    OpenAIAgent,
    ToolEnabledAgent,
)
from partsong.contracts.errors import Conflict
from partsong.contracts.talk.chunks import TERMINAL, Text, ToolEnd
from partsong.contracts.talk.messages import ToolMessage
from partsong.testing.fake_llm import FakeLLM
from partsong.tools import ToolRegistry
from partsong.tools.builtin.calculator import calculator
from tests.support.agents import PATIENCE, WIRES, address, asking, saying


@pytest.mark.parametrize("wire", WIRES)
async def test_an_agent_answers_with_text_and_usage_on_every_wire(llm: FakeLLM, wire: str) -> None:
    result = await asking(llm, f"{wire}:text:3", instructions="Be brief.").call("Hello")
    assert str(result) == result.text == result.output == f"{result}" == "the quick brown"
    assert "quick" in result
    assert result.usage.input_total > 0
    assert result.usage.output_total > 0
    assert (result.turns, result.tool_calls) == (1, 0)
    (asked,) = llm.calls
    assert (asked.ask.prompt, asked.ask.system) == ("Hello", "Be brief.")


@pytest.mark.parametrize("wire", WIRES)
async def test_a_tool_is_called_and_its_result_goes_back_on_every_wire(
    llm: FakeLLM, wire: str
) -> None:
    agent = asking(llm, f"{wire}:tool", tools=[calculator])
    result = await agent.call("123 * 456")
    assert "The tool says: 56088" in result
    assert (result.turns, result.tool_calls, len(llm.calls)) == (2, 1, 2)
    assert [message.role for message in result.messages] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]


@pytest.mark.parametrize(
    ("agent", "model"),
    [(ClaudeAgent, "text:2"), (OpenAIAgent, "openai:text:2"), (GeminiAgent, "text:2")],
)
async def test_a_vendors_agent_needs_only_a_key(
    llm: FakeLLM, monkeypatch: pytest.MonkeyPatch, agent: type[Agent], model: str
) -> None:
    for name, value in llm.env().items():
        if name.endswith("_BASE_URL"):
            monkeypatch.setenv(name, value)
    result = await agent(model, api_key="mine").call("Hello")
    assert result.text == "the quick"
    assert "mine" in str(llm.calls[0].headers)


async def test_a_compatible_server_needs_only_an_address(
    llm: FakeLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And it does not get the key that the environment holds for OpenAI."""
    monkeypatch.setenv("OPENAI_API_KEY", "secret-of-openai")
    result = await OpenAIAgent("text:2", base_url=address(llm, "openai")).call("Hello")
    assert result.model == "openai-chat:text:2"
    assert llm.calls[0].wire == "openai-chat"
    assert "secret-of-openai" not in str(llm.calls[0].headers)


async def test_without_a_key_the_scripted_provider_calls_the_calculator() -> None:
    registry = ToolRegistry()
    agent = ToolEnabledAgent(tool_registry=registry)
    result = await agent.call("What is 123 * 456?")
    assert "56088" in result
    assert result.model == "scripted:tool"
    (used,) = [message for message in result.messages if isinstance(message, ToolMessage)]
    assert (used.name, used.content) == ("calculator", "56088")


async def test_a_vendors_agent_without_a_key_says_which_one_is_missing() -> None:
    with pytest.raises(AgentFailed, match="ANTHROPIC_API_KEY") as failed:
        await ClaudeAgent().call("Hello")
    assert failed.value.problem.code == "provider.no_key"


async def test_a_stream_yields_text_that_is_the_answer(llm: FakeLLM) -> None:
    stream = asking(llm, "openai-chat:text:50").call_stream("Explain Python")
    pieces = [piece async for piece in stream]
    assert all(isinstance(piece, str) for piece in pieces)
    assert "".join(pieces) == stream.result.text
    assert stream.result.usage.output_total > 0


async def test_a_stream_is_text_of_the_model_only() -> None:
    stream = ToolEnabledAgent(tool_registry=ToolRegistry()).call_stream("What is 2 + 2?")
    said = "".join([piece async for piece in stream])
    assert said == "I will use calculator.The result is 4."
    assert stream.result.text == "The result is 4."


async def test_chunks_are_everything_with_one_end_per_turn(llm: FakeLLM) -> None:
    stream = asking(llm, "openai-chat:tool", tools=[calculator]).call_stream("1 + 1")
    chunks = [chunk async for chunk in stream.chunks()]
    assert {"start", "text", "tool_start", "tool_args", "tool_end", "usage", "end"} <= {
        chunk.kind for chunk in chunks
    }
    turns = dict.fromkeys(chunk.call_id for chunk in chunks)
    assert list(turns) == ["agent:1/t1", "agent:1/t2"]
    for turn in turns:
        own = [chunk for chunk in chunks if chunk.call_id == turn]
        assert [chunk.seq for chunk in own] == list(range(len(own)))
        assert [isinstance(chunk, TERMINAL) for chunk in own].count(True) == 1
    assert [c.args for c in chunks if isinstance(c, ToolEnd)] == [{"expression": "1 + 1"}]


async def test_a_stream_is_read_once_and_has_its_result_at_the_end() -> None:
    stream = Agent().call_stream("Say this.")
    with pytest.raises(Conflict, match="stream_open"):
        _ = stream.result
    assert [piece async for piece in stream]
    with pytest.raises(Conflict, match="stream_read"):
        await anext(stream.chunks())
    assert stream.result.text == "Say this."


async def test_leaving_a_stream_closes_the_providers_connection(llm: FakeLLM) -> None:
    async with asyncio.timeout(PATIENCE):
        stream = asking(llm, "openai-chat:stall").call_stream("Hello")
        async with aclosing(stream.chunks()) as chunks:
            async for chunk in chunks:
                if isinstance(chunk, Text):
                    break
        await llm.calls[0].disconnected.wait()


async def test_breaking_out_of_the_text_closes_the_providers_connection(llm: FakeLLM) -> None:
    async with asyncio.timeout(PATIENCE):
        async for _ in asking(llm, "openai-chat:stall").call_stream("Hello"):
            break
        await llm.calls[0].disconnected.wait()


async def test_cancelling_a_call_closes_the_providers_connection(llm: FakeLLM) -> None:
    async with asyncio.timeout(PATIENCE):
        calling = asyncio.create_task(asking(llm, "openai-chat:stall").call("Hello"))
        (asked,) = await llm.wait_calls(1)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await asked.disconnected.wait()


async def test_calls_of_an_open_agent_share_a_connection(llm: FakeLLM) -> None:
    agent = asking(llm)
    async with agent, agent:
        await agent.call("one")
        (first,) = llm._connections.values()
        await agent.call("two")
        assert list(llm._connections.values()) == [first]
    async with asyncio.timeout(PATIENCE):
        await first.gone.wait()


async def test_an_agent_works_in_one_event_loop_after_another() -> None:
    agent = Agent()
    answers = [
        await asyncio.to_thread(lambda: asyncio.run(agent.call("Say this.")).text) for _ in range(2)
    ]
    assert answers == ["Say this."] * 2


async def test_a_conversation_remembers() -> None:
    async with FakeLLM(saying("I am Ann.", "You said hello.")) as llm:
        agent, chat = asking(llm), Conversation()
        await agent.call("Hello, who are you?", conversation=chat)
        await agent.call("What did I say?", conversation=chat)
    assert [message.role for message in chat.messages] == ["user", "assistant"] * 2
    sent = llm.calls[1].body["messages"]
    assert isinstance(sent, list)
    assert "I am Ann." in str(sent)
    assert "Hello, who are you?" in str(sent)


async def test_calls_that_are_made_at_once_take_turns_in_a_conversation() -> None:
    agent, chat = Agent("scripted:echo"), Conversation()
    async with asyncio.TaskGroup() as group:
        for word in ("one", "two", "three"):
            group.create_task(agent.call(word, conversation=chat))
    assert [message.role for message in chat.messages] == ["user", "assistant"] * 3


async def test_a_failed_call_leaves_the_conversation_as_it_was(llm: FakeLLM) -> None:
    agent, chat = asking(llm, "openai-chat:refuse"), Conversation()
    with pytest.raises(AgentFailed) as failed:
        await agent.call("Do it", conversation=chat)
    assert chat.messages == ()
    assert failed.value.problem.code == "agent.refusal"
    assert "I will not do that." in failed.value.problem.message
    assert [message.role for message in failed.value.messages] == ["user"]
    assert failed.value.usage.output_total > 0


async def test_a_conversation_survives_as_text() -> None:
    chat = Conversation()
    await ToolEnabledAgent(tool_registry=ToolRegistry()).call("What is 2 * 3?", conversation=chat)
    again = Conversation.from_json(chat.to_json())
    assert again.messages == chat.messages
    fork = again.fork()
    await Agent().call("And now?", conversation=fork)
    assert len(again.messages) < len(fork.messages)


@pytest.mark.parametrize(
    ("scenario", "code"),
    [("length", "agent.length"), ("blocked", "agent.blocked"), ("r401", "provider.auth")],
)
async def test_what_is_no_answer_raises(llm: FakeLLM, scenario: str, code: str) -> None:
    with pytest.raises(AgentFailed) as failed:
        await asking(llm, f"openai-chat:{scenario}").call("Hello")
    assert failed.value.problem.code == code
