"""A disk that is full soon, and runs of every kind to have on it when it is."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import JsonValue

from partsong.tools import tool
from partsong.workflow import AgentSpec, NodeContext, WorkflowGraph
from tests.faults.slow import write

__all__ = ["EFFECTS", "GRAPHS", "ITEMS", "a_small_disk", "counted", "fill"]

State = dict[str, JsonValue]

_SLOW = 4.0

ITEMS: list[JsonValue] = list(range(12))
"""What a map of these runs is over."""


@contextmanager
def a_small_disk(folder: Path, megabytes: int = 64) -> Iterator[Path]:
    """A disk of so many megabytes, mounted in `folder`."""
    disk = folder / "disk"
    disk.mkdir()
    mount = ("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "none", str(disk))
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        yield disk
    finally:
        subprocess.run(("umount", str(disk)), check=True)


def fill(ballast: Path) -> None:
    """Write to a file until its disk takes not one byte more."""
    with ballast.open("ab", buffering=0) as file:
        for size in (65536, 512, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass


async def mark(state: State, context: NodeContext) -> State:
    """One effect."""
    write(str(state["file"]), "mark", context.idempotency_key)
    return {"marked": context.idempotency_key}


async def toil(state: State, context: NodeContext) -> State:
    """Work that takes long enough for the disk to fill meanwhile."""
    await asyncio.sleep(_SLOW)
    return await mark(state, context)


@tool
async def charge(file: str, order: str) -> str:
    """Take money, which must not happen twice."""
    await asyncio.sleep(_SLOW)
    write(file, "charge", order)
    return order


def _ends(graph: WorkflowGraph, before: str) -> WorkflowGraph:
    return graph.add_node("end", mark).add_edge(before, "end")


def _timer() -> WorkflowGraph:
    return _ends(WorkflowGraph("timer").add_wait("rest", seconds=_SLOW), "rest")


def _asks() -> WorkflowGraph:
    graph = WorkflowGraph("asks").add_approval("ok", title="Go on?").add_node("end", mark)
    return graph.add_conditional_edge("ok", {"approved": "end", "rejected": "END"})


def _toils() -> WorkflowGraph:
    return _ends(WorkflowGraph("toils").add_node("toil", toil), "toil")


def _charges() -> WorkflowGraph:
    args = {"file": "{{file}}", "order": "{{order}}"}
    return _ends(WorkflowGraph("charges").add_tool("pay", "charge", args=args), "pay")


def _says() -> WorkflowGraph:
    graph = WorkflowGraph("says").add_node("begin", toil)
    graph.add_agent("say", AgentSpec(model="scripted:echo"), prompt="{{order}}")
    return _ends(graph.add_edge("begin", "say"), "say")


def _maps() -> WorkflowGraph:
    graph = WorkflowGraph("maps")
    graph.add_map("each", mark, over="items", into="done", max_concurrency=3)
    return _ends(graph, "each")


def _stands() -> WorkflowGraph:
    return _ends(WorkflowGraph("stands").add_wait("gate", signal="never"), "gate")


GRAPHS: Mapping[str, Callable[[], WorkflowGraph]] = {
    "timer": _timer,
    "asks": _asks,
    "toils": _toils,
    "charges": _charges,
    "says": _says,
    "maps": _maps,
    "stands": _stands,
}

EFFECTS: Mapping[str, int] = {
    "timer": 1,
    "asks": 1,
    "toils": 2,
    "charges": 2,
    "says": 2,
    "maps": len(ITEMS) + 1,
    "stands": 0,
}
"""How many effects a run of each graph has; one of the last kind is cancelled."""


def counted(file: Path) -> Counter[str]:
    """How often each effect was had."""
    return Counter(file.read_text(encoding="utf-8").splitlines()) if file.exists() else Counter()
