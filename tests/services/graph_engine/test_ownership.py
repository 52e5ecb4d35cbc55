"""Ownership: all engines agree without a word, shares are even, and only the share of who comes or goes moves."""

from __future__ import annotations

import asyncio
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from partsong.bus.bucket import Entry
from partsong.contracts.errors import Unavailable
from partsong.contracts.wire.subjects import PARTITIONS, Subjects
from partsong.graph_engine.checkpoints import Checkpoints
from partsong.graph_engine.ownership import Ownership, entitled
from partsong.graph_engine.processor import Processor
from partsong.log.memory import MemoryLog
from partsong.testing.bucket import MemoryBucket
from partsong.workflow import WorkflowGraph
from tests.services.graph_engine.engines import World

names = st.sets(st.text("abcdefgh~0123456789", min_size=1, max_size=12), min_size=1, max_size=6)


@given(names, st.randoms())
def test_everybody_computes_the_same_whatever_the_order(engines: set[str], random: object) -> None:
    shuffled = sorted(engines, key=lambda name: hash((name, id(random))))
    for partition in range(PARTITIONS):
        assert entitled(shuffled, partition) == entitled(engines, partition)
        assert entitled(engines, partition) in engines


@given(names, names)
def test_only_the_share_of_an_engine_that_comes_moves(here: set[str], coming: set[str]) -> None:
    new = coming - here
    for partition in range(PARTITIONS):
        before, after = entitled(here, partition), entitled(here | coming, partition)
        assert after == before or after in new


def test_shares_are_about_even() -> None:
    for engines in (["a", "b"], ["a", "b", "c", "d"]):
        shares = Counter(entitled(engines, partition) for partition in range(PARTITIONS))
        assert set(shares) == set(engines)
        assert max(shares.values()) <= 2.2 * PARTITIONS / len(engines)


async def test_an_engine_that_is_stopped_while_it_starts_takes_nothing_any_more() -> None:
    """Otherwise it would be given partitions anew while it gives them back, and fold their runs with records missing."""
    graph = WorkflowGraph("one").add_node("f", "m:f").compile()
    engine = World(MemoryLog(), Subjects(), graph).engine("e1")
    stopping = list[asyncio.Task[None]]()

    def taken(_: Processor) -> None:
        if not stopping:
            stopping.append(asyncio.get_running_loop().create_task(ownership.stop()))

    ownership = Ownership(engine.processors, lambda: {"e1"}, "e1", taken=taken)
    await ownership.start()
    await stopping[0]
    assert [one.partition for one in engine.processors if one.owned] == []
    assert "ownership" not in {task.get_name() for task in asyncio.all_tasks()}


class Silent(MemoryBucket):
    """A bucket that does not answer, as long as it is told not to."""

    answers = False

    async def get(self, key: str) -> Entry:
        if not self.answers:
            raise Unavailable("bucket.no_answer", "bucket b did not answer", retryable=True)
        return await super().get(key)


async def test_an_engine_that_cannot_take_what_belongs_to_it_says_so_and_why() -> None:
    graph = WorkflowGraph("one").add_node("f", "m:f").compile()
    bucket = Silent()
    engine = World(MemoryLog(), Subjects(), graph).engine("e1", Checkpoints(bucket))
    ownership = Ownership(engine.processors, lambda: {"e1"}, "e1", long=0.0)
    assert ownership.problem is None, "it has not begun"
    await ownership.start()
    problem = ownership.problem
    assert problem is not None
    assert problem.message.startswith(f"engine holds 0 of {PARTITIONS} partitions")
    assert problem.message.endswith("bucket.no_answer: bucket b did not answer")
    bucket.answers = True
    async with asyncio.timeout(60):
        while ownership.problem is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert all(one.owned for one in engine.processors)
    await ownership.stop()
