"""What `WorkflowGraph` does with runs in one process beside executing them: signals, limits, retry, fork, history."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
import redis

from partsong.contracts.errors import Conflict, InvalidInput, NotFound
from partsong.workflow import WorkflowGraph
from tests.system import graphs, nodes
from tests.system.nodes import State


@pytest.fixture(params=["file", "redis"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where runs are durable: a file, and an empty Redis."""
    if request.param == "file":
        return str(tmp_path / "runs.jsonl")
    url: str = request.getfixturevalue("redis_url")
    with redis.Redis.from_url(url) as server:
        server.flushall()
    return url


def gate() -> WorkflowGraph:
    return WorkflowGraph("gate").add_wait("paid", signal="paid")


async def test_a_run_waits_for_a_signal_and_goes_on_when_it_is_sent(log: str) -> None:
    waiting = await gate().execute(run_id="r_g", log=log)
    assert waiting.status == "waiting"
    done = await gate().execute(run_id="r_g", log=log, signals={"paid": {"sum": 3}})
    assert (done.status, done["paid"]) == ("completed", {"sum": 3})


async def test_a_signal_that_nobody_waits_for_is_refused() -> None:
    with pytest.raises(InvalidInput) as found:
        await gate().execute(signals={"payed": 3})
    assert found.value.problem.code == "signal.unknown"


async def test_a_limit_ends_a_run_and_a_larger_one_lets_it_go_on(log: str) -> None:
    short = await graphs.loop().execute({"until": 4}, run_id="r_l", log=log, max_steps=2)
    assert (short.status, short["n"]) == ("limit_exceeded", 2)
    done = await graphs.loop().retry("r_l", log=log, max_steps=50)
    assert (done.status, done["n"]) == ("completed", 4)


async def test_labels_and_options_that_are_wrong_are_checked() -> None:
    found = await graphs.chain().execute({}, labels={"who": "ann"})
    started = found.events[0]
    assert started.type == "run.started"
    assert started.options.labels == {"who": "ann"}
    with pytest.raises(InvalidInput) as caught:
        await graphs.chain().execute({}, max_steps=-1)
    assert caught.value.problem.where == "options.max_steps"


async def test_a_stream_takes_what_execute_takes() -> None:
    kinds = [item async for item in gate().stream(signals={"paid": 1}, max_steps=5)]
    assert getattr(kinds[-1], "type", None) == "run.completed"


class Slow:
    """A node that ends only if it is let go; tells when it begins, and when it is stopped."""

    def __init__(self) -> None:
        self.began, self.stopped, self.free = asyncio.Event(), asyncio.Event(), asyncio.Event()

    def graph(self) -> WorkflowGraph:
        async def slow(state: State) -> State:
            self.began.set()
            try:
                await self.free.wait()
            finally:
                self.stopped.set()
            return {"done": True}

        return WorkflowGraph("slow").add_node("slow", slow)


async def until_called(items: AsyncIterator[object], slow: Slow) -> None:
    async with asyncio.timeout(30):
        async for item in items:
            if getattr(item, "type", None) == "call.requested":
                await slow.began.wait()
                return


async def test_whoever_leaves_a_stream_early_has_stopped_the_run_and_can_go_on_with_it(
    log: str,
) -> None:
    slow = Slow()
    async with aclosing(slow.graph().stream({}, run_id="r_s", log=log)) as items:
        await until_called(items, slow)
    assert slow.stopped.is_set()
    slow.free.set()
    done = await slow.graph().execute({}, run_id="r_s", log=log)
    assert (done.status, done["done"]) == ("completed", True)
    assert [e.type for e in done.events].count("call.requested") == 1


async def test_a_stream_that_is_dropped_stops_too() -> None:
    slow = Slow()
    await until_called(slow.graph().stream({}), slow)
    gc.collect()
    async with asyncio.timeout(30):
        await slow.stopped.wait()


async def test_after_a_retry_with_the_mended_graph_only_what_is_unfinished_runs(log: str) -> None:
    calls: list[str] = []

    def first(state: State) -> State:
        calls.append("first")
        return {"a": 1}

    def broken(state: State) -> State:
        raise ValueError("not yet")

    def mended(state: State) -> State:
        return {"b": 2}

    def graph(second: object) -> WorkflowGraph:
        made = WorkflowGraph("g").add_node("first", first)
        assert callable(second)
        return made.add_node("second", second).add_edge("first", "second")

    failed = await graph(broken).execute(run_id="r_m", log=log)
    assert failed.status == "failed"
    done = await graph(mended).retry("r_m", log=log)
    assert (done.status, dict(done), calls) == ("completed", {"a": 1, "b": 2}, ["first"])
    with pytest.raises(Conflict, match="r_m is completed"):
        await graph(mended).retry("r_m", log=log)


async def test_a_fork_begins_where_the_history_says_with_other_values(log: str) -> None:
    nodes.called.clear()
    root = await graphs.shop().execute({"amount": 40}, run_id="r_s", log=log)
    assert root.status == "failed"
    history = await graphs.shop().history("r_s", log=log)
    priced = next(moment for moment in history if "node.completed price:1" in moment.did)
    cheap = await graphs.shop().fork("r_s", priced.seq, log=log, values={"total": 9})
    assert (cheap.status, cheap["paid"]) == ("completed", 9)
    other = await graphs.shop().fork(
        "r_s", priced.seq, log=log, outputs={"price:1": {"total": 8}}, new_run_id="r_o"
    )
    assert (other.run_id, other["paid"]) == ("r_o", 8)
    assert nodes.called == ["price", "pay", "pay", "pay"]
    assert (await graphs.shop().history("r_s", log=log)) == history


async def test_the_past_of_an_unknown_run_is_said_to_be_unknown(log: str) -> None:
    graph = graphs.shop()
    for asked in (
        graph.history("r_no", log=log),
        graph.retry("r_no", log=log),
        graph.fork("r_no", log=log),
    ):
        with pytest.raises(NotFound, match="r_no"):
            await asked
