"""Functions with an effect that can be counted: each appends one line to a file, in the middle of its work."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from pathlib import Path

from pydantic import JsonValue

from partsong.workflow import AgentSpec, NodeContext, WorkflowGraph

State = dict[str, JsonValue]

NODES = ("begin", "left", "right", "join", "end")
"""The nodes that have an effect; an agent sits between `join` and `end`."""
_HALF = 0.02


async def begin(state: State, context: NodeContext) -> State:
    await _effect(state, context)
    return {"began": True}


async def left(state: State, context: NodeContext) -> State:
    await _effect(state, context)
    return {"left": 1}


async def right(state: State, context: NodeContext) -> State:
    await _effect(state, context)
    return {"right": 2}


async def join(state: State, context: NodeContext) -> State:
    await _effect(state, context)
    return {"sum": int(str(state["left"])) + int(str(state["right"]))}


async def end(state: State, context: NodeContext) -> State:
    await _effect(state, context)
    return {"ended": True}


async def count(state: State) -> State:
    return {"n": int(str(state.get("n", 0))) + 1}


async def _effect(state: State, context: NodeContext) -> None:
    """Half of the work, one line in the file, the other half."""
    await asyncio.sleep(_HALF)
    line = f"{context.idempotency_key} {context.attempt} {os.getpid()}\n"
    file = os.open(str(state["file"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)
    await asyncio.sleep(_HALF)


def effects(file: Path) -> Counter[str]:
    """How often each execution `<run>/<node>:<visit>` had its effect."""
    if not file.exists():
        return Counter()
    return Counter(line.split()[0] for line in file.read_text(encoding="utf-8").splitlines())


def graph() -> WorkflowGraph:
    """Six nodes: functions with effects, two of them side by side, and an agent."""
    made = WorkflowGraph("effects")
    made.add_node("begin", begin).add_node("left", left).add_node("right", right)
    made.add_node("join", join).add_node("end", end)
    made.add_agent("agent", AgentSpec(model="scripted:echo"), prompt="sum {{sum}}", output="said")
    made.add_parallel("begin", ["left", "right"], join="join")
    return made.add_edge("join", "agent").add_edge("agent", "end")


def counting() -> WorkflowGraph:
    """Three steps without effects."""
    made = WorkflowGraph("counting")
    made.add_node("one", count).add_node("two", count).add_node("three", count)
    return made.add_edge("one", "two").add_edge("two", "three")
