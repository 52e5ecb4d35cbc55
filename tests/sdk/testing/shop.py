"""What the tests of the test kit test: a graph with an agent that has a tool, and a function."""

from __future__ import annotations

from pydantic import JsonValue

from partsong.contracts.graph import AgentSpec
from partsong.tools import tool
from partsong.workflow import WorkflowGraph

MODEL = "anthropic:claude-sonnet-5-5"
calls: list[str] = []
"""Functions and tools that ran."""


@tool
def price_of(article: str) -> float:
    """The price of an article."""
    calls.append(f"price_of {article}")
    return 3.5


def shout(state: dict[str, JsonValue]) -> dict[str, JsonValue]:
    calls.append("shout")
    return {"shouted": str(state["answer"]).upper()}


def shop(instructions: str = "You sell tea.", model: str = MODEL) -> WorkflowGraph:
    agent = AgentSpec(model=model, instructions=instructions, tools=("price_of",))
    graph = WorkflowGraph("shop")
    graph.add_agent("ask", agent, prompt="What does {{article}} cost?", output="answer")
    graph.add_node("shout", shout)
    graph.add_edge("ask", "shout")
    return graph
