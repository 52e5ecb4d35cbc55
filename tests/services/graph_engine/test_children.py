"""Parents and children: what has become of one run's log is no matter of the other's."""

from __future__ import annotations

import pytest

from partsong.contracts.run_events import Parent, RunOptions
from partsong.contracts.state import RunState
from partsong.contracts.subjects import Subjects
from partsong.contracts.work import child_of
from partsong.graph_engine.children import Children
from partsong.graph_engine.commands import Commands
from partsong.log.memory import MemoryLog
from partsong.log.snapshots.memory import MemorySnapshots

PARENT = Parent(run_id="r_1", call_id="sub:1", attempt=1)


@pytest.mark.parametrize("body", [b"garbage", b"[]", b'{"run":"r_other","events":[]}'])
async def test_a_child_goes_on_whose_parent_cannot_be_read(body: bytes) -> None:
    log, subjects = MemoryLog(), Subjects()

    async def nobody(_asked: object) -> None:
        raise AssertionError("no graph is asked for")

    children = Children(
        log,
        subjects,
        MemorySnapshots(),
        Commands(log, subjects),
        nobody,  # type: ignore[arg-type]
    )
    await log.append(subjects.fact("r_1"), body, id="bad")
    child = RunState(child_of(PARENT), options=RunOptions(parent=PARENT))
    assert await children.orphaned(child) is None
