"""Parents and children: what has become of one run's log is no matter of the other's."""

from __future__ import annotations

import pytest

from partsong.contracts.events import Parent, RunOptions
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.state import RunState
from partsong.contracts.wire.subjects import Subjects
from partsong.contracts.wire.work import ChildWork, child_of
from partsong.graph_engine.children import Children
from partsong.graph_engine.commands import Commands
from partsong.log.memory import MemoryLog
from partsong.log.snapshots.memory import MemorySnapshots

PARENT = Parent(run_id="r_1", call_id="sub:1", attempt=1)


BAD = pytest.mark.parametrize("body", [b"garbage", b"[]", b'{"run":"r_other","events":[]}'])
GRAPH = parse_graph({"name": "g", "entry": "a", "nodes": {"a": {"type": "wait", "signal": "s"}}})


async def resolved(_asked: object) -> Graph:
    return GRAPH


@BAD
async def test_a_child_goes_on_whose_parent_cannot_be_read(body: bytes) -> None:
    log, subjects = MemoryLog(), Subjects()
    children = Children(log, subjects, MemorySnapshots(), Commands(log, subjects), resolved)
    await log.append(subjects.fact("r_1"), body, id="bad")
    child = RunState(child_of(PARENT), options=RunOptions(parent=PARENT))
    assert await children.orphaned(child) is None


@BAD
async def test_a_child_that_cannot_be_read_is_asked_for_once_more_and_nobody_is_told_anything(
    body: bytes,
) -> None:
    """Its own engine has set it aside, and the hint for it must not come again for ever."""
    log, subjects = MemoryLog(), Subjects()
    children = Children(log, subjects, MemorySnapshots(), Commands(log, subjects), resolved)
    child = child_of(PARENT)
    work = ChildWork(
        run_id="r_1", node="sub", call_id="sub:1", attempt=1, child=child,
        graph={}, input={}, options=RunOptions(parent=PARENT),
    )  # fmt: skip
    await children.begin(work)
    await log.append(subjects.fact(child), body, id="bad")
    before = await log.head()
    await children.begin(work)
    assert await log.head() == before
