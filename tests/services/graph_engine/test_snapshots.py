"""Snapshots change how long a fold takes, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.errors import Unavailable
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.fold import fold_all
from partsong.contracts.state.state import Call
from partsong.contracts.state.timeline import state_at
from partsong.contracts.state.verify import replay
from partsong.contracts.wire.subjects import Subjects
from partsong.engine.commands import runs
from partsong.engine.decide import decide
from partsong.engine.ledger import Ledger
from partsong.log.memory import MemoryLog
from partsong.log.snapshots.folded import fold_to, pack
from partsong.log.snapshots.memory import MemorySnapshots
from partsong.log.snapshots.port import Snapshot
from tests.services.graph_engine.engines import World

SUBJECTS = Subjects()
NOW = "2026-01-01T00:00:00.000Z"
LOOP = parse_graph(
    {
        "name": "loop",
        "entry": "a",
        "nodes": {"a": {"type": "function", "function": "m:a"}},
        "edges": [
            {"from": "a", "to": "a", "on": "again"},
            {"from": "a", "to": "END", "on": "done"},
        ],
        "reducers": {"log": "append"},
    }
)


async def played(log: MemoryLog, ledger: Ledger, steps: int, *, end: bool = True) -> None:
    """Let the run that `ledger` holds go on for some steps, as a single process would."""
    for step in range(steps):
        call = next(iter(ledger.state.calls.values()))
        label = "done" if end and step == steps - 1 else "again"
        closed = e.CallCompleted(
            id=f"{call.id}.{call.attempt}",
            time=NOW,
            call_id=call.id,
            attempt=1,
            update={"log": step},
            label=label,
        )
        await committed(ledger, (closed,))


async def committed(ledger: Ledger, news: tuple[e.Event, ...]) -> None:
    decision = decide(fold_all(ledger.state, news), NOW)
    await ledger.commit((*news, *decision.events), decision.state)
    ledger.settle()


async def started(log: MemoryLog, run_id: str, graph: Graph = LOOP) -> Ledger:
    ledger = Ledger(log, SUBJECTS, run_id)
    await committed(ledger, runs.start(run_id, graph, {}, e.RunOptions(), "q", NOW))
    return ledger


async def records(log: MemoryLog, run_id: str) -> list[tuple[int, bytes]]:
    return [(r.seq, r.body) async for r in log.read(SUBJECTS.run(run_id))]


async def test_the_state_at_any_record_is_the_same_with_and_without_snapshots() -> None:
    log, snapshots = MemoryLog(), MemorySnapshots()
    ledger = await started(log, "r_1")
    for _ in range(4):
        await played(log, ledger, 5, end=False)
        await snapshots.put(pack(ledger.folded)[0])
    found = await records(log, "r_1")
    for seq, _ in found:
        folded = await fold_to(log, SUBJECTS, "r_1", snapshots, seq)
        assert folded.state == state_at("r_1", found, seq)
        assert folded.seq == seq


async def test_an_engine_goes_on_from_a_snapshot_and_the_log_still_vouches_for_itself() -> None:
    log, snapshots = MemoryLog(), MemorySnapshots()
    ledger = await started(log, "r_1")
    await played(log, ledger, 7, end=False)
    await snapshots.put(pack(ledger.folded)[0])
    await played(log, ledger, 3, end=False)
    other = Ledger(log, SUBJECTS, "r_1", snapshots)
    await other.refresh()
    assert other.state == ledger.state
    assert (other.commit_seq, other.first_seq) == (ledger.commit_seq, ledger.first_seq)
    await played(log, other, 2)
    found = replay("r_1", await records(log, "r_1"))
    assert found.ok, found.findings
    assert found.state.status == "completed"


class Broken(MemorySnapshots):
    """A store that does not answer."""

    async def newest(
        self, run_id: str, *, up_to: int | None = None, version: str | None = None
    ) -> Snapshot | None:
        raise Unavailable("snapshots.gone", f"no answer about {run_id}")


async def test_a_store_that_does_not_answer_costs_time_only() -> None:
    log = MemoryLog()
    ledger = await started(log, "r_1")
    await played(log, ledger, 3)
    other = Ledger(log, SUBJECTS, "r_1", Broken())
    await other.refresh()
    assert other.state == ledger.state


async def test_a_damaged_body_reads_as_absent() -> None:
    log, snapshots = MemoryLog(), MemorySnapshots()
    ledger = await started(log, "r_1")
    await played(log, ledger, 3)
    whole, _ = pack(ledger.folded)
    torn = Snapshot(whole.run_id, whole.seq, whole.version, whole.body[:-9], whole.hash)
    await snapshots.put(torn)
    assert (await fold_to(log, SUBJECTS, "r_1", snapshots)).state == ledger.state


@pytest.mark.parametrize("steps", [150])
async def test_the_engine_keeps_one_now_and_then(steps: int) -> None:
    log, snapshots = MemoryLog(), MemorySnapshots()
    world = World(log, SUBJECTS, LOOP, snapshots=snapshots)

    async def step(run_id: str, call: Call, _view: Mapping[str, JsonValue]) -> None:
        last = call.exec == f"a:{steps}"
        await world.report(run_id, call, {"log": call.exec}, "done" if last else "again")

    world.work = step
    engine = world.engine("engine-1")
    await engine.start()
    await world.start("r_1")
    await world.ended("r_1")
    await engine.stop()
    kept = await snapshots.list("r_1")
    assert len(kept) >= 2 * steps // 64, "small states are kept often"
    folded = await fold_to(log, SUBJECTS, "r_1", snapshots)
    values: dict[str, JsonValue] = folded.state.values
    assert folded.state.status == "completed"
    assert isinstance(values["log"], list)
    assert len(values["log"]) == steps
