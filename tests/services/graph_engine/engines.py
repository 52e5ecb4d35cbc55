"""Engines on a log, in the test's own process: processors of all partitions, workers that answer, and what they made."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping

from pydantic import JsonValue

from partsong.bus.log_feed import LogFeed
from partsong.contracts import events as e
from partsong.contracts.events.command import Verb
from partsong.contracts.events.envelope import START_HASH, Commit, chain, decode, encode_report
from partsong.contracts.graph import Graph
from partsong.contracts.state.fold import fold_message
from partsong.contracts.state.state import Call, Pending, RunState, Timer
from partsong.contracts.wire.requests import (
    Accepted,
    CancelRequest,
    Rejected,
    RunRequest,
    SignalRequest,
)
from partsong.contracts.wire.stop import Stop
from partsong.contracts.wire.subjects import PARTITIONS, Subjects
from partsong.engine.commands.outcomes import Prepared
from partsong.engine.work.hints import work_of
from partsong.graph_engine.checkpoints import Checkpoints
from partsong.graph_engine.commands import Commands
from partsong.graph_engine.processor import Processor
from partsong.graph_engine.turn import Turns
from partsong.log.port import Log
from partsong.log.snapshots.port import Snapshots
from partsong.testing.bucket import MemoryBucket

__all__ = ["PATIENCE", "Engine", "World", "ends_at", "history"]

PATIENCE = 60.0
"""Seconds until a test gives up waiting."""


class Engine:
    """The processors of one engine. With checkpoints of its own it knows nothing of the others."""

    def __init__(self, world: World, name: str, checkpoints: Checkpoints) -> None:
        self.turns = Turns(
            world.log,
            world.subjects,
            world,
            world,
            world.answer,
            silent=world.silent.__contains__,
            snapshots=world.snapshots,
        )
        self.processors = [
            Processor(
                partition,
                LogFeed(world.log, world.subjects.partition(partition)),
                self.turns,
                checkpoints,
                world.log,
                world.subjects,
                name,
                world.answer,
            )
            for partition in range(PARTITIONS)
        ]

    async def start(self) -> None:
        await asyncio.gather(*(processor.take() for processor in self.processors))

    async def stop(self) -> None:
        await asyncio.gather(*(processor.release() for processor in self.processors))
        await self.turns.drain()


class World:
    """A log, engines on it, and workers that answer every hint, some of them twice.

    It is the outbox of all engines, prepares their commands, and takes their answers.
    """

    def __init__(
        self, log: Log, subjects: Subjects, graph: Graph, *, snapshots: Snapshots | None = None
    ) -> None:
        self.log, self.subjects, self.graph, self.snapshots = log, subjects, graph, snapshots
        self.random = random.Random(7)
        self.silent: set[str] = set()
        self.answers: dict[str, asyncio.Future[Accepted | Rejected]] = {}
        self.answered: list[Accepted | Rejected] = []
        self.commands = Commands(log, subjects)
        self.buckets = MemoryBucket()
        self.work: Callable[[str, Call, Mapping[str, JsonValue]], Awaitable[None]] = self.finish
        self._working: set[asyncio.Task[None]] = set()

    def engine(self, name: str, checkpoints: Checkpoints | None = None) -> Engine:
        return Engine(self, name, checkpoints or Checkpoints(self.buckets))

    async def start(
        self, run_id: str, id_: str = "", input: dict[str, JsonValue] | None = None
    ) -> Accepted | Rejected:
        id_ = id_ or f"q-{run_id}"
        request = RunRequest(id=id_, run_id=run_id, graph=self.graph.hash, input=input or {})
        return await self.ask("run", run_id, request)

    async def cancel(self, run_id: str, id_: str = "c") -> Accepted | Rejected:
        return await self.ask(
            "cancel", run_id, CancelRequest(id=id_, run_id=run_id, reason="enough")
        )

    async def signal(self, run_id: str, id_: str, name: str) -> Accepted | Rejected:
        return await self.ask("signal", run_id, SignalRequest(id=id_, run_id=run_id, name=name))

    async def ask(
        self, verb: Verb, run_id: str, request: RunRequest | CancelRequest | SignalRequest
    ) -> Accepted | Rejected:
        answer = self.answers.setdefault(request.id, asyncio.get_running_loop().create_future())
        await self.commands.append(verb, run_id, request.id, request)
        return await asyncio.wait_for(asyncio.shield(answer), PATIENCE)

    async def ended(self, run_id: str) -> RunState:
        """The run's state when it has ended."""
        state = RunState(run_id)
        async with asyncio.timeout(PATIENCE):
            async for record in self.log.tail(self.subjects.run(run_id)):
                state = fold_message(state, decode(record.body), record.seq)
                if state.ended:
                    return state
        raise AssertionError("a tail does not end")

    async def prepared(self, state: RunState, command: Pending) -> Prepared:
        await asyncio.sleep(0)
        return Prepared(graph=self.graph)

    async def answer(self, reply: Accepted | Rejected) -> None:
        self.answered.append(reply)
        waiting = self.answers.setdefault(reply.id, asyncio.get_running_loop().create_future())
        if not waiting.done():
            waiting.set_result(reply)

    async def hint(self, state: RunState, call: Call, seen: int, *, again: bool = False) -> None:
        work = work_of(state, call)
        assert work is not None
        view = dict(work.state) if work.kind == "function" else {}
        for _ in range(self.random.choice([1, 1, 2])):
            task = asyncio.ensure_future(self.work(state.run_id, call, view))
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    async def timer(self, run_id: str, timer: Timer) -> None:
        raise AssertionError("no timers here")

    async def lost(self, run_id: str, timer: Timer) -> None:
        """As a server does with a timer that it loses."""

    async def stop(self, run_id: str, stop: Stop) -> None:
        """Workers here finish in any case."""

    async def not_undone(self, state: RunState, event: e.NodeCompensated) -> None:
        raise AssertionError("nothing is to be undone here")

    async def finish(self, run_id: str, call: Call, view: Mapping[str, JsonValue]) -> None:
        label = None
        if call.exec.startswith("d:"):
            label = "again" if call.exec < "d:3" else "done"
        await self.report(run_id, call, {"log": call.exec}, label)

    async def nothing(self, run_id: str, call: Call, view: Mapping[str, JsonValue]) -> None:
        """Nobody works."""

    async def report(
        self, run_id: str, call: Call, update: dict[str, JsonValue], label: str | None = None
    ) -> None:
        closed = e.CallCompleted(
            id=f"{run_id}.{call.id}.{call.attempt}.closed",
            call_id=call.id,
            attempt=call.attempt,
            update=update,
            label=label,
        )
        body = encode_report(run_id, closed)
        await self.log.append(self.subjects.fact(run_id), body, id=closed.id)


def ends_at(seq: int) -> Callable[[], Awaitable[int]]:
    """What asks for the head of a log that ends there."""

    async def head() -> int:
        return seq

    return head


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
