"""The client and a run's past, with real services: what happened is listed, read at any moment, and gone on from."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import JsonValue

from partsong.client import Change, Checkpoint, Client, Origin
from partsong.contracts import events as e
from partsong.contracts.errors import InvalidInput, NotFound, Unavailable
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.fold import fold_all
from partsong.contracts.state.timeline import state_at
from partsong.contracts.wire.marks import Restored
from partsong.engine.commands import runs
from partsong.engine.decide import decide
from partsong.engine.ledger import Ledger
from partsong.log.snapshots.kv import KvSnapshots
from partsong.log.snapshots.port import Snapshots
from partsong.testing.nats import Bus
from tests.system import graphs, nodes
from tests.system.platform import a_platform

WITHIN = 30.0
NOW = "2026-01-01T00:00:00.000Z"


@pytest.fixture
async def client(bus: Bus) -> AsyncIterator[Client]:
    nodes.called.clear()
    nodes.mended.clear()
    async with a_platform(bus) as running:
        yield running.client


async def a_failed_run(client: Client) -> str:
    """A run whose price is known and whose payment failed."""
    run_id = await client.start(graphs.shop(), {"amount": 40})
    assert (await client.result(run_id, timeout=WITHIN)).status == "failed"
    return run_id


def when(history: list[Checkpoint], what: str) -> int:
    """Where in the log something was decided."""
    return next(checkpoint.seq for checkpoint in history if what in checkpoint.did)


LOOP = {
    "name": "loop",
    "nodes": {"a": {"type": "function", "function": "m:a"}},
    "edges": [{"from": "a", "to": "a", "on": "again"}, {"from": "a", "to": "END", "on": "done"}],
}


async def a_long_run(bus: Bus, client: Client, snapshots: Snapshots, steps: int) -> list[int]:
    """A run that an engine has led through a loop, keeping snapshots; the sequences of its commits."""
    ledger, seqs = Ledger(client.log, bus.subjects, "r_long"), list[int]()
    news: tuple[e.Event, ...]
    news = runs.start("r_long", parse_graph(LOOP), {}, e.RunOptions(), "q", NOW)
    for step in range(1, steps + 2):
        decision = decide(fold_all(ledger.state, news), NOW)
        await ledger.commit((*news, *decision.events), decision.state)
        await ledger.refresh()
        seqs.append(ledger.commit_seq)
        if (snapshot := ledger.snapshot()) is not None:
            await snapshots.put(snapshot)
        done: dict[str, JsonValue] = {"n": step}
        label = "again" if step < steps else "done"
        call_id = f"a:{step}"
        news = (e.CallCompleted(id=call_id, call_id=call_id, attempt=1, update=done, label=label),)
    return seqs


async def test_the_state_at_any_moment_of_a_long_run_is_read_from_a_snapshot_near_it(
    bus: Bus,
) -> None:
    async with Client(bus.url, prefix=bus.subjects.prefix) as client:
        snapshots = KvSnapshots(client.nats, bucket=bus.names.snapshots)
        seqs = await a_long_run(bus, client, snapshots, 600)
        everything = [(r.seq, r.body) async for r in client.log.read(bus.subjects.run("r_long"))]
        for seq in (seqs[0], seqs[300], seqs[-1]):
            before = client.nats.stats["in_msgs"]
            state = await client.state("r_long", at=seq)
            assert state == state_at("r_long", everything, seq)
            assert client.nats.stats["in_msgs"] - before < 50
        await snapshots.delete("r_long")
        assert (await client.state("r_long")).values == {"n": 600}, "snapshots may be gone"


async def test_a_failed_run_is_looked_into_forked_compared_and_retried(client: Client) -> None:
    run_id = await a_failed_run(client)

    history = await client.history(run_id)
    assert [checkpoint.n for checkpoint in history] == list(range(1, len(history) + 1))
    assert (history[0].did[0], history[-1].status) == ("run.started", "failed")
    priced = when(history, "node.completed price:1")

    assert (await client.state(run_id, at=priced)).values == {"amount": 40, "total": 120}
    assert await client.diff(run_id, history[0].seq, priced) == [
        Change("total", None, 120, "added")
    ]

    fork = await client.fork(run_id, priced, values={"total": 90})
    assert (await client.result(fork, timeout=WITHIN))["paid"] == 90
    assert nodes.called == ["price", "pay", "pay"]

    found = await client.compare(run_id, fork)
    assert (found.a.status, found.b.status) == ("failed", "completed")
    assert found.parted == Origin(run_id, priced)
    assert found.executions == (Change("pay:1", "function.raised", "completed", "changed"),)
    assert found.state == (Change("paid", None, 90, "added"), Change("total", 120, 90, "changed"))

    nodes.called.clear()
    nodes.mended.set()
    await client.retry(run_id, reason="the till was mended")
    assert (await client.result(run_id, timeout=WITHIN)).raise_for_status()["paid"] == 120
    assert nodes.called == ["pay"]
    assert (await client.compare(run_id, fork)).executions == ()


async def test_a_fork_knows_its_ancestors_and_they_know_their_forks(client: Client) -> None:
    root = await a_failed_run(client)
    seq = when(await client.history(root), "node.completed price:1")
    child = await client.fork(root, seq, values={"total": 1}, new_run_id="r_child")
    await client.result(child, timeout=WITHIN)
    end = (await client.history(child))[-1].seq
    grandchild = await client.fork(child)
    assert await client.lineage(grandchild) == [Origin(child, end), Origin(root, seq)]
    assert await client.lineage(root) == []
    assert [run.run_id for run in await client.forks(root)] == [child]
    assert (await client.compare(grandchild, root)).parted == Origin(root, seq)
    assert (await client.compare(root, root)).parted is None


async def test_a_fork_asked_for_twice_under_one_id_is_one_run(client: Client) -> None:
    root = await a_failed_run(client)
    for _ in range(2):
        assert await client.fork(root, new_run_id="r_mine", values={"total": 1}) == "r_mine"
    with pytest.raises(InvalidInput, match="is not that fork of"):
        await client.fork("r_mine", new_run_id=root)


async def test_what_a_function_returned_can_be_replaced_in_a_fork(client: Client) -> None:
    root = await a_failed_run(client)
    fork = await client.fork(root, outputs={"price:1": {"total": 7}})
    assert (await client.result(fork, timeout=WITHIN))["paid"] == 7
    with pytest.raises(InvalidInput) as refused:
        await client.fork(root, outputs={"pay:1": {"paid": 7}})
    assert refused.value.problem.code == "fork.unknown_output"


async def test_two_runs_that_have_nothing_in_common_are_compared_too(client: Client) -> None:
    one, other = await a_failed_run(client), await client.start(graphs.shop(), {"amount": 1})
    await client.result(other, timeout=WITHIN)
    found = await client.compare(one, other)
    assert found.parted is None
    assert {change.path for change in found.state} == {"amount", "total", "paid"}


async def test_the_past_of_an_unknown_run_is_not_found(client: Client) -> None:
    for read in (client.history, client.lineage):
        with pytest.raises(NotFound):
            await read("r_nobody")
    with pytest.raises(NotFound):
        await client.diff("r_nobody", 1, 2)
    with pytest.raises(NotFound):
        await client.compare("r_nobody", "r_nobody")


async def test_a_reading_asks_once_which_runs_a_restore_has_not_brought_back(bus: Bus) -> None:
    restored = Restored(
        log_id="l", epoch=2, kept=1, since="s", at="t", by="ann", source="b", runs=("r_lost",)
    )
    body = restored.model_dump_json(by_alias=True).encode()
    await bus.log().append(bus.subjects.restored(), body, id="restored")
    asked = await bus.nc.subscribe(f"$JS.API.DIRECT.GET.{bus.names.log}.{bus.subjects.restored()}")
    async with Client(bus.url, prefix=bus.subjects.prefix) as client:
        for read in (client.state, client.replay, client.history, client.lineage, client.result):
            for run_id, error in (("r_lost", Unavailable), ("r_nobody", NotFound)):
                with pytest.raises(error):
                    await read(run_id)
                await bus.nc.flush()
                assert asked.pending_msgs == 1, (read, run_id)
                await asked.next_msg(timeout=WITHIN)


async def test_a_run_that_is_unknown_may_be_one_that_a_restore_has_lost(bus: Bus) -> None:
    first = Restored(
        log_id="l", epoch=2, kept=38, lost=(39, 75), since="s", at="2026-11-29T17:00:00.000Z", by="ann", source="b"
    )  # fmt: skip
    second = first.model_copy(
        update={"epoch": 3, "lost": None, "missing": ((7, 7),), "at": "2026-11-30T17:00:00.000Z"}
    )
    async with Client(bus.url, prefix=bus.subjects.prefix) as client:
        with pytest.raises(NotFound, match=r"the log holds no run r_lost \(at run_id\)$"):
            await client.state("r_lost")
        for restored in (first, second):
            body = restored.model_dump_json(by_alias=True).encode()
            await bus.log().append(bus.subjects.restored(), body, id=f"restored{restored.epoch}")
        for read in (client.state, client.history, client.result, client.replay):
            with pytest.raises(NotFound) as unknown:
                await read("r_lost")
            assert unknown.value.problem.code == "run.unknown"
            assert unknown.value.problem.message == (
                "the log holds no run r_lost; records 39 to 75 were lost before the restore of 2026-11-29T17:00:00.000Z; "
                "record 7 was lost before the restore of 2026-11-30T17:00:00.000Z; the run may have been among them"
            )


async def test_a_graph_is_known_by_its_name_and_hash_once_a_run_had_it(client: Client) -> None:
    await client.result(await client.start(graphs.chain()), timeout=WITHIN)
    graph = graphs.chain().compile()
    assert await client.graph("chain") == await client.graph(graph.hash) == graph
    for name in ("chains", "chain@2"):
        with pytest.raises(NotFound, match=name):
            await client.graph(name)
