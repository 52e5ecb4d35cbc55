"""What the measured graphs do: functions that a tool-runner loads by name, and the graphs made of them."""

from __future__ import annotations

import asyncio
import secrets

from pydantic import JsonValue

from partsong.contracts.graph import ReducerName
from partsong.workflow import Route, WorkflowGraph

__all__ = ["ROUNDS", "append", "chain", "gather", "kilobyte", "loop", "repeat", "slow", "step"]

State = dict[str, JsonValue]

ROUNDS = "rounds"
"""The key of the input that says how often `loop` goes round."""


def kilobyte() -> str:
    """1,024 characters that do not compress: a store that squeezes text must not look small for it."""
    return secrets.token_urlsafe(768)


async def step(_: State) -> State:
    """Nothing but 1 KB of new state in place of the old one."""
    return {"payload": kilobyte()}


async def slow(_: State) -> State:
    """20 ms of waiting, and 1 KB of new state."""
    await asyncio.sleep(0.02)
    return {"payload": kilobyte()}


async def repeat(state: State) -> Route:
    """1 KB of new state, again and again."""
    return Route(_again(state), {"payload": kilobyte(), "count": 1})


async def append(state: State) -> Route:
    """1 KB more of state, again and again."""
    return Route(_again(state), {"items": [kilobyte()], "count": 1})


async def gather(_: State) -> None:
    """The end of a loop."""


def chain(nodes: int, *, pause: bool = False) -> WorkflowGraph:
    """So many function nodes in a row, each replacing 1 KB of state."""
    graph = WorkflowGraph(f"chain{nodes}{'slow' if pause else ''}")
    for index in range(nodes):
        graph.add_node(f"n{index}", slow if pause else step)
        if index:
            graph.add_edge(f"n{index - 1}", f"n{index}")
    return graph


def loop(*, growing: bool = False) -> WorkflowGraph:
    """One node that runs `input[ROUNDS]` times; it replaces 1 KB of state each time, or appends it."""
    reducers: dict[str, ReducerName] = {"count": "add"}
    if growing:
        reducers["items"] = "append"
    graph = WorkflowGraph("growing" if growing else "loop", reducers=reducers)
    graph.add_node("again", append if growing else repeat).add_node("end", gather)
    return graph.add_conditional_edge("again", {"more": "again", "done": "end"})


def _again(state: State) -> str:
    return "more" if int(str(state.get("count", 0))) + 1 < int(str(state[ROUNDS])) else "done"
