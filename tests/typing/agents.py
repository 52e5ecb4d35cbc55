"""What type checkers see of the agents' public names; read by mypy and pyright, not run."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import assert_type

from pydantic import BaseModel

from partsong.agents import (
    Agent,
    AgentLimits,
    AgentResult,
    AgentRole,
    ClaudeAgent,
    Conversation,
    OpenAIAgent,
    RoleBasedAgent,
    RoleLibrary,
    ToolEnabledAgent,
)
from partsong.contracts.graph import AgentSpec
from partsong.contracts.talk.chunks import Chunk
from partsong.contracts.talk.messages import ToolCallPart
from partsong.tools import ToolRegistry


class Invoice(BaseModel):
    total: float


def shout(text: str) -> str:
    return text.upper()


async def approve(call: ToolCallPart) -> bool:
    return call.name != "delete"


async def an_answer_has_the_type_that_was_asked_for(agent: Agent, chat: Conversation) -> None:
    assert_type(await agent.call("Hello"), AgentResult[object])
    assert_type(agent.call_sync("Hello"), AgentResult[object])
    assert_type(agent.call_sync("Hello", output=Invoice), AgentResult[Invoice])
    typed = await agent.call("Read it", output=Invoice, conversation=chat)
    assert_type(typed, AgentResult[Invoice])
    assert_type(typed.output.total, float)
    assert_type(str(typed), str)
    assert_type(typed.usage.cost, float | None)
    assert_type(await agent.call("Read it", output={"type": "object"}), AgentResult[object])


async def a_stream_is_text_or_chunks(agent: Agent) -> None:
    async for piece in agent.call_stream("Explain Python"):
        assert_type(piece, str)
    assert_type(agent.call_stream("Explain Python").chunks(), AsyncGenerator[Chunk, None])


async def agents_of_every_kind(registry: ToolRegistry, role: AgentRole) -> None:
    async with ClaudeAgent(api_key="k", tools=[shout], output=Invoice) as claude:
        assert_type(claude, ClaudeAgent)
    OpenAIAgent("llama3", base_url="http://127.0.0.1:11434/v1", limits=AgentLimits(cost=1.0))
    ToolEnabledAgent(tool_registry=registry, approve=approve, fallbacks=("scripted:echo",))
    assert_type(RoleBasedAgent(role=RoleLibrary.PRODUCT_MANAGER, api_key="k").spec(), AgentSpec)
    RoleBasedAgent(role, "anthropic:claude-x", tool_registry=registry, temperature=0.1)


def wrong_calls_are_refused(registry: ToolRegistry) -> None:
    Agent(tools=[3])  # type: ignore[list-item]
    ToolEnabledAgent()  # type: ignore[call-arg]
    ToolEnabledAgent(tool_registry=registry, patients=3)  # type: ignore[call-arg]
