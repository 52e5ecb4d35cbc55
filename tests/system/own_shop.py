"""A user's module with tools of its own, some of them named like built-in ones, and objects whose methods are called."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated

from pydantic import JsonValue

from partsong.agents import Agent
from partsong.tools import Depends, tool
from partsong.tools.builtin.read_file import file_tool
from partsong.workflow import WorkflowGraph


class Desk:
    """Has what a test needs to tell it from another one."""

    def __init__(self, stock: int) -> None:
        self.stock = stock

    def lookup(self, _state: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return {"found": self.stock}

    def count(self, article: str) -> str:
        """How many of an article there are."""
        return f"{self.stock} of {article}"

    async def __call__(self, _state: dict[str, JsonValue]) -> dict[str, JsonValue]:
        return {"called": self.stock}


desk = Desk(42)


def scaled(state: dict[str, JsonValue], scale: int = 1) -> dict[str, JsonValue]:
    return {"scaled": scale}


tripled = functools.partial(scaled, scale=3)


@tool(side_effect="none")
def calculator(expression: str) -> str:
    """Mine, not the built-in one."""
    return f"mine: {expression}"


def plain(text: str) -> str:
    """A plain function."""
    return text.upper()


async def get_desk() -> AsyncIterator[Desk]:
    """What a service holds: opened for a call, closed behind it."""
    yield desk


def counter(held: Annotated[Desk, Depends(get_desk)]) -> Callable[[str], str]:
    return held.count


def counted(
    state: dict[str, JsonValue], count: Annotated[Callable[[str], str], Depends(counter)]
) -> dict[str, JsonValue]:
    return {"counted": count(str(state["article"]))}


@tool(side_effect="read")
async def ask(article: str, held: Annotated[Desk, Depends(get_desk)]) -> str:
    """Ask the desk."""
    return held.count(article)


def depending() -> WorkflowGraph:
    """Calls a function and a tool that are given what they need."""
    built = WorkflowGraph("depending", tools=[ask])
    built.add_transform("begin", {"article": "'A-7'"}).add_node("counted", counted)
    built.add_tool("asked", "ask", args={"article": "{{article}}"})
    return built.add_edge("begin", "counted").add_edge("counted", "asked")


def graph() -> WorkflowGraph:
    """Calls a tool, a plain function as a tool, a method as a tool, a tool made by a factory, and the agent's own."""
    built = WorkflowGraph("own", tools=[calculator, plain, desk.count, reader])
    built.add_tool("sum", "calculator", args={"expression": "1 + 1"})
    built.add_tool("loud", "plain", args={"text": "hi"})
    built.add_tool("many", "count", args={"article": "A-7"})
    built.add_tool("text", "read_file", args={"path": "own_shop.py", "lines": 1})
    built.add_agent("ask", clerk, prompt="How many?")
    for left, right in (("sum", "loud"), ("loud", "many"), ("many", "text"), ("text", "ask")):
        built.add_edge(left, right)
    return built


def called() -> WorkflowGraph:
    """Calls a method, an object and a partial."""
    built = WorkflowGraph("called")
    built.add_node("method", desk.lookup).add_node("object", desk).add_node("partial", tripled)
    return built.add_edge("method", "object").add_edge("object", "partial")


reader = file_tool(Path(__file__).parent)
clerk = Agent(
    "openai:gpt-5.4",
    api_key="none",
    tools=[tool(name="web_search", side_effect="read")(desk.count)],
)
inline = WorkflowGraph("inline", tools=[file_tool(Path(__file__).parent)])
inline.add_tool("text", "read_file", args={"path": "own_shop.py", "lines": 1})
