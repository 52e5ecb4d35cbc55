"""Turns that fail after a place in a thread was given: nothing of it is kept, for the line may be lost meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from functools import partial

import pytest

from partsong.contracts.errors import Unavailable
from partsong.contracts.events import RunOptions
from partsong.contracts.events.command import Verb
from partsong.contracts.graph import Graph
from partsong.contracts.graph.validate import parse_graph
from partsong.contracts.state.state import Pending, RunState
from partsong.contracts.wire.requests import (
    Accepted,
    AdmitRequest,
    Rejected,
    RetryRequest,
    RunRequest,
)
from partsong.contracts.wire.subjects import OURS, Subjects
from partsong.engine.commands.outcomes import Prepared
from partsong.graph_engine import held_runs
from partsong.graph_engine.preparing import Preparing
from partsong.graph_engine.threads import Threads
from partsong.log.memory import MemoryLog
from partsong.log.port import Appended
from partsong.log.snapshots.memory import MemorySnapshots
from partsong.testing.bucket import MemoryBucket
from tests.services.graph_engine.engines import PATIENCE, World, history
from tests.support.damage import until

ONE = parse_graph(
    {"name": "one", "entry": "a", "nodes": {"a": {"type": "function", "function": "m:a"}}}
)


class Mute(MemoryLog):
    """A log that stores no commit of one run, as long as it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.mute, self.asked = "", asyncio.Event()

    async def append(
        self,
        subject: str,
        body: bytes,
        *,
        id: str,
        expect: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Appended:
        if subject == self.mute:
            self.asked.set()
            raise Unavailable("log.no_answer", "nothing comes back", retryable=True)
        return await super().append(subject, body, id=id, expect=expect, headers=headers)


class Thread(World):
    """Runs of one thread, whose line the server may lose."""

    def __init__(self) -> None:
        self.stored, self.lines = Mute(), MemoryBucket()
        super().__init__(self.stored, Subjects(), ONE)
        self.work = self.nothing
        threads = Threads(self.lines, self.log, self.subjects, MemorySnapshots(), self.admit)
        self.preparing = Preparing(self.resolved, self.nobodys, threads)
        self.threads = threads

    async def resolved(self, graph: object) -> Graph:
        return self.graph

    async def nobodys(self, run_id: str, upto: int | None) -> list[tuple[int, bytes]]:
        return []

    async def prepared(self, state: RunState, command: Pending) -> Prepared:
        return await self.preparing.prepared(state, command)

    async def admit(self, run_id: str, left: str) -> None:
        id_ = f"{OURS}admit-behind-{left}"
        await self.commands.append("admit", run_id, id_, AdmitRequest(id=id_, run_id=run_id))

    async def begins(self, run_id: str) -> Accepted | Rejected:
        options = RunOptions(thread="t", on_busy="enqueue")
        request = RunRequest(id=f"q-{run_id}", run_id=run_id, graph=ONE.hash, options=options)
        return await self.ask("run", run_id, request)

    async def status(self, run_id: str) -> str:
        return (await history(self.log, self.subjects, run_id))[0].status

    async def settled(self, run_id: str) -> bool:
        """Whether all that was asked of a run has its outcome."""
        state = (await history(self.log, self.subjects, run_id))[0]
        return state.graph is not None and not state.pending

    async def lose(self) -> None:
        for key in await self.lines.keys():
            await self.lines.remove(key)


@pytest.fixture
async def thread(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Thread]:
    monkeypatch.setattr(held_runs, "_AGAIN", 0.3)  # seconds are too long for a test
    thread = Thread()
    engine = thread.engine("e0")
    await engine.start()
    yield thread
    await engine.stop()


async def asked(thread: Thread, verb: Verb) -> None:
    """What gives r_1 a place in its thread."""
    if verb == "run":
        await thread.begins("r_1")
    elif verb == "admit":
        await thread.threads.leave("r_0", "t")
    else:
        await thread.ask("retry", "r_1", RetryRequest(id="again", run_id="r_1"))  # type: ignore[arg-type]


@pytest.mark.parametrize("verb", ["run", "admit", "retry"])
async def test_a_place_that_was_given_before_the_line_was_lost_lets_no_second_run_in(
    thread: Thread, verb: Verb
) -> None:
    if verb == "admit":
        await thread.begins("r_0")
        await thread.begins("r_1")
        assert await thread.status("r_1") == "queued"
        await thread.cancel("r_0", "c0")
    if verb == "retry":
        await thread.begins("r_1")
        await thread.cancel("r_1", "c1")
    thread.stored.mute = thread.subjects.engine("r_1")
    first = asyncio.ensure_future(asked(thread, verb))
    await asyncio.wait_for(thread.stored.asked.wait(), PATIENCE)
    await thread.lose()
    await thread.begins("r_2")
    assert await thread.status("r_2") == "running"
    thread.stored.mute = ""
    await until(partial(thread.settled, "r_1"))
    assert await thread.status("r_1") != "running", "r_2 has the thread"
    assert await thread.status("r_2") == "running"
    first.cancel()
