"""Runs: two engines that hear everything twice and out of step still make one history."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar

import pytest
from pydantic import JsonValue

from partsong.contracts import events as e
from partsong.contracts.envelope import START_HASH, Commit, chain, decode, encode_report
from partsong.contracts.errors import PartsongError, Unavailable
from partsong.contracts.fold import fold_message
from partsong.contracts.graph import Graph
from partsong.contracts.state import Call, RunState, Timer
from partsong.contracts.subjects import Subjects
from partsong.contracts.validate import parse_graph
from partsong.graph_engine.core import hear
from partsong.graph_engine.core.hints import work_of
from partsong.graph_engine.mail import Ask, Reported, Start, Wake
from partsong.graph_engine.runs import Runs
from partsong.log.memory import MemoryLog
from partsong.log.port import Log
from partsong.testing.nats import Bus

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds until a test gives up waiting."""

GRAPH = parse_graph(
    {
        "name": "stress",
        "entry": "a",
        "nodes": {n: {"type": "function", "function": f"m:{n}"} for n in ("a", "b", "c", "d", "e")},
        "edges": [
            {"from": "a", "to": "b"},
            {"from": "a", "to": "c"},
            {"from": "b", "to": "d"},
            {"from": "c", "to": "d"},
            {"from": "d", "to": "a", "on": "again"},
            {"from": "d", "to": "e", "on": "done"},
        ],
        "reducers": {"log": "append"},
    }
)


class World:
    """A log, some engines on it, and workers that answer every hint as often as they like."""

    def __init__(self, log: Log, subjects: Subjects, engines: int, seed: int) -> None:
        self.log, self.subjects, self.random = log, subjects, random.Random(seed)
        self.done: dict[str, asyncio.Event] = {}
        self.silent: set[str] = set()
        self._working: set[asyncio.Task[None]] = set()
        self.engines = [
            Runs(log, subjects, self, f"engine-{i}", silent=self.silent.__contains__)
            for i in range(engines)
        ]

    async def hint(self, state: RunState, call: Call, *, again: bool = False) -> None:
        work = work_of(state, call)
        assert work is not None
        for _ in range(self.random.choice([1, 1, 2])):
            self._spawn(
                self._answer(
                    state.run_id, call, dict(work.state) if work.kind == "function" else {}
                )
            )

    async def timer(self, run_id: str, timer: Timer) -> None:
        raise AssertionError("no timers here")

    async def stop(self, run_id: str, reason: str, owner: str | None = None) -> None:
        """Workers here finish in any case."""

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    async def _answer(self, run_id: str, call: Call, state: dict[str, JsonValue]) -> None:
        node = call.exec.split(":")[0]
        label = None
        if node == "d":
            label = "again" if call.exec < "d:3" else "done"
        closed = e.CallCompleted(
            id=f"{run_id}.{call.id}.{call.attempt}.closed",
            call_id=call.id,
            attempt=call.attempt,
            update={"log": call.exec},
            label=label,
        )
        await self.log.append(
            self.subjects.fact(run_id), encode_report(run_id, closed), id=closed.id
        )

    async def listen(self) -> None:
        """Deliver every fact to some engine, now and then to both, never with a promise of order."""
        async for record in self.log.tail(self.subjects.log()):
            where = self.subjects.parse_log(record.subject)
            if where.entity == "engine":
                message = decode(record.body)
                if any(event.type.startswith("run.c") for event in message.events):
                    self.done.setdefault(where.run_id, asyncio.Event()).set()
                continue
            hearers = (
                self.engines if self.random.random() < 0.3 else [self.random.choice(self.engines)]
            )
            for engine in hearers:
                engine.hear(where.run_id, Reported(record, next=False))

    async def run(self, run_id: str, graph: Graph = GRAPH) -> None:
        for engine in self.engines if self.random.random() < 0.5 else self.engines[:1]:
            engine.hear(run_id, Start(graph, {}, e.RunOptions(), f"q-{run_id}"))
        await asyncio.wait_for(self.done.setdefault(run_id, asyncio.Event()).wait(), PATIENCE)


async def history(log: Log, subjects: Subjects, run_id: str) -> tuple[RunState, list[Commit]]:
    """Fold a run from its log, checking the chain of commits and hashes on the way."""
    state, running = RunState(run_id), START_HASH
    commits: list[Commit] = []
    hashes = {0: START_HASH}
    async for record in log.read(subjects.run(run_id)):
        message = decode(record.body)
        if isinstance(message, Commit):
            assert message.n == len(commits) + 1, "commits are numbered without gaps or forks"
            assert message.prev_hash == hashes[message.seen].hex()[:32], (
                "the hash covers exactly what was seen"
            )
            commits.append(message)
        running = chain(running, record.body)
        hashes[record.seq] = running
        state = fold_message(state, message, record.seq)
    return state, commits


@pytest.fixture(params=["memory", "jetstream"])
async def world(request: pytest.FixtureRequest, bus: Bus) -> AsyncIterator[World]:
    log: Log = MemoryLog() if request.param == "memory" else bus.log()
    world = World(log, bus.subjects, engines=2, seed=7)
    listening = asyncio.create_task(world.listen())
    yield world
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    for engine in world.engines:
        await engine.drain()


async def test_many_runs_on_two_engines_at_once_neither_fork_nor_lose_an_event(
    world: World,
) -> None:
    runs = [f"r_{i}" for i in range(60)]
    await asyncio.gather(*(world.run(run_id) for run_id in runs))
    for run_id in runs:
        state, _ = await history(world.log, world.subjects, run_id)
        assert state.status == "completed"
        assert state.values["log"] == [
            x
            for visit in (1, 2, 3)
            for x in (f"a:{visit}", f"b:{visit}", f"c:{visit}", f"d:{visit}")
        ] + ["e:1"]
        assert state.steps == 13


async def test_a_start_repeated_is_the_same_run(world: World) -> None:
    engine = world.engines[0]
    starts = [Start(GRAPH, {}, e.RunOptions(), "q1") for _ in range(3)]
    done = [asyncio.Event() for _ in starts]
    for start, event in zip(starts, done, strict=True):
        start.done = lambda _error, event=event: event.set()  # type: ignore[misc]
        engine.hear("r_same", start)
    await asyncio.gather(*(asyncio.wait_for(event.wait(), PATIENCE) for event in done))
    assert {start.result.seq for start in starts if start.result} == {
        starts[0].result.seq if starts[0].result else 0
    }
    await asyncio.wait_for(world.done.setdefault("r_same", asyncio.Event()).wait(), PATIENCE)
    state, _ = await history(world.log, world.subjects, "r_same")
    assert state.steps == 13


async def test_cancel_ends_a_run_and_is_known(world: World) -> None:
    world.hint = _no_hint  # type: ignore[method-assign]
    engine = world.engines[0]
    engine.hear("r_c", Start(GRAPH, {}, e.RunOptions(), "q"))
    cancelled = asyncio.Event()
    cancel = Ask(
        lambda state, now: hear.cancel(state, "not needed", "q2", now),
        done=lambda _error: cancelled.set(),
    )
    engine.hear("r_c", cancel)
    await asyncio.wait_for(cancelled.wait(), PATIENCE)
    assert cancel.known
    state, _ = await history(world.log, world.subjects, "r_c")
    assert state.status == "cancelled"
    assert state.error is not None
    assert state.error.message == "not needed"


async def _no_hint(state: RunState, call: Call, *, again: bool = False) -> None:
    """Nobody works."""


AGENT = parse_graph(
    {
        "name": "a",
        "entry": "x",
        "nodes": {"x": {"type": "agent", "agent": {"model": "scripted:echo"}, "prompt": "hi"}},
    }
)


async def test_a_silent_workers_claim_lapses_and_the_turn_is_asked_for_again(world: World) -> None:
    hinted: list[int] = []
    second = asyncio.Event()

    async def hint(state: RunState, call: Call, *, again: bool = False) -> None:
        hinted.append(call.attempt)
        if call.attempt == 2:
            second.set()

    world.hint = hint  # type: ignore[method-assign]
    engine = world.engines[0]
    started = asyncio.Event()
    engine.hear("r_l", Start(AGENT, {}, e.RunOptions(), "q", done=lambda _error: started.set()))
    await asyncio.wait_for(started.wait(), PATIENCE)
    claimed = e.AgentTurnClaimed(
        id="r_l.x:1/t1.1.claimed", call_id="x:1/t1", attempt=1, worker="w~1"
    )
    await world.log.append(
        world.subjects.call("r_l", "x:1/t1"), encode_report("r_l", claimed), id=claimed.id, expect=0
    )
    world.silent.add("w~1")
    engine.hear("r_l", Wake())
    await asyncio.wait_for(second.wait(), PATIENCE)
    state, _ = await history(world.log, world.subjects, "r_l")
    assert state.calls["x:1/t1"].attempt == 2
    late = e.AgentTurnCompleted.model_validate(
        {
            "id": "r_l.x:1/t1.1.closed",
            "call_id": "x:1/t1",
            "attempt": 1,
            "message": {"role": "assistant", "parts": [{"kind": "text", "text": "late"}]},
            "stop": "stop",
            "provider": "p",
            "model": "m",
        }
    )
    with pytest.raises(PartsongError, match="expected sequence"):
        await world.log.append(
            world.subjects.call("r_l", "x:1/t1"),
            encode_report("r_l", late),
            id=late.id,
            expect=_claim(state) - 1,
        )


def _claim(state: RunState) -> int:
    return state.calls["x:1/t1"].claim


async def test_a_timer_that_could_not_be_set_is_set_later_and_its_run_is_not_told_off(
    world: World,
) -> None:
    tried: list[str] = []
    again = asyncio.Event()

    async def timer(run_id: str, timer: Timer) -> None:
        tried.append(timer.id)
        if len(tried) == 1:
            raise Unavailable("timer.not_set", "no answer", retryable=True)
        again.set()

    world.timer = timer  # type: ignore[method-assign]
    pause = parse_graph({"name": "p", "nodes": {"w": {"type": "wait", "seconds": 3600}}})
    begun: asyncio.Future[PartsongError | None] = asyncio.get_running_loop().create_future()
    start = Start(pause, {}, e.RunOptions(), "q", done=begun.set_result)
    world.engines[0].hear("r_t", start)
    assert await asyncio.wait_for(begun, PATIENCE) is None
    await asyncio.wait_for(again.wait(), PATIENCE)
    assert tried == ["w:1/w0"] * 2
