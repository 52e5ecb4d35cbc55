"""1,000 runs at once across processes: how many end per second, how long the slowest take, and whether engines collide."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.across import PLAYERS, players
from bench.row import Context, Row
from bench.work import chain
from partsong.client import Client
from partsong.contracts.graph import Graph
from partsong.contracts.state.state import ENDED
from partsong.contracts.wire.requests import RunRequest
from partsong.contracts.wire.subjects import Subjects
from partsong.runtime.clock import monotonic

__all__ = ["measure"]

_NODES = 10
_WIDTH = 64
"""Requests on their way to the stream at a time."""
_LONGEST = 120.0
"""Seconds after which a measurement is given up."""


@dataclass(slots=True)
class _Ends:
    """When each run was asked for, and when it was seen to end."""

    asked: dict[str, float] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    wanted: int = 0
    all: asyncio.Event = field(default_factory=asyncio.Event)

    def see(self, run_id: str, status: str) -> None:
        if status not in ENDED or run_id not in self.asked or run_id in self.took:
            return
        self.took[run_id] = monotonic() - self.asked[run_id]
        if status != "completed":
            self.failed.append(f"{run_id} is {status}")
        if len(self.took) == self.wanted:
            self.all.set()


async def measure(context: Context) -> list[Row]:
    """Both kinds of durability, and two of each service, each on a platform of its own."""
    rate, took = await _measured(context, context.folder / "durable")
    fast_rate, fast_took = await _measured(context, context.folder / "fast", fast=True)
    twice = context.folder / "twice"
    twice_rate, twice_took = await _measured(context, twice, roles=PLAYERS * 2)
    slowest = took[int(len(took) * 0.99)]
    return [
        context.promised("runs.rate", rate, note=_note(took)),
        context.promised("runs.rate_fast", fast_rate, note=_note(fast_took)),
        context.promised("runs.two_engines", twice_rate, note=_note(twice_took)),
        context.promised("runs.conflicts", _conflicts(twice)),
        context.promised("runs.p99", slowest, note=_note(took)),
    ]


def _conflicts(folder: Path) -> int:
    """How often an engine's log says that another engine was first."""
    logs = [*(folder / "logs").glob("graph-engine*")]
    if not logs:
        raise RuntimeError(f"the engines have written no log to {folder}")
    return sum(log.read_text(encoding="utf-8").count("another was first") for log in logs)


async def _measured(
    context: Context, folder: Path, *, fast: bool = False, roles: Sequence[str] = PLAYERS
) -> tuple[float, list[float]]:
    """Runs per second, and what each took in seconds."""
    async with players(folder, fast=fast, roles=roles) as (_, client):
        graph = chain(_NODES).spec()
        await client.result(await client.start(graph), timeout=_LONGEST)
        ends = _Ends(wanted=context.size(1000, 200))
        async with _watching(client, ends):
            start = monotonic()
            await _ask_all(client, graph, ends)
            async with asyncio.timeout(_LONGEST):
                await ends.all.wait()
            seconds = monotonic() - start
    if ends.failed:
        raise RuntimeError(f"{len(ends.failed)} runs did not complete: {ends.failed[0]}")
    return ends.wanted / seconds, sorted(ends.took.values())


async def _ask_all(client: Client, graph: Graph, ends: _Ends) -> None:
    """Store all requests, as a program does that needs no answers: it chose the run ids."""
    js, subject = client.nats.jetstream(), Subjects().request("run")
    gate = asyncio.Semaphore(_WIDTH)

    async def ask(index: int) -> None:
        run_id = f"r_{secrets.token_hex(4)}_{index}"
        request = RunRequest(id=f"q_{run_id}", run_id=run_id, graph=graph.hash)
        async with gate:
            ends.asked[run_id] = monotonic()
            await js.publish(subject, request.model_dump_json(exclude_none=True).encode())

    await asyncio.gather(*(ask(index) for index in range(ends.wanted)))


@asynccontextmanager
async def _watching(client: Client, ends: _Ends) -> AsyncIterator[None]:
    """One reader for all runs. It reads the commits' headers and opens none."""
    subjects, head = Subjects(), await client.log.head()

    async def watch() -> None:
        async with aclosing(client.log.tail(subjects.commits(), after=head)) as records:
            async for record in records:
                run_id = subjects.parse_log(record.subject).run_id
                ends.see(run_id, record.headers.get("Partsong-Status", ""))

    watching = asyncio.get_running_loop().create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def _note(took: list[float]) -> str:
    middle, high = took[len(took) // 2], took[int(len(took) * 0.99)]
    return f"{len(took)} runs; request to end: median {middle:.2f} s, p99 {high:.2f} s"
